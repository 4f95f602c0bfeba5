"""The outputs of an estimator that has several: labels of a row, or values of a row.

Each output is observed as a model ``NAME/0``, ``NAME/1``, …, because a prediction is one class or one value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from otel_ml.frameworks.calls import class_labels, dimensions, record_classes, record_probabilities, record_values
from otel_ml.frameworks.sklearn.attributes import attribute
from otel_ml.prediction import Prediction

MAX_OUTPUTS: Final = 16
"""Outputs up to which each is observed: a call costs a span, with all features, for each."""
_MANY_ESTIMATORS: Final = ("_MultiOutputEstimator", "_BaseChain")
"""Classes of scikit-learn that have one estimator for each output."""

Outputs: TypeAlias = tuple[Any, ...]
"""The classes of each output, None for one of values; empty if there is only one output."""


def outputs_of(kind: str, chain: Sequence[Any]) -> Outputs:
    """Return the outputs of a fitted estimator, from it and what it passes its predictions to.

    >>> class Trees:
    ...     classes_ = [np.array([0, 1]), np.array(["a", "b", "c"])]
    >>> outputs_of("classifier", [Trees()])
    (array([0, 1]), array(['a', 'b', 'c'], dtype='<U1'))
    """
    if kind == "regressor":
        number = next((many for many in map(_values_of, chain) if many > 1), 1)
        return (None,) * number if number > 1 else ()
    if kind != "classifier":
        return ()
    classes = attribute(chain[0], "classes_")
    if any(map(_is_multilabel, chain)):
        return () if classes is None else (np.array([0, 1]),) * len(classes)
    if isinstance(classes, (list, tuple)) and any(np.ndim(each) for each in classes if not isinstance(each, str)):
        each = tuple(map(class_labels, classes))
        return () if any(labels is None for labels in each) else each
    return ()


def record_outputs(method: str, outputs: Outputs, predictions: Sequence[Prediction], result: Any) -> bool:
    """Record the result of a call in a prediction for each output; false if it has other outputs."""
    if method == "predict_log_proba":
        result = list(map(np.exp, result)) if isinstance(result, list) else np.exp(result)
    columns = _columns(method, result, len(outputs))
    if columns is None:
        return False
    record: Callable[[Prediction, Any, Any], bool] = _of_class if method == "predict" else record_probabilities
    return all(
        record_values(prediction, column) if classes is None else record(prediction, classes, column)
        for prediction, classes, column in zip(predictions, outputs, columns, strict=True)
    )


def _of_class(prediction: Prediction, classes: Any, column: Any) -> bool:
    # An array of all outputs has one type: numbers beside texts are texts, and whole ones beside others are floats.
    if column.dtype.kind == "f" and classes.dtype.kind in "iub" and (column == column.astype(classes.dtype)).all():
        column = column.astype(classes.dtype)
    return record_classes(prediction, classes, column)


def _columns(method: str, result: Any, number: int) -> list[Any] | None:
    """Return what ``result`` has for each output: a column, or probabilities ``[rows, classes]``."""
    if method != "predict" and isinstance(result, list):
        return result if len(result) == number and all(dimensions(each) == 2 for each in result) else None
    table = result.toarray() if hasattr(result, "toarray") else result
    if dimensions(table) != 2:
        return None
    table = np.asarray(table)
    if table.shape[1] != number:
        return None
    columns = list(table.T)
    return columns if method == "predict" else [np.column_stack([1.0 - column, column]) for column in columns]


def _values_of(estimator: Any) -> int:
    """Return how many values a fitted regressor has for each row, as far as its attributes show."""
    number = attribute(estimator, "n_outputs_")
    if isinstance(number, (int, np.integer)):
        return int(number)
    inner = attribute(estimator, "regressor_")  # of a target that is transformed
    if inner is not None:
        return _values_of(inner)
    names = {base.__name__ for base in type(estimator).__mro__}
    if names.intersection(_MANY_ESTIMATORS):
        return len(attribute(estimator, "estimators_") or ())
    if "KernelRidge" in names:
        return _size(attribute(estimator, "dual_coef_"), 1)
    linear = _size(attribute(estimator, "coef_"), 0)
    # the targets of the training, of neighbors and of Gaussian processes
    return max(linear, _size(attribute(estimator, "_y"), 1), _size(attribute(estimator, "y_train_"), 1))


def _size(values: Any, axis: int) -> int:
    return int(values.shape[axis]) if getattr(values, "ndim", 0) == 2 else 1


def _is_multilabel(estimator: Any) -> bool:
    if attribute(estimator, "multilabel_") is True:
        return True
    binarizer = attribute(estimator, "_label_binarizer")
    return str(attribute(binarizer, "y_type_")).startswith("multilabel")
