"""Describes models of River, and records what they return."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument
from otel_ml.frameworks.river.pending import Pending, Waiting
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

_DEPTH: Final = 16
_MAX_SCORES: Final = 20


def plan(model: Any, models: Models, pending: Pending) -> Plan:
    """Return how calls of a model are observed, by method."""
    base: Any = sys.modules["river.base"]
    layers = [model]
    while len(layers) < _DEPTH and hasattr(layers[-1], "_last_step"):
        layers.append(layers[-1]._last_step)  # noqa: SLF001 - a pipeline has no other name for it
    last = layers[-1]
    if isinstance(last, base.Classifier):
        task: Task | None = None if last._multiclass else "binary_classification"  # noqa: SLF001 - River's own tag
    elif isinstance(last, base.Regressor):
        task = "regression"
    else:
        return {}
    description = Description(
        name=type(last).__name__,
        framework="river",
        task=task,
        positive_class=True if task == "binary_classification" else None,
    )
    handle = models.handle(model, description, layers[1:])
    observed = partial(_begin, handle, task, pending)
    return {"predict_one": observed, "predict_proba_one": observed}


def _begin(
    handle: Model, task: Task | None, pending: Pending, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    row = argument(args, kwargs, 0, "x")
    prediction = handle.predict(row)
    return Started(prediction, partial(_record, prediction, handle, task, pending, row))


def _record(prediction: Prediction, handle: Model, task: Task | None, pending: Pending, row: Any, result: Any) -> bool:
    if task == "regression":
        if result is None:
            return False
        prediction.record(value=result)
    elif isinstance(result, Mapping):
        if not result:  # nothing is learned yet
            return False
        _record_probabilities(prediction, result)
    elif result is None:
        return False
    else:
        prediction.record(class_=result)
    pending.put(row, Waiting(handle, task != "regression", prediction.id))
    return True


def _record_probabilities(prediction: Prediction, probabilities: Mapping[Any, float]) -> None:
    likeliest = max(probabilities, key=probabilities.__getitem__)
    score = probabilities[likeliest]
    names = list(probabilities)
    if len(names) == 2:  # in the order of scikit-learn: classes come here as they were first seen
        names = sorted(names, key=lambda name: (str(type(name)), name))
        score = probabilities[names[1]]
    scores = {name: probabilities[name] for name in names} if len(names) <= _MAX_SCORES else None
    prediction.record(class_=likeliest, score=score, scores=scores)
