"""Describes boosters of LightGBM, reads what they predict for, and records their results.

This module imports numpy, so it is loaded only when the application has a booster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import dense, record_positive, record_probabilities, record_values, table_of
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument, left_out
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

Record: TypeAlias = Callable[[Prediction, Any], bool]

_NAME: Final = "lightgbm.Booster"
_RANKS: Final = ("lambdarank", "rank_xendcg")
_OTHER_RESULTS: Final = {"raw_score": 3, "pred_leaf": 4, "pred_contrib": 5}
"""Arguments of ``predict`` that make it return margins, leaves or contributions, with their places."""


def plan(booster: Any, models: Models) -> Plan:
    """Return how calls of a booster are observed, by method."""
    # as the file has it, without its trees: parameters may be given by many names, and a loaded booster may have none
    objective = str(booster.dump_model(num_iteration=1).get("objective") or "").partition(" ")[0]
    classes = booster.num_model_per_iteration()
    record: Record
    task: Task = "binary_classification"
    labels = np.arange(max(classes, 2))
    if not objective:
        return left_out(_NAME, "an objective of the application returns raw scores")
    if objective in _RANKS:
        return left_out(_NAME, f"the objective {objective} returns neither a class, a probability nor a value")
    if objective == "binary":
        record = partial(_positive, labels)
    elif objective in ("multiclass", "multiclassova"):
        task, record = "multiclass_classification", partial(_probabilities, labels)
    else:
        task, record = "regression", record_values
    names = tuple(booster.feature_name())
    made = tuple(f"Column_{place}" for place in range(len(names)))
    description = Description(
        name=_NAME,
        framework="lightgbm",
        task=task,
        classes=None if task == "regression" else tuple(labels.tolist()),
        features=None if names == made else names,
    )
    return {"predict": partial(_predict, models.handle(booster, description), record)}


def _positive(labels: Any, prediction: Prediction, result: Any) -> bool:
    return record_positive(prediction, labels, result)


def _probabilities(labels: Any, prediction: Prediction, result: Any) -> bool:
    return record_probabilities(prediction, labels, result)


def _predict(
    model: Model, record: Record, booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    """Observe ``predict``."""
    if any(argument(args, kwargs, place, name) for name, place in _OTHER_RESULTS.items()):
        return None
    table = argument(args, kwargs, 0, "data")
    # For LightGBM, a cell that a sparse table does not store is zero.
    features = partial(dense, table, absent=0.0) if hasattr(table, "tocoo") else table_of((table,), {})
    prediction = model.predict(features)
    explains = model.explaining()
    if explains is not None and features is not None:
        prediction.explain_by(explains, booster, features)
    return Started(prediction, partial(record, prediction))
