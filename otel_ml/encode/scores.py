"""The one score of a row out of the probabilities of all classes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from otel_ml.encode.cells import text
from otel_ml.encode.scalar import UnsupportedValueError, number
from otel_ml.encode.shape import is_column, items, length


def positive(classes: Sequence[str], positive_class: str | None, task: str | None) -> str | None:
    """The class that a binary score is the probability of: the one named, else the second of two.

    >>> positive(["no", "yes"], None, None), positive(["no", "yes"], "no", None), positive(["a", "b", "c"], None, None)
    ('yes', 'no', None)
    """
    if positive_class in classes:
        return positive_class
    return classes[1] if len(classes) == 2 and task != "multiclass_classification" else None


def row_score(
    scores: Mapping[str, float], class_: str | None, positive_class: str | None, task: str | None
) -> float | None:
    """Probability of the positive class, else of the predicted one; None where neither is known."""
    chosen = positive(list(scores), positive_class, task) or class_
    return None if chosen is None else scores.get(chosen)


def column_score(
    scores: Mapping[str, object], classes: object, positive_class: str | None, task: str | None, rows: int
) -> object:
    """:func:`row_score` for many rows: a column, or None where it is not known.

    >>> column_score({"a": [0.2, 0.7], "b": [0.5, 0.1], "c": [0.3, 0.2]}, ["b", "a"], None, None, 2)
    [0.5, 0.7]
    """
    chosen = positive(list(scores), positive_class, task)
    if chosen is not None:
        return scores[chosen]
    if not is_column(classes) or length(classes) != rows:
        return None
    if any(not is_column(column) or length(column) != rows for column in scores.values()):
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(classes).__module__ == "numpy":
        return _gathered(numpy, scores, classes)
    columns = {name: items(column) for name, column in scores.items()}
    return [_cell(columns, cell, row) for row, cell in enumerate(items(classes))]


def _cell(columns: Mapping[str, list[Any]], cell: object, row: int) -> float | None:
    column = columns.get(text(cell) or "")
    try:
        return None if column is None else number(column[row])
    except UnsupportedValueError:
        return None


def _gathered(numpy: Any, scores: Mapping[str, object], classes: Any) -> Any:
    names = {name: position for position, name in enumerate(scores)}
    distinct, inverse = numpy.unique(classes, return_inverse=True)
    table = numpy.array([numpy.asarray(column, dtype=float) for column in scores.values()])
    positions = numpy.array([names.get(text(cell) or "", -1) for cell in distinct.tolist()])[inverse.reshape(-1)]
    found = table[positions, numpy.arange(len(positions))]
    return numpy.where(positions >= 0, found, numpy.nan)
