"""Describes models of CatBoost, reads what they predict for, and records their results.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import (
    DENSE_CELLS,
    Threshold,
    class_labels,
    dense,
    dimensions,
    record_classes,
    record_probabilities,
    record_values,
    table_of,
)
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument, left_out
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.problems import report

_SEVERAL: Final = ("MultiRMSE", "MultiRMSEWithMissingValues", "MultiLogloss", "MultiCrossEntropy", "MultiQuantile")
_RANKS: Final = (
    "YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "StochasticFilter", "StochasticRank",
    "LambdaMart", "QueryRMSE", "QuerySoftMax", "QueryCrossEntropy", "GroupQuantile",
)  # fmt: skip
_LOGARITHMS: Final = ("Poisson", "Tweedie")
"""Losses whose raw values are logarithms of the predicted ones."""
_UNCERTAIN: Final = "RMSEWithUncertainty"
_DEFAULT_THRESHOLD: Final = 0.5


class _Trees(NamedTuple):
    """What is known of a fitted model."""

    loss: str
    classes: Any
    names: tuple[str, ...] | None
    default: str
    threshold: Threshold | None


def plan(model: Any, models: Models) -> Plan:
    """Return how calls of a model are observed, by method."""
    if not model.is_fitted():
        return {}
    name = type(model).__name__
    loss = str(model.get_all_params().get("loss_function", "")).partition(":")[0]
    if loss in _SEVERAL:
        return left_out(name, f"it has several outputs ({loss})")
    if loss in _RANKS:
        return left_out(name, f"{loss} ranks, and returns neither a class, a probability nor a value")
    fitted = model.classes_
    classes = class_labels(fitted) if len(fitted) else None
    names = tuple(map(str, model.feature_names_ or ()))
    made = tuple(map(str, range(len(names))))  # of an array
    limit = _threshold(model) if classes is not None and len(classes) == 2 else None
    trees = _Trees(loss, classes, None if names == made else names, _default(model), limit)
    description = Description(
        name=name,
        framework="catboost",
        task=_task(classes),
        classes=None if classes is None else tuple(classes.tolist()),
        features=trees.names,
        threshold=None if limit is None else limit.value,
        version=str(_guid(model)),
    )
    handle = models.handle(model, description)
    return {
        "predict": partial(_begin, handle, trees, None),
        "predict_proba": partial(_begin, handle, trees, "Probability"),
    }


def _task(classes: Any) -> Any:
    if classes is None:
        return "regression"
    return "binary_classification" if len(classes) == 2 else "multiclass_classification"


def _default(model: Any) -> str:
    """Return the type of prediction that ``predict`` makes if it is not given one."""
    kind = getattr(type(model), "_estimator_type", "")
    return {"classifier": "Class", "regressor": "Value"}.get(kind, "RawFormulaVal")


def _threshold(model: Any) -> Threshold | None:
    try:
        value = float(model.get_probability_threshold())
    except Exception:  # noqa: BLE001 - a model of another version or format has none
        return None
    return None if value == _DEFAULT_THRESHOLD else Threshold(value)


def _guid(model: Any) -> str:
    try:
        return model.get_metadata()["model_guid"]
    except Exception:  # noqa: BLE001 - a model of another format has none
        return ""


def _begin(
    model: Model, trees: _Trees, kind: str | None, fitted: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    chosen: str = kind or argument(args, kwargs, 1, "prediction_type") or trees.default
    if not _is_prediction(chosen, trees):
        return None
    features = _features(args[0] if args else kwargs.get("data", kwargs.get("X")), trees)
    prediction = model.predict(features)
    explains = model.explaining()
    if explains is not None and features is not None:
        prediction.explain_by(explains, fitted, features)
    return Started(prediction, partial(_record, prediction, chosen, trees))


def _is_prediction(kind: str, trees: _Trees) -> bool:
    if trees.classes is not None:
        return kind in ("Class", "Probability")
    if kind == "RawFormulaVal":
        return trees.loss not in _LOGARITHMS
    return kind in ("Value", "Exponent", _UNCERTAIN)


def _record(prediction: Prediction, kind: str, trees: _Trees, result: Any) -> bool:
    if kind == "Class":
        return record_classes(prediction, trees.classes, np.asarray(result).reshape(-1))
    if kind == "Probability":
        rows = np.asarray(result)
        return record_probabilities(prediction, trees.classes, np.atleast_2d(rows), trees.threshold)
    values = np.asarray(result)
    if trees.loss == _UNCERTAIN and values.shape and values.shape[-1] == 2:
        values = values[..., 0]  # the mean; the other one is the variance
    return record_values(prediction, np.atleast_1d(values))


def _features(data: Any, trees: _Trees) -> Any:
    """Return the table of a call, or what reads it if it is recorded."""
    if hasattr(data, "get_features"):
        return partial(_cells_of_pool, data, trees)
    if hasattr(data, "tocoo"):
        return partial(dense, data, absent=0.0)
    if dimensions(data) == 1 and not hasattr(data, "columns"):  # one row, unless it is a list of mappings or of rows
        table = table_of((data,), {})
        return [list(data)] if table is None else table
    return table_of((data,), {})


def _cells_of_pool(pool: Any, trees: _Trees) -> Any:
    if pool.num_row() * pool.num_col() > DENSE_CELLS:
        report("catboost pool size", "a pool of more than %d cells is predicted without features", DENSE_CELLS)
        return None
    if pool.get_cat_feature_indices() or pool.get_text_feature_indices() or pool.get_embedding_feature_indices():
        report("catboost pool", "a pool with categories or texts is predicted without features")
        return None
    cells = pool.get_features()
    names = trees.names or pool.get_feature_names()
    made = list(map(str, range(len(names))))
    return cells if not all(names) or list(names) == made else dict(zip(names, np.asarray(cells).T, strict=True))
