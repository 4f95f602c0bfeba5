"""Chooses the one score of a row from the probabilities of all classes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from otel_ml.classes import canonical_class
from otel_ml.encode.row import text_of
from otel_ml.encode.rows import is_column, items, length
from otel_ml.encode.scalar import MAX_KEY_CHARS, UnsupportedValueError, clean_key, number, text
from otel_ml.encode.shape import MAX_CLASSES
from otel_ml.problems import report, report_over_limit
from otel_ml.semconv import PREDICTION_SCORES


def by_class(scores: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
    """Yield each class's text with its probabilities; a class without a text is left out."""
    if len(scores) > MAX_CLASSES:
        report_over_limit("classes", len(scores), MAX_CLASSES)
    for class_, values in islice(scores.items(), MAX_CLASSES):
        name = clean_key(text_of(class_, MAX_KEY_CHARS, PREDICTION_SCORES))
        if name is not None and class_ is not None:
            yield name, values


def positive(classes: Sequence[str], positive_class: str | None, task: str | None) -> str | None:
    """Return the class that a binary score is the probability of: the one named, else the second of two.

    A named class that is not among them is reported once: no score is then the right one.

    >>> positive(["no", "yes"], None, None), positive(["no", "yes"], "no", None), positive(["a", "b", "c"], None, None)
    ('yes', 'no', None)
    >>> positive(["false", "true"], "1", None)
    'true'
    """
    if positive_class is not None:
        wanted = canonical_class(positive_class)
        named = next((name for name in classes if canonical_class(name) == wanted), None)
        if named is None:
            report(
                "positive class", "positive_class is %r, but scores has: %s", positive_class, ", ".join(classes[:10])
            )
        return named
    return classes[1] if len(classes) == 2 and task != "multiclass_classification" else None


def row_score(
    scores: Mapping[str, float], class_: str | None, positive_class: str | None, task: str | None
) -> float | None:
    """Return the probability of the positive class, else of the predicted one; None if neither is known."""
    scored = positive(list(scores), positive_class, task)
    if scored is None and positive_class is None:
        scored = class_
    return None if scored is None else scores.get(scored)


def column_score(
    scores: Mapping[str, object], classes: object, positive_class: str | None, task: str | None, rows: int
) -> object:
    """Return the column of scores of many rows, chosen like :func:`row_score`; None if they are unknown.

    >>> column_score({"a": [0.2, 0.7], "b": [0.5, 0.1], "c": [0.3, 0.2]}, ["b", "a"], None, None, 2)
    [0.5, 0.7]
    """
    scored = positive(list(scores), positive_class, task)
    if scored is not None:
        return scores[scored]
    if positive_class is not None or not is_column(classes) or length(classes) != rows:
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
    scores_of_rows = table[positions, numpy.arange(len(positions))]
    return numpy.where(positions >= 0, scores_of_rows, numpy.nan)
