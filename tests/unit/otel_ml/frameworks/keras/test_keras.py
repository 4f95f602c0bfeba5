"""What a Keras model's result means follows from its last layer; images, sequences and texts have no features."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_ml import name_model, problems
from otel_ml.frameworks.keras import KerasInstrumentor
from otel_ml.testing import Captured, capture

os.environ.setdefault("KERAS_BACKEND", "jax")
keras: Any = pytest.importorskip("keras")
layers: Any = keras.layers

ROWS = np.array([[0.5, 1.0], [2.0, -1.0]], np.float32)


@pytest.fixture(autouse=True)
def seen() -> Iterator[Captured]:
    problems.forget()
    instrumentor = KerasInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    instrumentor.uninstrument()


def network(*after: Any, shape: tuple[int, ...] = (2,), **options: Any) -> Any:
    return keras.Sequential([layers.Input(shape, **options), *after])


def sum_of(units: int = 1, activation: str | None = None) -> Any:
    return layers.Dense(units, activation, kernel_initializer="ones")


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize(
    ("last", "loss", "expected"),
    [
        ([sum_of(1, "sigmoid")], None, ("1", sigmoid(1.5), None)),
        ([sum_of(1), layers.Activation("sigmoid")], None, ("1", sigmoid(1.5), None)),
        ([sum_of(1)], keras.losses.BinaryCrossentropy(from_logits=True), ("1", sigmoid(1.5), None)),
        ([sum_of(2, "softmax")], None, ("0", 0.5, None)),
        ([sum_of(4), layers.Softmax()], None, ("0", 0.25, None)),
        ([sum_of(4)], keras.losses.CategoricalCrossentropy(from_logits=True), ("0", 0.25, None)),
        ([sum_of(1)], "mse", (None, None, 1.5)),
        ([sum_of(1, "relu")], None, (None, None, 1.5)),
        ([network(sum_of(1, "sigmoid"))], None, ("1", sigmoid(1.5), None)),
    ],
    ids=["sigmoid", "its layer", "logit", "softmax", "its layer too", "logits", "linear", "relu", "nested"],
)
def test_the_last_layer_says_what_the_result_means(seen: Captured, last: list[Any], loss: Any, expected: Any) -> None:
    model = network(*last)
    if loss is not None:
        model.compile(loss=loss)
    model.predict(ROWS[:1], verbose=0)
    [row] = seen.predictions
    class_, score, value = expected
    assert (row.class_, row.value) == (class_, value)
    assert row.score == (None if score is None else pytest.approx(score, rel=1e-5))


def test_a_loss_that_comes_later_changes_the_meaning(seen: Captured) -> None:
    model = network(sum_of(1))
    model.predict(ROWS[:1], verbose=0)
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.predict(ROWS[:1], verbose=0)
    first, second = seen.predictions
    assert (first.value, second.value) == (1.5, None)
    assert second.score == pytest.approx(sigmoid(1.5))


def test_labels_that_exclude_nothing_are_left_out_and_reported_once(
    seen: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    model = network(sum_of(3, "sigmoid"))
    for _ in range(2):
        model.predict(ROWS, verbose=0)
    assert not seen.spans
    assert len([message for message in caplog.messages if "several values per row" in message]) == 1


def test_a_model_of_the_application_with_its_own_call_is_observed(seen: Captured) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = sum_of(1, "sigmoid")

        def call(self, x: Any) -> Any:
            return self.last(x)

    Own().predict(ROWS, verbose=0)
    assert [(row.model, row.class_) for row in seen.predictions] == [("Own", "1"), ("Own", "1")]


def test_names_of_features_come_from_the_input(seen: Captured) -> None:
    age, calls = keras.Input((1,), name="age"), keras.Input((1,), name="calls")
    model = keras.Model([age, calls], sum_of(1, "sigmoid")(layers.Concatenate()([age, calls])))
    column = ROWS[:1, :1]
    model.predict({"age": column, "calls": column.reshape(-1)}, verbose=0)
    model.predict([column, column], verbose=0)
    network(sum_of()).predict(pd.DataFrame(ROWS[:1], columns=["age", "calls"]), verbose=0)
    assert [set(row.features) for row in seen.predictions] == [{"age", "calls"}] * 3


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (network(layers.Flatten(), sum_of(), shape=(2, 2)), np.zeros((1, 2, 2))),
        (network(layers.Embedding(9, 2), layers.Flatten(), sum_of(), shape=(4,)), np.array([[1, 2, 3, 4]])),
    ],
    ids=["images", "words"],
)
def test_images_and_words_are_predictions_without_features(seen: Captured, model: Any, data: Any) -> None:
    model.predict(data, verbose=0)
    [row] = seen.predictions
    assert dict(row.features) == {}
    assert row.value is not None


def test_a_wide_input_among_others_is_a_sequence(seen: Captured) -> None:
    age, words = keras.Input((1,), name="age"), keras.Input((4,), name="words")
    model = keras.Model([age, words], sum_of()(layers.Concatenate()([age, words])))
    model.predict({"age": np.zeros((2, 1)), "words": np.zeros((2, 4))}, verbose=0)
    assert [dict(row.features) for row in seen.predictions] == [{}, {}]


def test_a_generator_is_not_consumed(seen: Captured) -> None:
    batches = ((ROWS,) for _ in range(2))
    assert network(sum_of()).predict(batches, steps=2, verbose=0).shape == (4, 1)
    assert len(seen.predictions) == 4


def test_a_name_by_keras_itself_is_not_a_name(seen: Captured) -> None:
    network(sum_of()).predict(ROWS[:1], verbose=0)
    keras.Sequential([layers.Input((2,)), sum_of()], name="price").predict(ROWS[:1], verbose=0)
    named = network(sum_of())
    name_model(named, name="by-hand", version="3")
    named.predict(ROWS[:1], verbose=0)
    assert [(row.model, row.version) for row in seen.predictions] == [
        ("Sequential", ""),
        ("price", ""),
        ("by-hand", "3"),
    ]
