"""Rows that come as events are the rows that an instrumented application sends: the same batch, cell for cell."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from collector_processor.columns.batch import Column, PredictionBatch
from collector_processor.decode import DECODERS, DEFAULT_LIMITS, concatenate
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.inference_logger.joined import Joined
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings, LoggedModel
from otel_ml import Model
from otel_ml.testing import capture
from support.inference_events import kserve, lower, tensor

Rows = dict[str, list[Any]]
"""Columns by name, each with a cell for every row."""
DATATYPES: dict[type, str] = {float: "FP64", int: "INT64", str: "BYTES", bool: "BOOL"}
LAYOUTS = {float: "<d", int: "<q", bool: "?"}
CELLS = {
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(-(2**53), 2**53),
    str: st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
    bool: st.booleans(),
}
NAMES = st.text("abcdefgh_.é ", min_size=1, max_size=6)


@st.composite
def any_rows(draw: st.DrawFn, kinds: tuple[type, ...] = (float, int, str, bool)) -> tuple[Rows, list[type]]:
    count = draw(st.integers(1, 6))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    types = [draw(st.sampled_from(kinds)) for _ in names]
    columns = [draw(st.lists(CELLS[kind], min_size=count, max_size=count)) for kind in types]
    return dict(zip(names, columns, strict=True)), types


def received(request: Any, response: Any, settings: LoggedModel | None = None) -> PredictionBatch:
    models = {} if settings is None else {"churn": settings}
    telemetry = Telemetry()
    joined = Joined(InferenceLoggerSettings(models=models), telemetry, "receivers.inference_logger")
    bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in (request, response)]
    assert joined.take(lower(kserve("request", "call")), bodies[0], 5) == b""
    body = joined.take(lower(kserve("response", "call")), bodies[1], 6)
    return only(body)


def only(body: bytes) -> PredictionBatch:
    batches = [decoder.decode_traces(body, 0, DEFAULT_LIMITS) for decoder in DECODERS]
    assert all((each.rejected, dict(each.dropped)) == (0, {}) for each in batches)
    return concatenate(batches[0].predictions)


def emitted(columns: Rows, outputs: dict[str, Any]) -> PredictionBatch:
    rows = len(next(iter(columns.values())))
    one = rows == 1
    with capture() as captured:
        features: Any = {name: cells[0] for name, cells in columns.items()} if one else columns
        with Model("churn").predict(features, id="call") as prediction:
            prediction.record(**{name: cells[0] if one else cells for name, cells in outputs.items()})
    return only(encode_spans(captured.spans).SerializeToString())


def plain(column: Column | None, rows: int) -> list[Any]:
    if column is None:
        return [None] * rows
    texts = (
        [None] * rows if column.codes is None else [None if at < 0 else column.categories[at] for at in column.codes]
    )
    amounts = [float("nan")] * rows if column.numbers is None else column.numbers.tolist()
    return [
        text if text is not None else None if amount != amount else amount
        for text, amount in zip(texts, amounts, strict=True)
    ]


def assert_same(one: PredictionBatch, other: PredictionBatch) -> None:
    rows = len(one)
    assert len(other) == rows
    assert np.array_equal(one.ids, other.ids)
    assert str(one.model) == str(other.model)
    names = {*one.features, *other.features}
    for name in names:
        assert plain(one.features.get(name), rows) == plain(other.features.get(name), rows), name
    assert plain(one.prediction, rows) == plain(other.prediction, rows)
    for part in ("score", "value"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert plain(None if mine is None else Column(mine), rows) == plain(
            None if theirs is None else Column(theirs), rows
        )
    assert one.scores.keys() == other.scores.keys()
    for name, column in one.scores.items():
        assert np.array_equal(column, other.scores[name], equal_nan=True)


def v1(columns: Rows, _: list[type]) -> Any:
    return {"instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def by_columns(columns: Rows, _: list[type]) -> Any:
    return {"inputs": columns}


def v2(columns: Rows, types: list[type]) -> Any:
    inputs = [
        tensor(name, [len(cells)], DATATYPES[kind], cells)
        for (name, cells), kind in zip(columns.items(), types, strict=True)
    ]
    return {"id": "other", "parameters": {"content_type": "pd"}, "inputs": inputs}


def v2_of_one_column_each(columns: Rows, types: list[type]) -> Any:
    document = v2(columns, types)
    for each in document["inputs"]:
        each["shape"].append(1)
    return document


def v2_binary(columns: Rows, types: list[type]) -> bytes:
    document, octets = v2(columns, types), b""
    for each, kind in zip(document["inputs"], types, strict=True):
        if kind is str:
            texts = [cell.encode() for cell in each.pop("data")]
            part = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        else:
            part = b"".join(struct.pack(LAYOUTS[kind], cell) for cell in each.pop("data"))
        each["parameters"] = {"binary_data_size": len(part)}
        octets += part
    return json.dumps(document).encode() + octets


def seldon(columns: Rows, _: list[type]) -> Any:
    return {"data": {"names": list(columns), "ndarray": [list(row) for row in zip(*columns.values(), strict=True)]}}


NAMED = (v1, by_columns, v2, v2_of_one_column_each, v2_binary, seldon)


@pytest.mark.parametrize("form", NAMED, ids=lambda form: form.__name__)
def test_named_columns_of_any_type_are_the_emitted_batch(form: Callable[[Rows, list[type]], Any]) -> None:
    @given(any_rows(), st.data())
    def check(rows: tuple[Rows, list[type]], data: st.DataObject) -> None:
        columns, types = rows
        count = len(next(iter(columns.values())))
        classes = data.draw(st.lists(st.sampled_from(["yes", "no", "Ja"]), min_size=count, max_size=count))
        batch = received(form(columns, types), {"predictions": classes})
        assert_same(batch, emitted(columns, {"class_": classes}))

    check()


@given(any_rows(kinds=(float,)), st.data())
def test_a_matrix_with_names_from_the_settings_is_the_emitted_batch(
    rows: tuple[Rows, list[type]], data: st.DataObject
) -> None:
    columns, _ = rows
    names, matrix = tuple(columns), [list(row) for row in zip(*columns.values(), strict=True)]
    count = len(matrix)
    values = data.draw(st.lists(CELLS[float], min_size=count, max_size=count))
    flat = [cell for row in matrix for cell in row]
    nested = data.draw(st.booleans())
    shape = [count, len(names)]
    forms: list[Any] = [
        {"instances": matrix},
        {"inputs": [tensor("input-0", shape, "FP64", matrix if nested else flat, content_type="np")]},
        {"data": {"tensor": {"shape": shape, "values": flat}}},
    ]
    answers: list[Any] = [
        {"predictions": values},
        {"model_name": "churn", "outputs": [tensor("predict", [count], "FP64", values)]},
        {"model_name": "churn", "outputs": [tensor("predict", [count, 1], "FP64", values)]},
    ]
    wanted = emitted(columns, {"value": values})
    for form in forms:
        for answer in answers:
            assert_same(received(form, answer, LoggedModel(features=names)), wanted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_probabilities_are_the_emitted_scores(positive: list[float]) -> None:
    rows = [[1 - each, each] for each in positive]
    settings = LoggedModel(classes=("no", "yes"))
    request = {"instances": [{"age": age} for age in range(len(rows))]}
    classes = ["yes" if yes > no else "no" for no, yes in rows]
    scores = {"no": [no for no, _ in rows], "yes": [yes for _, yes in rows]}
    with capture() as captured:
        one = len(rows) == 1
        features: Any = {"age": 0} if one else {"age": list(range(len(rows)))}
        with Model("churn").predict(features, id="call") as prediction:
            prediction.record(
                class_=classes[0] if one else classes,
                scores={name: column[0] if one else column for name, column in scores.items()},
            )
    wanted = only(encode_spans(captured.spans).SerializeToString())
    flat = [cell for row in rows for cell in row]
    for answer in (
        {"predictions": rows},
        {"outputs": [tensor("predict_proba", [len(rows), 2], "FP64", flat)]},
        {"data": {"names": ["no", "yes"], "ndarray": rows}},
    ):
        assert_same(received(request, answer, settings), wanted)
    assert_same(received(request, {"data": {"names": ["no", "yes"], "ndarray": rows}}), wanted)
