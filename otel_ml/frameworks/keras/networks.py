"""Describes Keras models by their last layer, and reads the columns of their inputs.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import (
    column_of,
    record_positive,
    record_probabilities,
    record_values,
    table_of,
)
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, left_out
from otel_ml.frameworks.logits import sigmoid, softmax
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

_TEXT_LAYERS: Final = ("TextVectorization", "Embedding")
"""Layers whose inputs are texts, or the words of one as numbers."""

Record = Callable[[Prediction, Any], bool]


def plan(model: Any, models: Models) -> Plan:
    """Decide how the calls of a model are observed; empty if it has several outputs, or one without a meaning."""
    if len(_outputs(model)) > 1:
        return left_out("Keras model", "several outputs")
    meaning = _meaning(model)
    if meaning is None:
        return left_out("Keras model", "several values per row, such as labels that exclude nothing")
    task, classes, record = meaning
    described = Description(
        name=_name(model), framework="keras", task=task, classes=None if classes is None else tuple(classes.tolist())
    )
    begin = partial(_begin, models.handle(model, described), record)
    return {"predict": begin, "predict_on_batch": begin}


def _begin(handle: Model, record: Record, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started:
    prediction = handle.predict(features_of(model, args[0] if args else kwargs.get("x")))
    return Started(prediction, partial(record, prediction))


def features_of(model: Any, data: Any) -> Any:
    """Return the columns of an input: a table, or a mapping or list of columns; None if it is anything else."""
    if isinstance(data, Mapping):
        return _columns(data)
    if isinstance(data, (list, tuple)) and data and hasattr(data[0], "ndim"):
        names = [str(each.name) for each in getattr(model, "inputs", None) or ()]
        return _columns(dict(zip(names, data, strict=True))) if len(names) == len(data) else None
    if not hasattr(data, "columns") and _reads_texts(model):
        return None
    return table_of((data,), {})


def _columns(data: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Return inputs by name if each has one cell per row; one that has more is a sequence or an image."""
    columns = {str(name): column_of(cells) for name, cells in data.items()}
    return (
        None
        if any(cells is None for cells in columns.values())
        else {name: cells.reshape(-1) for name, cells in columns.items()}
    )


def _reads_texts(model: Any) -> bool:
    return any(type(layer).__name__ in _TEXT_LAYERS for layer in getattr(model, "layers", ()))


def _meaning(model: Any) -> tuple[Task | None, Any, Record] | None:
    """Return the task, the classes and the recorder of a model's result; None if it has no known meaning."""
    activation, units = _activation(model), _units(model)
    if _gives_logits(model, activation):
        activation = "softmax of logits" if units != 1 else "sigmoid of logits"
    if activation.startswith("sigmoid") and units == 1:
        classes = np.arange(2)
        apply = sigmoid if "logits" in activation else np.asarray
        return (
            "binary_classification",
            classes,
            lambda prediction, result: record_positive(prediction, classes, apply(result)),
        )
    if activation.startswith("softmax") and units is not None and units > 1:
        classes = np.arange(units)
        apply = softmax if "logits" in activation else np.asarray
        task: Task = "binary_classification" if units == 2 else "multiclass_classification"
        return task, classes, lambda prediction, result: record_probabilities(prediction, classes, apply(result))
    return ("regression", None, record_values) if units == 1 else None


def _outputs(model: Any) -> list[Any]:
    try:
        return list(model.outputs or ())
    except AttributeError:  # a subclass with its own call
        return []


def _last(model: Any) -> Any:
    """Return the layer that makes the result, through models inside models; None if it is not known."""
    outputs = _outputs(model)
    layers = getattr(model, "layers", None) or ()
    layer = getattr(getattr(outputs[0], "_keras_history", None), "operation", None) if outputs else None
    if layer is None and layers:
        layer = layers[-1]
    return _last(layer) if layer is not None and getattr(layer, "layers", None) and layer is not model else layer


def _activation(model: Any) -> str:
    layer = _last(model)
    if type(layer).__name__ == "Softmax":
        return "softmax"
    return str(getattr(getattr(layer, "activation", None), "__name__", "linear"))


def _units(model: Any) -> int | None:
    outputs = _outputs(model)
    shape = tuple(outputs[0].shape) if outputs else (None, getattr(_last(model), "units", None))
    return shape[1] if len(shape) == 2 else 1 if len(shape) == 1 else None


def _gives_logits(model: Any, activation: str) -> bool:
    loss = getattr(model, "loss", None)
    return activation == "linear" and getattr(loss, "from_logits", False) is True


def _name(model: Any) -> str:
    """Return the name that the application gave, else the class; Keras numbers its own: ``sequential_3``.

    >>> class Sequential:
    ...     name = "sequential_3"
    >>> one, other = Sequential(), Sequential()
    >>> other.name = "churn"
    >>> _name(one), _name(other)
    ('Sequential', 'churn')
    """
    cls = type(model).__name__
    own = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls).lower()
    return cls if re.fullmatch(rf"{re.escape(own)}(_\d+)?", model.name) else str(model.name)
