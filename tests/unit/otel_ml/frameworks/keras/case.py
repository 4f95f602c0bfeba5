"""Keras for the contract tests of every framework; on JAX, unless the environment names another backend."""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from otel_ml.frameworks.keras import KerasInstrumentor
from tests.support.framework_case import Case

os.environ.setdefault("KERAS_BACKEND", "jax")
ONE_AT_A_TIME = threading.Lock()
"""On JAX a model gives its weights away for the time of a call, so two threads must not call it at once."""


def table() -> Any:
    import numpy as np

    return np.array([[20.0, 1.0], [40.0, 7.0], [50.0, 2.0]], np.float32)


def columns(table: Any) -> dict[str, Any]:
    return {"age": table[:, :1], "calls": table[:, 1:]}


def uneven(table: Any) -> dict[str, Any]:
    return {"age": table[:1, :1], "calls": table[:2, 1:]}


def layer(units: int, activation: str | None = None) -> Any:
    return importlib.import_module("keras").layers.Dense(units, activation=activation, kernel_initializer="ones")


def make() -> dict[str, Any]:
    keras: Any = importlib.import_module("keras")
    inputs = [keras.Input((1,), name=name) for name in ("age", "calls")]
    both = keras.layers.Rescaling(0.01)(keras.layers.Concatenate()(inputs))
    binary = keras.Sequential([keras.layers.Input((2,)), keras.layers.Rescaling(0.01), layer(1, "sigmoid")])
    logits = keras.Sequential([keras.layers.Input((2,)), keras.layers.Rescaling(0.01), layer(2)])
    logits.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = keras.Sequential([keras.layers.Input((2, 2)), keras.layers.Flatten(), layer(3, "softmax")])
    values = keras.Sequential([keras.layers.Input((2,)), layer(1)], name="price")
    for model in (binary, values):
        model.compile(loss="mse")
    return {
        "binary": binary,
        "columns": keras.Model(inputs, layer(3, "softmax")(both), name="churn"),
        "logits": logits,
        "images": images,
        "values": values,
        "several": keras.Model(inputs, [layer(1)(both), layer(1)(both)]),
    }


def trains(models: dict[str, Any], table: Any) -> None:
    keras: Any = importlib.import_module("keras")

    class Peeks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            models["binary"].predict(table, verbose=0)

    model = models["values"]
    truth = table[:, 0]
    stops = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of Keras
        model.fit(table, truth, validation_data=(table, truth), epochs=3, callbacks=[Peeks(), stops], verbose=0)
    model.evaluate(table, truth, verbose=0)
    model.train_on_batch(table, truth)
    model.test_on_batch(table, truth)


def loaded(models: dict[str, Any]) -> dict[str, Any]:
    keras: Any = importlib.import_module("keras")
    again: dict[str, Any] = {}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of Keras
        for name, model in models.items():
            path = Path(folder) / f"{name}.keras"
            model.save(path)
            again[name] = keras.saving.load_model(path)
    return again


def predicts_alone(models: dict[str, Any], table: Any) -> Any:
    with ONE_AT_A_TIME:
        return models["binary"].predict_on_batch(table[:1])


CASE = Case(
    instrumentor=KerasInstrumentor,
    make=make,
    table=table,
    predictions={
        "a row": lambda models, table: models["binary"].predict(table[:1], verbose=0),
        "rows": lambda models, table: models["binary"].predict(table, verbose=0, batch_size=2),
        "a batch": lambda models, table: models["binary"].predict_on_batch(table),
        "columns by name": lambda models, table: models["columns"].predict(columns(table[:1]), verbose=0),
        "columns in order": lambda models, table: models["columns"].predict([table[:1, :1], table[:1, 1:]], verbose=0),
        "logits": lambda models, table: models["logits"].predict(table, verbose=0),
        "images": lambda models, table: models["images"].predict(table[:2].reshape(1, 2, 2), verbose=0),
        "a value": lambda models, table: models["values"].predict(table[:1], verbose=0),
        "values": lambda models, table: models["values"].predict(x=table, verbose=0),
    },
    silent={
        "training": trains,
        "calls": lambda models, table: models["binary"](table),
        "several outputs": lambda models, table: models["several"].predict(columns(table), verbose=0),
    },
    # On JAX, a model that fails within its network has lost its weights: this one fails before.
    errors={"columns of other lengths": lambda models, table: models["columns"].predict(uneven(table), verbose=0)},
    cheap=predicts_alone,
    dumps=None,  # copies of several models would share one name
    copies={"save and load": loaded},
)
