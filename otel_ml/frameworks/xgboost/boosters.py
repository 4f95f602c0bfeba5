"""Describes boosters of XGBoost, reads what they predict for, and records their results.

This module imports numpy, so it is loaded only when the application has a booster.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import (
    DENSE_CELLS,
    dense,
    record_numbered_classes,
    record_positive,
    record_probabilities,
    record_values,
    table_of,
)
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument, left_out
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.problems import report

Record: TypeAlias = Callable[[Prediction, Any], bool]

_NAME: Final = "xgboost.Booster"
_VALUES: Final = ("reg:", "count:", "survival:")
_OTHER_RESULTS: Final = (
    "output_margin", "pred_leaf", "pred_contribs", "approx_contribs", "pred_interactions", "training",
)  # fmt: skip
"""Arguments that make ``predict`` return margins, leaves or contributions, or what training sees."""
_POSITION: Final = {name: place for place, name in enumerate(_OTHER_RESULTS[:5], 1)}
"""Their places, for versions and callers that give them by position."""


class _Columns(NamedTuple):
    """The names of a booster's features, and the places of its categories."""

    names: tuple[str, ...] | None
    categories: tuple[int, ...]


def plan(booster: Any, models: Models) -> Plan:
    """Return how calls of a booster are observed, by method."""
    learner = json.loads(booster.save_config())["learner"]
    objective, sizes = learner["objective"]["name"], learner["learner_model_param"]
    classes = int(sizes["num_class"])
    record: Record
    task, labels = "binary_classification", np.arange(max(classes, 2))
    if int(sizes.get("num_target", 1)) > 1:
        return left_out(_NAME, "it has several outputs")
    if objective == "binary:logistic":
        record = partial(_positive, labels)
    elif objective == "binary:hinge":
        record = record_numbered_classes
    elif objective == "multi:softprob":
        task, record = "multiclass_classification", partial(_probabilities, labels)
    elif objective == "multi:softmax":
        task, record = "multiclass_classification", record_numbered_classes
    elif objective.startswith(_VALUES):
        task, record = "regression", record_values
    else:
        return left_out(_NAME, f"what the objective {objective} returns is neither a class, a probability nor a value")
    names = booster.feature_names
    types = booster.feature_types or ()
    columns = _Columns(names and tuple(names), tuple(place for place, kind in enumerate(types) if kind == "c"))
    description = Description(
        name=_NAME,
        framework="xgboost",
        task=task,
        classes=None if task == "regression" else tuple(labels.tolist()),
        features=columns.names,
        version=booster.attr("version") or "",
    )
    model = models.handle(booster, description)
    return {
        "predict": partial(_predict, model, record, columns),
        "inplace_predict": partial(_inplace_predict, model, record),
    }


def _positive(labels: Any, prediction: Prediction, result: Any) -> bool:
    return record_positive(prediction, labels, result)


def _probabilities(labels: Any, prediction: Prediction, result: Any) -> bool:
    return record_probabilities(prediction, labels, result)


def _predict(
    model: Model, record: Record, columns: _Columns, booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    """Observe ``predict(DMatrix)``."""
    if any(argument(args, kwargs, _POSITION.get(name, 99), name) for name in _OTHER_RESULTS):
        return None
    # A DMatrix does not change, so its cells are copied only if someone records them.
    features = partial(_table_of_matrix, argument(args, kwargs, 0, "data"), columns)
    return _started(model, record, booster, features, can_explain=not columns.categories)


def _inplace_predict(
    model: Model, record: Record, booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Started | None:
    """Observe ``inplace_predict(table)``."""
    if kwargs.get("predict_type", "value") != "value" or len(args) > 1:
        return None
    table, missing = argument(args, kwargs, 0, "data"), kwargs.get("missing", math.nan)
    if hasattr(table, "tocoo") or missing == missing:
        return _started(model, record, booster, partial(_without_missing, table, missing), can_explain=True)
    table = table_of((table,), {})
    return _started(model, record, booster, table, can_explain=table is not None)


def _started(model: Model, record: Record, booster: Any, features: Any, can_explain: bool) -> Started:
    prediction = model.predict(features)
    explains = model.explaining()
    if explains is not None and can_explain:
        prediction.explain_by(explains, booster, features)
    return Started(prediction, partial(record, prediction))


def _without_missing(table: Any, missing: Any) -> Any:
    """Return a table with NaN in the cells that a sparse one does not store, or that the call says are missing."""
    table = dense(table, absent=math.nan) if hasattr(table, "tocoo") else table_of((table,), {})
    if table is None or missing is None or missing != missing:
        return table
    if hasattr(table, "mask"):  # pandas
        return table.mask(table == missing)
    cells = np.asarray(table, np.float64)
    return np.where(cells == missing, math.nan, cells)


def _table_of_matrix(matrix: Any, columns: _Columns) -> Any:
    """Return the cells of a DMatrix; None if they are quantized or too many."""
    rows, width = matrix.num_row(), matrix.num_col()
    quantized = getattr(sys.modules.get("xgboost"), "QuantileDMatrix", ())
    if isinstance(matrix, quantized) or rows * width > DENSE_CELLS:
        report("xgboost matrix", "a large or quantized DMatrix is predicted without features")
        return None
    cells = dense(matrix.get_data(), absent=math.nan)
    names = columns.names or matrix.feature_names
    if names is None or (names == columns.names and not columns.categories):
        return cells
    named = dict(zip(names, cells.T, strict=True))
    for place in columns.categories:
        named[names[place]] = _texts(matrix, place, cells[:, place])
    return {name: cells for name, cells in named.items() if cells is not None}


def _texts(matrix: Any, place: int, codes: Any) -> list[str | None] | None:
    """Return categories, which a DMatrix has as codes, as texts; None if their names are not known."""
    try:
        names = matrix.get_categories(export_to_arrow=True).to_arrow()[place][1]
    except (AttributeError, ImportError):  # XGBoost before 3.1, or no pyarrow
        report(
            "xgboost categories",
            "categories of a DMatrix have no names here, and are left out; XGBoost 3.1 and pyarrow have them",
        )
        return None
    if names is None:  # the application gave codes
        return [None if code != code else str(int(code)) for code in codes.tolist()]
    texts = names.to_pylist()
    return [None if code != code else str(texts[int(code)]) for code in codes.tolist()]
