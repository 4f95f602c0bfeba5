"""Reads a call of a model by duck typing: the table that it predicts for, and what its result means.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from otel_ml.prediction import Prediction
from otel_ml.problems import report

MAX_SCORES: Final = 20
"""Classes up to which the probability of every class is recorded; beyond that, only the predicted class's."""
DENSE_CELLS: Final = 1_000_000
"""Cells of a sparse table up to which its features are recorded."""
_PLAIN_KINDS: Final = frozenset("iubfUO")
"""Kinds of classes whose list has the cells that the array has; times lose their unit in a list."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The class ``positive`` (None: the second one) is predicted if its probability is at least ``value``.

    ``value`` is NaN if something other than the probability decides, such as a decision function.
    """

    value: float
    positive: Any = None


def table_of(args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str = "X") -> Any:
    """Return the table that a call predicts for, None if it has no columns: texts, sparse matrices, other objects.

    It is the first argument, or the one of this name.

    >>> table_of(([[1, 2]],), {}), table_of((["a text"],), {}), table_of((), {"X": [{"age": 3}]})
    ([[1, 2]], None, [{'age': 3}])
    """
    table = args[0] if args else kwargs.get(name)
    if isinstance(table, (list, tuple)):
        first: Any = table[0] if table else None
        return table if isinstance(first, Mapping) or dimensions(first) == 1 else None
    if hasattr(table, "columns") or (dimensions(table) == 2 and hasattr(table, "__array__")):
        return table
    return None


def column_of(result: Any) -> Any:
    """Return a result of one cell per row as an array; None for any other.

    >>> column_of([0.1, 0.2]), column_of([[0.1, 0.9]]) is None
    (array([0.1, 0.2]), True)
    """
    if isinstance(result, tuple) and result:  # predict(return_std=True)
        result = result[0]
    rank = dimensions(result)
    if rank == 1 or (rank == 2 and getattr(result, "shape", (0, 0))[1] == 1):
        return np.asarray(result)
    return None


def dimensions(value: Any) -> int:
    """Return the number of dimensions of an array or of nested lists, 0 for everything else.

    >>> dimensions([[1, 2]]), dimensions("text")
    (2, 0)
    """
    if isinstance(value, (str, bytes)) or value is None:
        return 0
    ndim = getattr(value, "ndim", None)
    if isinstance(ndim, int):
        return ndim
    return np.ndim(value) if isinstance(value, (list, tuple)) else 0


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


def position_of(positive: Any, classes: Any) -> int:
    """Return the position of the positive class of two: the second one if it is not named.

    >>> position_of("ham", np.array(["ham", "spam"])), position_of(None, np.array(["ham", "spam"]))
    (0, 1)
    """
    return 0 if positive is not None and classes[0] == positive else 1


def record_values(prediction: Prediction, result: Any) -> bool:
    """Record a regression's result: one value per row."""
    values = column_of(result)
    if values is None or values.dtype.kind not in "fiub":
        return False
    prediction.record(value=values)
    return True


def record_classes(prediction: Prediction, classes: Any, result: Any) -> bool:
    """Record a classifier's result: one label per row, no probability. Numbers that cannot be labels are margins."""
    labels = column_of(result)
    if labels is None or (classes is not None and labels.dtype.kind == "f" and classes.dtype.kind not in "fO"):
        return False
    prediction.record(class_=labels)
    return True


def record_probabilities(prediction: Prediction, classes: Any, result: Any, threshold: Threshold | None = None) -> bool:
    """Record class probabilities ``[rows, classes]``: the score and class of each row.

    ``classes`` is an array of as many classes (:func:`class_labels`). All scores are recorded too, up to
    :data:`MAX_SCORES`, so that a reader may take either class as the positive one. A threshold decides the class as in
    ``predict``; without a value that can be compared with a probability, the class is left out.
    """
    probabilities = np.asarray(result) if dimensions(result) == 2 else None
    if probabilities is None or classes is None or probabilities.shape[1] != len(classes):
        return False
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


def record_positive(prediction: Prediction, classes: Any, result: Any, threshold: Threshold | None = None) -> bool:
    """Record the probability of the second of two classes, one per row, as :func:`record_probabilities` does."""
    column = column_of(result)
    if column is None or column.dtype.kind != "f":
        return False
    if column.size == 1 and classes.dtype.kind in _PLAIN_KINDS:
        score = column.item()
        _record_row(prediction, classes.tolist(), [1.0 - score, score], threshold)
        return True
    column = column.reshape(-1)
    return record_probabilities(prediction, classes, np.stack([1 - column, column], axis=1), threshold)


def record_numbered_classes(prediction: Prediction, result: Any) -> bool:
    """Record classes that a library returns as whole numbers of floating point."""
    labels = column_of(result)
    if labels is None or labels.dtype.kind not in "fiu":
        return False
    prediction.record(class_=labels.astype(np.int64))
    return True


def dense(matrix: Any, absent: float) -> Any:
    """Return a sparse matrix as an array, with ``absent`` (NaN or 0) in the cells that it does not store.

    None, which is reported, if it is larger than :data:`DENSE_CELLS`. ``toarray`` makes a missing cell zero.
    """
    rows, columns = matrix.shape
    if rows * columns > DENSE_CELLS:
        report("sparse", "a sparse table of %d x %d is predicted without features, it is too large", rows, columns)
        return None
    stored = matrix.tocoo()
    cells = np.full((rows, columns), absent, dtype=np.result_type(stored.data.dtype, np.float32))
    cells[stored.row, stored.col] = stored.data
    return cells


def _record_row(prediction: Prediction, classes: list[Any], row: Sequence[float], threshold: Threshold | None) -> None:
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
