"""Describes scikit-learn estimators and records their results, by duck typing.

This module imports numpy, so it is loaded only when the application has an estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from otel_ml.frameworks.base import Begin, Started
from otel_ml.frameworks.calls import (
    Threshold,
    class_labels,
    record_classes,
    record_probabilities,
    record_values,
    table_of,
)
from otel_ml.frameworks.sklearn.thresholds import threshold_of
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

Kind: TypeAlias = Literal["classifier", "regressor"]
Record: TypeAlias = Callable[[Prediction, Any, Any], bool]
"""``record(prediction, estimator, result)``; false if the result is not a prediction."""

_DEPTH: Final = 16
"""Levels of nesting searched for the final model: pipelines in searches in pipelines."""
_FRAMEWORKS: Final = ("lightgbm", "xgboost", "catboost", "sklearn")
_NOT_PREDICTIONS: Final = ("raw_score", "pred_leaf", "pred_contrib", "output_margin")
"""Arguments of LightGBM and XGBoost that make ``predict`` return margins, leaves or contributions."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """The attributes of a fitted estimator that matter here; see :func:`describe`."""

    name: str
    framework: str
    kind: Kind
    task: Task | None
    classes: Any
    features: tuple[str, ...] | None
    threshold: Threshold | None


def describe(estimator: Any) -> Estimator | None:
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
    return Estimator(
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


def begin_by_method(description: Estimator, model: Model) -> dict[str, Begin]:
    """Return how a call is observed, for each method that predicts; the estimator itself is not referenced."""
    explains = model.explaining()

    def begin(record: Record, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        if kwargs and any(kwargs.get(name) for name in _NOT_PREDICTIONS):
            return None
        table = table_of(args, kwargs)
        prediction = model.predict(table)
        if explains is not None and table is not None:
            prediction.explain_by(explains, estimator, table)
        return Started(prediction, partial(record, prediction, estimator))

    def values(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return record_values(prediction, result)

    def classes(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return record_classes(prediction, description.classes, result)

    def probabilities(prediction: Prediction, estimator: Any, result: Any) -> bool:
        # Classes and threshold are read again: an inner step may have been refitted.
        fitted = class_labels(attribute(estimator, "classes_"))
        return record_probabilities(prediction, fitted, result, threshold_of(layers(estimator)))

    if description.kind == "regressor":
        return {"predict": partial(begin, values)}
    return {"predict": partial(begin, classes), "predict_proba": partial(begin, probabilities)}


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
