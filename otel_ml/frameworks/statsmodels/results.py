"""Describes fitted results of statsmodels, reads what they predict for, and records what they return.

This module imports numpy, so it is loaded only when the application has results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import class_labels, record_positive, record_probabilities, record_values
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

Record: TypeAlias = Callable[[Prediction, Any], bool]

_CONSTANTS: Final = ("const", "Intercept")
_BINARY: Final = ("BinaryModel", "ConditionalLogit")
_DEFAULTS: Final = (None, "mean", "prob")
"""Values of ``which`` that return predictions: ``prob`` is that of an ordinal model."""


def plan(results: Any, models: Models) -> Plan:
    """Return how calls of fitted results are observed, by method."""
    model = results.model
    bases = [base.__name__ for base in type(model).__mro__]
    task: Task = "regression"
    record: Record = record_values
    classes = None
    if "MultinomialModel" in bases or "OrderedModel" in bases:
        classes = class_labels(_classes_of(model))
        task, record = "multiclass_classification", partial(_probabilities, classes)
    elif any(base in bases for base in _BINARY) or type(getattr(model, "family", None)).__name__ == "Binomial":
        classes = np.arange(2)
        task, record = "binary_classification", partial(_positive, classes)
    names = [str(name) for name in getattr(model, "exog_names", None) or ()]
    description = Description(
        name=type(model).__name__,
        framework="statsmodels",
        task=task,
        classes=None if classes is None else tuple(classes.tolist()),
    )
    return {"predict": partial(_predict, models.handle(results, description), record, names)}


def _classes_of(model: Any) -> Any:
    """Return the classes of a model of several, in the order of its probabilities."""
    labels = getattr(model, "labels", None)
    if labels is not None:
        return list(labels)
    names: Mapping[int, Any] | None = getattr(model, "_ynames_map", None)
    return [names[place] for place in sorted(names)] if names else list(range(model.J))


def _positive(classes: Any, prediction: Prediction, result: Any) -> bool:
    return record_positive(prediction, classes, np.asarray(result))


def _probabilities(classes: Any, prediction: Prediction, result: Any) -> bool:
    return record_probabilities(prediction, classes, np.asarray(result))


def _predict(
    model: Model, record: Record, names: list[str], results: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    """Observe ``predict(exog)``."""
    exog = argument(args, kwargs, 0, "exog")
    which = kwargs.get("which")
    if exog is None or kwargs.get("linear") or len(args) > 2 or which not in _DEFAULTS:
        return None
    if which == "prob" and "OrderedModel" not in (base.__name__ for base in type(results.model).__mro__):
        return None  # the probability of each count
    prediction = model.predict(_features(exog, names))
    return Started(prediction, partial(_record, prediction, record))


def _record(prediction: Prediction, record: Record, result: Any) -> bool:
    values = np.asarray(result)
    return values.dtype.kind == "f" and record(prediction, values)


def _features(exog: Any, names: list[str]) -> Any:
    """Return the columns of a call by name, without the constant; of a formula, those of the frame."""
    if isinstance(exog, Mapping):
        return exog
    if hasattr(exog, "columns"):
        return _without_constants(exog)
    if getattr(exog, "index", None) is not None and hasattr(exog, "to_dict"):  # a row of a frame
        return {name: cell for name, cell in exog.to_dict().items() if name not in _CONSTANTS}
    table = np.asarray(exog)
    if table.ndim == 1:
        table = table.reshape(-1, 1) if len(names) == 1 else table.reshape(1, -1)
    if table.ndim != 2 or table.shape[1] != len(names):
        return None
    columns = {name: cells for name, cells in zip(names, table.T, strict=True) if name not in _CONSTANTS}
    return {name: cells.tolist()[0] for name, cells in columns.items()} if len(table) == 1 else columns


def _without_constants(frame: Any) -> Any:
    titles = list(frame.columns)
    if not set(titles) & set(_CONSTANTS) or len(set(titles)) < len(titles):
        return frame
    # A frame without these columns is a copy, which costs more than all the rest of a call of one row.
    if len(frame) == 1 and hasattr(frame, "iloc"):
        cells = zip(titles, frame.to_numpy(dtype=object)[0], strict=True)
        return {title: cell for title, cell in cells if title not in _CONSTANTS}
    return {title: frame[title] for title in titles if title not in _CONSTANTS}
