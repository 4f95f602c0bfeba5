"""What a scikit-learn estimator predicts, and how its results are recorded: duck typing, nothing is imported.

numpy is imported here: this module is loaded with scikit-learn only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from otel_ml.config import ENV_MODEL_NAME
from otel_ml.frameworks.base import Started
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.semconv import Task

Kind: TypeAlias = Literal["classifier", "regressor"]
Start: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Started | None]
Record: TypeAlias = Callable[[Prediction, Any, Any], bool]
"""``record(prediction, estimator, result)``; false where the result is no prediction."""

MAX_SCORES: Final = 20
"""Classes up to which every class's probability is recorded; beyond, the predicted class's alone."""
_DEPTH: Final = 16
"""Pipelines in searches in pipelines: how far down the model proper is looked for."""
_FRAMEWORKS: Final = ("lightgbm", "xgboost", "catboost", "sklearn")
_NOT_PREDICTIONS: Final = ("raw_score", "pred_leaf", "pred_contrib", "output_margin")
"""Arguments of LightGBM and XGBoost that make ``predict`` return margins, leaves or contributions."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a fitted estimator says of itself; see :func:`learned`."""

    name: str
    framework: str
    kind: Kind
    task: Task | None
    classes: Any
    features: tuple[str, ...] | None
    thresholded: bool


def learned(estimator: Any) -> Learned | None:
    """Describe an estimator; None for whatever predicts neither one class nor one value for a row.

    Clusterers, outlier detectors, transformers, and multi-output or multi-label models are such.

    >>> class Rule:
    ...     _estimator_type = "classifier"
    ...     classes_ = ["no", "yes"]
    >>> found = learned(Rule())
    >>> found.name, found.task
    ('Rule', 'binary_classification')
    >>> learned(object()) is None
    True
    """
    chain = list(layers(estimator))
    kind: Kind | None = next((known for layer in chain if (known := _kind(layer)) is not None), None)
    if kind is None or any(map(_has_many_outputs, chain)):
        return None
    classes = None
    task: Task | None = "regression"
    if kind == "classifier":
        known = attribute(estimator, "classes_")
        classes = class_labels(known)
        if known is not None and classes is None:
            return None
        task = None if classes is None else _classification(len(classes))
    return Learned(
        name=os.environ.get(ENV_MODEL_NAME, "").strip() or type(chain[-1]).__name__,
        framework=_framework(type(chain[-1])),
        kind=kind,
        task=task,
        classes=classes,
        features=_feature_names(estimator),
        thresholded=any(base.__name__ == "BaseThresholdClassifier" for layer in chain for base in type(layer).__mro__),
    )


def layers(estimator: Any) -> Iterator[Any]:
    """The estimator, then what it hands the prediction to: a pipeline's last step, the best of a search.

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
    """An attribute, None where it is missing or cannot be had: an unfitted model's property may raise anything."""
    try:
        return getattr(estimator, name, None)
    except Exception:  # noqa: BLE001 - a stranger's property
        return None


def class_labels(known: Any) -> Any:
    """The classes as an array of one dimension, None where they are not (several outputs have a list of arrays).

    >>> class_labels([0, 1]), class_labels([[0, 1], [0, 1, 2]])
    (array([0, 1]), None)
    """
    if known is None:
        return None
    if isinstance(known, (list, tuple)) and any(np.ndim(label) for label in known if not isinstance(label, str)):
        return None
    labels = np.asarray(known)
    return labels if labels.ndim == 1 and len(labels) else None


def starts(found: Learned, model: Model) -> dict[str, Start]:
    """For each method that predicts, how a call of it is observed; the estimator itself is not held."""

    def start(record: Record, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        if any(kwargs.get(name) for name in _NOT_PREDICTIONS):
            return None
        prediction = model.predict(features_of(args, kwargs))
        return Started(prediction, partial(record, prediction, estimator))

    if found.kind == "regressor":
        return {"predict": partial(start, record_values)}
    return {
        "predict": partial(start, partial(record_classes, found.classes)),
        "predict_proba": partial(start, partial(record_probabilities, found.thresholded)),
    }


def record_values(prediction: Prediction, estimator: Any, result: Any) -> bool:
    """A regressor's result: one value for each row."""
    values = _column(result)
    if values is None or values.dtype.kind not in "fiub":
        return False
    prediction.record(value=values)
    return True


def record_classes(classes: Any, prediction: Prediction, estimator: Any, result: Any) -> bool:
    """A classifier's result: one label for each row, and no probability. Numbers that cannot be labels are margins."""
    labels = _column(result)
    if labels is None or (classes is not None and labels.dtype.kind == "f" and classes.dtype.kind not in "fO"):
        return False
    prediction.record(class_=labels)
    return True


def record_probabilities(thresholded: bool, prediction: Prediction, estimator: Any, result: Any) -> bool:
    """Class probabilities ``[rows, classes]``: score and class of each row, and all scores where they are few, so that
    whoever reads them may take either class for the positive one.

    Where a threshold was tuned the likeliest class need not be the predicted one; it is left out.
    """
    probabilities = np.asarray(result) if _ndim(result) == 2 else None
    classes = class_labels(attribute(estimator, "classes_"))  # anew: an inner step may have been fitted again
    if probabilities is None or classes is None or probabilities.shape[1] != len(classes):
        return False
    if len(classes) == 2:
        score = probabilities[:, 1]
        likeliest = (score > probabilities[:, 0]).astype(np.intp)
    else:
        likeliest = probabilities.argmax(axis=1)
        score = probabilities[np.arange(len(probabilities)), likeliest]
    scores: Mapping[Any, Any] | None = None
    if len(classes) <= MAX_SCORES:
        scores = {label: probabilities[:, position] for position, label in enumerate(classes.tolist())}
    prediction.record(class_=None if thresholded else classes[likeliest], score=score, scores=scores)
    return True


def features_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The table that a call predicts for, None where it has no columns: texts, sparse matrices, other objects.

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
    """One cell for each row as an array; None for several, or for none."""
    if isinstance(result, tuple) and result:  # predict(return_std=True)
        result = result[0]
    dimensions = _ndim(result)
    if dimensions == 1 or (dimensions == 2 and getattr(result, "shape", (0, 0))[1] == 1):
        return np.asarray(result)
    return None


def _ndim(value: Any) -> int:
    if isinstance(value, (str, bytes)) or value is None:
        return 0
    known = getattr(value, "ndim", None)
    if isinstance(known, int):
        return known
    return np.ndim(value) if isinstance(value, (list, tuple)) else 0


def _kind(estimator: Any) -> Kind | None:
    # not scikit-learn's is_classifier: it warns, or raises, where a class of the application has no tags
    found: object = None
    if hasattr(type(estimator), "__sklearn_tags__"):
        try:
            found = estimator.__sklearn_tags__().estimator_type
        except Exception:  # noqa: BLE001 - a stranger's tags
            found = None
    found = found or attribute(estimator, "_estimator_type")
    if found == "classifier":
        return "classifier"
    return "regressor" if found == "regressor" else None


def _classification(classes: int) -> Task:
    return "binary_classification" if classes <= 2 else "multiclass_classification"


def _framework(cls: type) -> str:
    packages = [base.__module__.partition(".")[0] for base in cls.__mro__]
    return next((package for package in packages if package in _FRAMEWORKS), "sklearn")


def _has_many_outputs(estimator: Any) -> bool:
    """Several labels or values for one row, as far as it shows before a result does."""
    if attribute(estimator, "multilabel_") is True:
        return True
    binarizer = attribute(estimator, "_label_binarizer")
    return str(attribute(binarizer, "y_type_")).startswith("multilabel")


def _feature_names(estimator: Any) -> tuple[str, ...] | None:
    names = attribute(estimator, "feature_names_in_")
    return None if names is None else tuple(map(str, names))
