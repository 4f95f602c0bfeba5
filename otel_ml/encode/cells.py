"""Columns cell by cell: for what no array type holds, and for machines without pyarrow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from otel_ml.encode.row import converted
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text
from otel_ml.problems import report

LONG: Final = 2**31
"""Texts are cut later, when redaction has seen all of them."""

Cells = list[Scalar | None]


def converted_cells(values: Iterable[object], attribute: str) -> Cells:
    """Each value as a scalar, None where it is missing or has no place in an attribute (reported once)."""
    return [
        value if type(value) is bool or (type(value) is float and value == value) else converted(value, LONG, attribute)
        for value in values
    ]


def homogeneous(cells: Sequence[Scalar | None], attribute: str) -> Cells:
    """One kind for the whole column: the kind that most cells have; others become missing, which is reported once.

    Truth values among texts become texts. Missing numbers among floats are NaN, else None.

    >>> homogeneous([1, None, 3], "a"), homogeneous([True, "no"], "b"), homogeneous([1, "n/a", 2.5], "c")
    ([1.0, nan, 3.0], ['true', 'no'], [1.0, nan, 2.5])
    """
    numbers = sum(1 for cell in cells if isinstance(cell, (int, float)) and not isinstance(cell, bool))
    truths = sum(1 for cell in cells if isinstance(cell, bool))
    texts = sum(1 for cell in cells if isinstance(cell, str))
    if numbers and (texts or truths):
        report(f"mixed {attribute}", "%s: numbers and texts in one batch; the fewer are dropped", attribute)
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
    """A cell's class text, None where it has none."""
    try:
        return class_text(value)
    except UnsupportedValueError:
        return None
