"""Whatever the features look like, there are as many predictions as outputs, with their ids, and labels join them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Decoded, Decoder, concatenate
from otel_ml import Model, problems
from otel_ml.testing import Captured, capture

ROWS = 3
CLASSES = ["a", "b", "a"]


class Order(pydantic.BaseModel):
    amount: float
    country: str


@dataclass(frozen=True)
class Trip:
    amount: float
    country: str


class Pair(NamedTuple):
    amount: float
    country: str


class Image:
    """What an imaging library holds: no length, no array."""


WITHOUT_COLUMNS: dict[str, Callable[[], Any]] = {
    "images": lambda: np.zeros((ROWS, 28, 28)),
    "images with channels": lambda: np.zeros((ROWS, 3, 8, 8)),
    "a list of images": lambda: [np.zeros((28, 28)) for _ in range(ROWS)],
    "a list of image objects": lambda: [Image() for _ in range(ROWS)],
    "texts": lambda: ["first", "second one", "third"],
    "a tuple of texts": lambda: ("first", "second one", "third"),
    "an array of texts": lambda: np.array(["first", "second one", "third"]),
    "encoded images": lambda: [b"\x89PNG", b"\x89PNG", b"\x89PNG"],
    "token lists": lambda: [[5, 3], [7], [1, 2, 3]],
    "token tuples": lambda: [(5, 3), (7,), (1, 2, 3)],
    "tuples of texts": lambda: [("a", "b"), ("c",), ("d", "e")],
    "sequences of vectors": lambda: [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6]], [[0.7, 0.8]]],
    "several inputs": lambda: (np.zeros((ROWS, 4, 4)), np.zeros((ROWS, 2))),
    "one window of a series": lambda: np.zeros((50, 4)),
    "a generator": lambda: (row for row in [[1], [2], [3]]),
    "one text": lambda: "a document of which three passages are rated",
    "a table of other rows": lambda: pd.DataFrame({"x": range(50)}),
}
WITH_COLUMNS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "pydantic objects": (
        [Order(amount=1.5, country="ch"), Order(amount=2.5, country="de"), Order(amount=3.5, country="fr")],
        [{"amount": 1.5, "country": "ch"}, {"amount": 2.5, "country": "de"}, {"amount": 3.5, "country": "fr"}],
    ),
    "dataclasses": (
        [Trip(1.5, "ch"), Trip(2.5, "de"), Trip(3.5, "fr")],
        [{"amount": 1.5, "country": "ch"}, {"amount": 2.5, "country": "de"}, {"amount": 3.5, "country": "fr"}],
    ),
    "named tuples": (
        (Pair(1.5, "ch"), Pair(2.5, "de"), Pair(3.5, "fr")),
        [{"amount": 1.5, "country": "ch"}, {"amount": 2.5, "country": "de"}, {"amount": 3.5, "country": "fr"}],
    ),
    "tuples": (
        [(1.5, "ch"), (2.5, "de"), (3.5, "fr")],
        [{"x0": 1.5, "x1": "ch"}, {"x0": 2.5, "x1": "de"}, {"x0": 3.5, "x1": "fr"}],
    ),
    "numbers": ([1.5, 2.5, 3.5], [{"x0": 1.5}, {"x0": 2.5}, {"x0": 3.5}]),
    "a vector": (np.array([1.5, 2.5, 3.5]), [{"x0": 1.5}, {"x0": 2.5}, {"x0": 3.5}]),
    "a pandas column": (
        pd.Series(["ch", "de", "fr"], name="country"),
        [{"country": "ch"}, {"country": "de"}, {"country": "fr"}],
    ),
    "a polars column": (
        pl.Series("country", ["ch", "de", "fr"]),
        [{"country": "ch"}, {"country": "de"}, {"country": "fr"}],
    ),
    "arrays by name": (
        {"image": np.zeros((ROWS, 4, 4)), "amount": [1.5, 2.5, 3.5]},
        [{"amount": 1.5}, {"amount": 2.5}, {"amount": 3.5}],
    ),
}


@pytest.fixture(params=DECODERS, ids=lambda decoder: decoder.name)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    problems.forget()
    return request.param


def arrived(captured: Captured, decoder: Decoder) -> Decoded:
    body = encode_spans(captured.spans).SerializeToString()
    decoded = decoder.decode_traces(body, 0, DEFAULT_LIMITS)
    assert (decoded.rejected, decoded.message, dict(decoded.dropped)) == (0, "", {})
    return decoded


def check_joined(captured: Captured, decoder: Decoder, ids: list[str]) -> None:
    decoded = arrived(captured, decoder)
    batch, [labels] = concatenate(decoded.predictions), decoded.labels
    assert len(batch) == ROWS
    assert batch.prediction is not None
    assert [seen.class_ for seen in captured.predictions] == CLASSES
    assert [seen.id for seen in captured.predictions] == ids
    assert batch.ids.tolist() == labels.ids.tolist()


@pytest.mark.parametrize("own_ids", [False, True])
@pytest.mark.parametrize("kind", WITHOUT_COLUMNS)
def test_features_without_columns_cost_no_prediction(
    decoder: Decoder, kind: str, own_ids: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model("m")
    for _ in range(2):
        with capture() as captured:
            with model.predict(WITHOUT_COLUMNS[kind](), id=["p", "q", "r"] if own_ids else None) as prediction:
                prediction.record(class_=CLASSES, score=np.array([0.1, 0.2, 0.3]))
            model.labels(prediction.ids, classes=CLASSES)
        check_joined(captured, decoder, prediction.ids)
        assert all(seen.features == {} for seen in captured.predictions)
    assert caplog.text.count("features are not captured") == 1


@pytest.mark.parametrize("kind", WITH_COLUMNS)
def test_features_with_columns_keep_them(decoder: Decoder, kind: str) -> None:
    features, rows = WITH_COLUMNS[kind]
    model = Model("m")
    with capture() as captured:
        with model.predict(features) as prediction:
            prediction.record(class_=np.array(CLASSES))
        model.labels(prediction.ids, classes=CLASSES)
    check_joined(captured, decoder, prediction.ids)
    assert [seen.features for seen in captured.predictions] == rows


ONE: dict[str, tuple[Any, dict[str, Any]]] = {
    "an image": (np.zeros((28, 28)), {}),
    "a color image": (np.zeros((28, 28, 3)), {}),
    "a pydantic object": (Order(amount=1.5, country="ch"), {"amount": 1.5, "country": "ch"}),
    "a dataclass": (Trip(1.5, "ch"), {"amount": 1.5, "country": "ch"}),
    "tokens by name": ({"tokens": [1, 2, 3], "mask": [1, 1, 1]}, {}),
    "arrays by name": ({"image": np.zeros((4, 4)), "size": np.zeros(4)}, {}),
    "a text": ("a text", {}),
    "a list of cells": ([1.5, "ch"], {"x0": 1.5, "x1": "ch"}),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_output_is_one_prediction(decoder: Decoder, kind: str) -> None:
    features, row = ONE[kind]
    with capture() as captured, Model("m").predict(features) as prediction:
        prediction.record(class_="a", score=0.5)
    assert prediction.ids == [prediction.id]
    [seen] = captured.predictions
    assert (seen.features, seen.class_, seen.score, seen.id) == (row, "a", 0.5, prediction.id)
    assert len(concatenate(arrived(captured, decoder).predictions)) == 1


def test_one_named_feature_makes_texts_a_column(decoder: Decoder) -> None:
    with capture() as captured, Model("m", features=["text"]).predict(["x", "y", "z"]) as prediction:
        prediction.record(class_=CLASSES)
    assert [seen.features for seen in captured.predictions] == [{"text": "x"}, {"text": "y"}, {"text": "z"}]


def test_a_table_keeps_its_rows_when_one_output_fits(decoder: Decoder) -> None:
    with capture() as captured, Model("m").predict(pd.DataFrame({"x": [1, 2, 3]})) as prediction:
        prediction.record(score=[0.5], class_=CLASSES)
    assert [(seen.features, seen.class_, seen.score) for seen in captured.predictions] == [
        ({"x": 1}, "a", None),
        ({"x": 2}, "b", None),
        ({"x": 3}, "a", None),
    ]
