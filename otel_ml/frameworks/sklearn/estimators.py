"""Describes scikit-learn estimators and records their results, by duck typing.

This module imports numpy, so it is loaded only when the application has an estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from otel_ml.frameworks.base import Begin, Started
from otel_ml.frameworks.calls import (
    Threshold,
    class_labels,
    dimensions,
    record_classes,
    record_probabilities,
    record_values,
    table_of,
)
from otel_ml.frameworks.sklearn import detectors
from otel_ml.frameworks.sklearn.attributes import attribute, layers
from otel_ml.frameworks.sklearn.margins import decides, record_margins
from otel_ml.frameworks.sklearn.outputs import MAX_OUTPUTS, Outputs, outputs_of, record_outputs
from otel_ml.frameworks.sklearn.repeated import Repeated
from otel_ml.frameworks.sklearn.sparse import dense_of
from otel_ml.frameworks.sklearn.thresholds import threshold_of
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.problems import report
from otel_ml.semconv import Task

Kind: TypeAlias = Literal["classifier", "regressor", "outlier_detector"]
Record: TypeAlias = Callable[[Prediction, Any, Any], bool]
"""``record(prediction, estimator, result)``; false if the result is not a prediction."""

_FRAMEWORKS: Final = ("lightgbm", "xgboost", "catboost", "sklearn")
_NOT_PREDICTIONS: Final = ("raw_score", "pred_leaf", "pred_contrib", "output_margin")
"""Arguments of LightGBM and XGBoost that make ``predict`` return margins, leaves or contributions."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """The attributes of a fitted estimator that matter here; see :func:`describe`.

    - ``outputs``: the classes of each, if there are several (:mod:`.outputs`); ``classes`` and ``task`` are those of
      the only one.
    - ``zeros``: whether an absent cell of a sparse matrix is a zero to it, and not missing.
    - ``decides``: whether the class follows from margins, or from scores of an anomaly detector.
    """

    name: str
    framework: str
    kind: Kind
    task: Task | None
    classes: Any
    outputs: Outputs
    features: tuple[str, ...] | None
    threshold: Threshold | None
    zeros: bool
    decides: bool


def describe(estimator: Any) -> Estimator | None:
    """Describe an estimator; None for one that predicts neither classes nor values: clusterers, transformers.

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
    final = chain[-1]
    kind: Kind | None = next((kind for kind in map(_kind, chain) if kind), None)
    if kind is None:
        return None
    outputs = outputs_of(kind, chain)
    classes = None
    task: Task | None = "regression"
    threshold = threshold_of(chain)
    decided = False
    if kind == "outlier_detector":
        decided = detectors.is_known(final)
        classes, task = (np.array(detectors.CLASSES), "binary_classification") if decided else (None, None)
        threshold = detectors.threshold_of_scores(final) if decided else None
    elif kind == "classifier" and not outputs:
        fitted_classes = attribute(estimator, "classes_")
        classes = class_labels(fitted_classes)
        if fitted_classes is not None and classes is None:
            return None
        task = classification(classes)
        decided = threshold is None and decides(final, classes)
    if len(outputs) > MAX_OUTPUTS:
        report(
            f"outputs {type(final).__name__}",
            "%s has %d outputs; up to %d are observed, each as a model, so its predictions are not observed",
            type(final).__name__,
            len(outputs),
            MAX_OUTPUTS,
        )
        return None
    return Estimator(
        name=type(final).__name__,
        framework=_framework(type(final)),
        kind=kind,
        task=task,
        classes=classes,
        outputs=outputs,
        features=_feature_names(estimator),
        threshold=threshold,
        zeros=all(type(layer).__module__.startswith("sklearn.") for layer in chain),
        decides=decided,
    )


def classification(classes: Any) -> Task | None:
    """Return the task of a classifier of these classes."""
    if classes is None:
        return None
    return "binary_classification" if len(classes) <= 2 else "multiclass_classification"


def begin_by_method(description: Estimator, models: Sequence[Model]) -> dict[str, Begin]:
    """Return how a call is observed, for each method that predicts; the estimator itself is not referenced.

    ``models`` are the handles of the outputs.
    """
    model, *further = models
    explains = None if further else model.explaining()
    repeated = Repeated(model.name)

    def begin(
        method: str, record: Record, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Started | None:
        if kwargs and any(kwargs.get(name) for name in _NOT_PREDICTIONS):
            return None
        table = table_of(args, kwargs)
        repeated.check(method, table)
        if table is None:
            dense = dense_of(args, kwargs, model.name) if description.zeros else None
            prediction = model.predict(dense)
        else:
            prediction = model.predict(table)
            if explains is not None:
                prediction.explain_by(explains, estimator, table)
        if not description.outputs:
            return Started(prediction, partial(record, prediction, estimator))
        others = [each.predict() for each in further]
        prediction.share(others)
        return Started(prediction, partial(record_outputs, method, description.outputs, [prediction, *others]))

    return {method: partial(begin, method, record) for method, record in _records(description).items()}


def _records(description: Estimator) -> Mapping[str, Record]:
    """Return how the result of each method is recorded that is a prediction."""

    def values(prediction: Prediction, estimator: Any, result: Any) -> bool:
        recorded = record_values(prediction, result)
        if not recorded:
            _report_unknown(description.name, result)
        return recorded

    def classes(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return record_classes(prediction, description.classes, result)

    def probabilities(prediction: Prediction, estimator: Any, result: Any) -> bool:
        # Classes and threshold are read again: an inner step may have been refitted.
        fitted = class_labels(attribute(estimator, "classes_"))
        return record_probabilities(prediction, fitted, result, threshold_of(layers(estimator)))

    def logarithms(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return probabilities(prediction, estimator, np.exp(result))

    def margins(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return record_margins(prediction, class_labels(attribute(estimator, "classes_")), result)

    def decisions(prediction: Prediction, estimator: Any, result: Any) -> bool:
        return detectors.record_decisions(prediction, result)

    def samples(prediction: Prediction, estimator: Any, result: Any) -> bool:
        *_, final = layers(estimator)
        return detectors.record_samples(prediction, final, result)

    if description.kind == "regressor":
        return {"predict": values}
    of_classes: dict[str, Record] = {"predict": classes}
    if description.kind == "outlier_detector":
        return (
            of_classes | {"decision_function": decisions, "score_samples": samples}
            if description.decides
            else of_classes
        )
    of_classes |= {"predict_proba": probabilities, "predict_log_proba": logarithms}
    return of_classes | {"decision_function": margins} if description.decides else of_classes


def _report_unknown(name: str, result: Any) -> None:
    if dimensions(result) == 2:
        report(
            f"values {name}",
            "%s has several values for each row, but no attribute n_outputs_ that says how many: it is not observed",
            name,
        )


def _kind(estimator: Any) -> Kind | None:
    # not scikit-learn's is_classifier: it warns, or raises, if a class of the application has no tags
    kind: object = None
    if hasattr(type(estimator), "__sklearn_tags__"):
        with suppress(Exception):  # tags of foreign code
            kind = estimator.__sklearn_tags__().estimator_type
    kind = kind or attribute(estimator, "_estimator_type")
    if kind == "classifier":
        return "classifier"
    if kind == "outlier_detector":
        return "outlier_detector"
    return "regressor" if kind == "regressor" else None


def _framework(cls: type) -> str:
    packages = [base.__module__.partition(".")[0] for base in cls.__mro__]
    return next((package for package in packages if package in _FRAMEWORKS), "sklearn")


def _feature_names(estimator: Any) -> tuple[str, ...] | None:
    names = attribute(estimator, "feature_names_in_")
    return None if names is None else tuple(map(str, names))
