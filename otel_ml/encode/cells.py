"""Converts columns cell by cell: for values that no array type holds, and for machines without pyarrow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from otel_ml.encode.row import converted
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text
from otel_ml.problems import report

LONG: Final = 2**31
"""Texts are truncated later, after redaction of the whole text."""

Cells = list[Scalar | None]


def converted_cells(values: Iterable[object], attribute: str) -> Cells:
    """Return each value as a scalar, None if it is missing or an attribute cannot hold it (reported once)."""
    return [
        value if type(value) is bool or (type(value) is float and value == value) else converted(value, LONG, attribute)
        for value in values
    ]


def homogeneous(cells: Sequence[Scalar | None], attribute: str) -> Cells:
    """Convert a column to one kind, the kind of most cells; other cells become missing, which is reported once.

    Truth values among texts become texts. A missing cell among floats is NaN, otherwise None.

    >>> homogeneous([1, None, 3], "a"), homogeneous([True, "no"], "b"), homogeneous([1, "n/a", 2.5], "c")
    ([1.0, nan, 3.0], ['true', 'no'], [1.0, nan, 2.5])
    """
    numbers = sum(1 for cell in cells if isinstance(cell, (int, float)) and not isinstance(cell, bool))
    truths = sum(1 for cell in cells if isinstance(cell, bool))
    texts = sum(1 for cell in cells if isinstance(cell, str))
    if numbers and (texts or truths):
        report(f"mixed {attribute}", "%s: numbers and texts in one batch; the rarer kind is dropped", attribute)
    if numbers >= texts + truths and numbers:
        return _as_numbers(cells)
    if texts:
        return [class_text(cell) if isinstance(cell, (str, bool)) else None for cell in cells]
    return [cell if isinstance(cell, bool) else None for cell in cells]


def _as_numbers(cells: Sequence[Scalar | None]) -> Cells:
    if all(type(cell) is int for cell in cells):
        return list(cells)
    return [float(cell) if isinstance(cell, (int, float)) and type(cell) is not bool else math.nan for cell in cells]


def text(value: object) -> str | None:
    """Return a cell's class text, None if it has none."""
    try:
        return class_text(value)
    except UnsupportedValueError:
        return None
