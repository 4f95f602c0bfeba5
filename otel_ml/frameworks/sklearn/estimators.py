"""Describes scikit-learn estimators and records their results, by duck typing.

This module imports numpy, so it is loaded only when the application has an estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from otel_ml.frameworks.base import Begin, Started
from otel_ml.frameworks.sklearn.thresholds import Threshold, threshold_of
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

Kind: TypeAlias = Literal["classifier", "regressor"]
Record: TypeAlias = Callable[[Prediction, Any, Any], bool]
"""``record(prediction, estimator, result)``; false if the result is not a prediction."""

MAX_SCORES: Final = 20
"""Classes up to which the probability of every class is recorded; beyond that, only the predicted class's."""
_DEPTH: Final = 16
"""Levels of nesting searched for the final model: pipelines in searches in pipelines."""
_FRAMEWORKS: Final = ("lightgbm", "xgboost", "catboost", "sklearn")
_PLAIN_KINDS: Final = frozenset("iubfUO")
"""Kinds of classes whose list has the cells that the array has; times lose their unit in a list."""
_NOT_PREDICTIONS: Final = ("raw_score", "pred_leaf", "pred_contrib", "output_margin")
"""Arguments of LightGBM and XGBoost that make ``predict`` return margins, leaves or contributions."""


@dataclass(frozen=True, slots=True)
class Description:
    """The attributes of a fitted estimator that matter here; see :func:`describe`."""

    name: str
    framework: str
    kind: Kind
    task: Task | None
    classes: Any
    features: tuple[str, ...] | None
    threshold: Threshold | None


def describe(estimator: Any) -> Description | None:
    """Describe an estimator; None for one that predicts neither one class nor one value per row.

    Examples are clusterers, outlier detectors, transformers, and multi-output or multi-label models.

    >>> class Rule:
    ...     _estimator_type = "classifier"
    ...     classes_ = ["no", "yes"]
    >>> description = describe(Rule())
    >>> description.name, description.task
    ('Rule', 'binary_classification')
    >>> describe(object()) is None
    True
    """
    chain = list(layers(estimator))
    kind: Kind | None = next((kind for kind in map(_kind, chain) if kind), None)
    if kind is None or any(map(_has_many_outputs, chain)):
        return None
    classes = None
    task: Task | None = "regression"
    if kind == "classifier":
        fitted_classes = attribute(estimator, "classes_")
        classes = class_labels(fitted_classes)
        if fitted_classes is not None and classes is None:
            return None
        task = None if classes is None else _classification(len(classes))
    return Description(
        name=type(chain[-1]).__name__,
        framework=_framework(type(chain[-1])),
        kind=kind,
        task=task,
        classes=classes,
        features=_feature_names(estimator),
        threshold=threshold_of(chain),
    )


def layers(estimator: Any) -> Iterator[Any]:
    """Yield the estimator, then what it passes the prediction to: a pipeline's last step, the best of a search.

    >>> class Search:
    ...     best_estimator_ = 3
    >>> [type(layer).__name__ for layer in layers(Search())]
    ['Search', 'int']
    """
    for _ in range(_DEPTH):
        yield estimator
        steps = attribute(estimator, "steps")
        inner = steps[-1][1] if isinstance(steps, list) and steps else attribute(estimator, "best_estimator_")
        if inner is None:
            return
        estimator = inner


def attribute(estimator: Any, name: str) -> Any:
    """Return an attribute, None if it is missing or raises: an unfitted model's property may raise anything."""
    try:
        return getattr(estimator, name, None)
    except Exception:  # noqa: BLE001 - a property of foreign code
        return None


def class_labels(classes: Any) -> Any:
    """Return the classes as a 1-D array, None if they are not (several outputs have a list of arrays).

    >>> class_labels([0, 1]), class_labels([[0, 1], [0, 1, 2]])
    (array([0, 1]), None)
    """
    if classes is None:
        return None
    if isinstance(classes, (list, tuple)) and any(np.ndim(label) for label in classes if not isinstance(label, str)):
        return None
    labels = np.asarray(classes)
    return labels if labels.ndim == 1 and len(labels) else None


def begin_by_method(description: Description, model: Model) -> dict[str, Begin]:
    """Return how a call is observed, for each method that predicts; the estimator itself is not referenced."""
    explains = model.explaining()

    def begin(record: Record, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        if kwargs and any(kwargs.get(name) for name in _NOT_PREDICTIONS):
            return None
        table = features_of(args, kwargs)
        prediction = model.predict(table)
        if explains is not None and table is not None:
            prediction.explain_by(explains, estimator, table)
        return Started(prediction, partial(record, prediction, estimator))

    if description.kind == "regressor":
        return {"predict": partial(begin, record_values)}
    return {
        "predict": partial(begin, partial(record_classes, description.classes)),
        "predict_proba": partial(begin, record_probabilities),
    }


def record_values(prediction: Prediction, estimator: Any, result: Any) -> bool:
    """Record a regressor's result: one value per row."""
    values = _column(result)
    if values is None or values.dtype.kind not in "fiub":
        return False
    prediction.record(value=values)
    return True


def record_classes(classes: Any, prediction: Prediction, estimator: Any, result: Any) -> bool:
    """Record a classifier's result: one label per row, no probability. Numbers that cannot be labels are margins."""
    labels = _column(result)
    if labels is None or (classes is not None and labels.dtype.kind == "f" and classes.dtype.kind not in "fO"):
        return False
    prediction.record(class_=labels)
    return True


def record_probabilities(prediction: Prediction, estimator: Any, result: Any) -> bool:
    """Record class probabilities ``[rows, classes]``: the score and class of each row.

    All scores are recorded too, up to :data:`MAX_SCORES`, so that a reader may take either class as the positive one.
    A threshold decides the class as in ``predict``; without a value that can be compared with a probability, the class
    is left out.
    """
    probabilities = np.asarray(result) if _ndim(result) == 2 else None
    classes = class_labels(attribute(estimator, "classes_"))  # read again: an inner step may have been refitted
    if probabilities is None or classes is None or probabilities.shape[1] != len(classes):
        return False
    threshold = threshold_of(layers(estimator))  # read again, too
    if len(probabilities) == 1 and classes.dtype.kind in _PLAIN_KINDS and probabilities.dtype == np.float64:
        _record_row(prediction, classes.tolist(), probabilities[0].tolist(), threshold)
        return True
    if len(classes) == 2:
        positive = 1 if threshold is None else position_of(threshold.positive, classes)
        score = probabilities[:, positive]
        above = score > probabilities[:, 1 - positive] if threshold is None else score >= threshold.value
        likeliest = np.where(above, positive, 1 - positive)
    else:
        likeliest = probabilities.argmax(axis=1)
        score = probabilities[np.arange(len(probabilities)), likeliest]
    scores: Mapping[Any, Any] | None = None
    if len(classes) <= MAX_SCORES:
        scores = {label: probabilities[:, position] for position, label in enumerate(classes.tolist())}
    decided = threshold is None or not np.isnan(threshold.value)
    prediction.record(class_=classes[likeliest] if decided else None, score=score, scores=scores)
    return True


def _record_row(prediction: Prediction, classes: list[Any], row: list[float], threshold: Threshold | None) -> None:
    """Record one row's probabilities as the many are, without arrays, which cost more than the rest."""
    if len(classes) == 2:
        positive = 1 if threshold is None else position_of(threshold.positive, classes)
        score = row[positive]
        above = score > row[1 - positive] if threshold is None else score >= threshold.value
        likeliest = positive if above else 1 - positive
    else:
        likeliest = next((position for position, each in enumerate(row) if each != each), row.index(max(row)))
        score = row[likeliest]
    decided = threshold is None or not math.isnan(threshold.value)
    scores = dict(zip(classes, row, strict=True)) if len(classes) <= MAX_SCORES else None
    prediction.record(class_=classes[likeliest] if decided else None, score=score, scores=scores)


def position_of(positive: Any, classes: Any) -> int:
    """Return the position of the positive class of two: the second one if it is not named.

    >>> position_of("ham", np.array(["ham", "spam"])), position_of(None, np.array(["ham", "spam"]))
    (0, 1)
    """
    return 0 if positive is not None and classes[0] == positive else 1


def features_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the table that a call predicts for, None if it has no columns: texts, sparse matrices, other objects.

    >>> features_of(([[1, 2]],), {}), features_of((["a text"],), {}), features_of((), {"X": [{"age": 3}]})
    ([[1, 2]], None, [{'age': 3}])
    """
    table = args[0] if args else kwargs.get("X")
    if isinstance(table, (list, tuple)):
        first: Any = table[0] if table else None
        return table if isinstance(first, Mapping) or _ndim(first) == 1 else None
    if hasattr(table, "columns") or (_ndim(table) == 2 and hasattr(table, "__array__")):
        return table
    return None


def _column(result: Any) -> Any:
    """Return a result of one cell per row as an array; None for any other."""
    if isinstance(result, tuple) and result:  # predict(return_std=True)
        result = result[0]
    dimensions = _ndim(result)
    if dimensions == 1 or (dimensions == 2 and getattr(result, "shape", (0, 0))[1] == 1):
        return np.asarray(result)
    return None


def _ndim(value: Any) -> int:
    if isinstance(value, (str, bytes)) or value is None:
        return 0
    ndim = getattr(value, "ndim", None)
    if isinstance(ndim, int):
        return ndim
    return np.ndim(value) if isinstance(value, (list, tuple)) else 0


def _kind(estimator: Any) -> Kind | None:
    # not scikit-learn's is_classifier: it warns, or raises, if a class of the application has no tags
    kind: object = None
    if hasattr(type(estimator), "__sklearn_tags__"):
        with suppress(Exception):  # tags of foreign code
            kind = estimator.__sklearn_tags__().estimator_type
    kind = kind or attribute(estimator, "_estimator_type")
    if kind == "classifier":
        return "classifier"
    return "regressor" if kind == "regressor" else None


def _classification(classes: int) -> Task:
    return "binary_classification" if classes <= 2 else "multiclass_classification"


def _framework(cls: type) -> str:
    packages = [base.__module__.partition(".")[0] for base in cls.__mro__]
    return next((package for package in packages if package in _FRAMEWORKS), "sklearn")


def _has_many_outputs(estimator: Any) -> bool:
    """Return whether an estimator has several labels or values per row, as far as its attributes show."""
    if attribute(estimator, "multilabel_") is True:
        return True
    binarizer = attribute(estimator, "_label_binarizer")
    return str(attribute(binarizer, "y_type_")).startswith("multilabel")


def _feature_names(estimator: Any) -> tuple[str, ...] | None:
    names = attribute(estimator, "feature_names_in_")
    return None if names is None else tuple(map(str, names))
