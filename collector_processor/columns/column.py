"""The columns that a request becomes: the same for every later step, whatever encoding was on the wire.

A *cell* is a number, a text, or missing. A :class:`Column` keeps the two kinds apart instead of coercing them, so that
a feature that changes its type is noticed (``ml.quality.wrong_type``) and never mistaken for a value. Booleans are the
texts ``"true"`` and ``"false"``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_CATEGORY_BYTES: Final = 64
"""Bytes of a category besides its characters: the Python object and its place in the tuple."""


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """Identifies one model version; an absent version is the empty string.

    >>> str(ModelKey("fraud", "7")), str(ModelKey("fraud"))
    ('fraud@7', 'fraud')
    """

    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``n`` cells: numbers, texts, or both if the senders disagree; at least one part is present.

    ``numbers`` is float64 ``[n]``, NaN where the cell is not a number. ``codes`` is int32 ``[n]``, an index into
    ``categories``, −1 where the cell is not a text. A cell that is neither is missing.

    >>> mixed = Column(np.array([1.5, np.nan, np.nan]), np.array([-1, 0, -1], np.int32), ("n/a",))
    >>> mixed.missing().tolist()
    [False, False, True]
    """

    numbers: F64 | None = None
    codes: I32 | None = None
    categories: tuple[str, ...] = ()

    def __len__(self) -> int:
        part = self.numbers if self.numbers is not None else self.codes
        return 0 if part is None else len(part)

    def is_number(self) -> Mask:
        """Return which cells are numbers (infinities included), bool ``[n]``."""
        if self.numbers is None:
            return np.zeros(len(self), np.bool_)
        return ~np.isnan(self.numbers)

    def is_text(self) -> Mask:
        """Return which cells are texts, bool ``[n]``."""
        if self.codes is None:
            return np.zeros(len(self), np.bool_)
        return self.codes >= 0

    def missing(self) -> Mask:
        """Return which cells are neither number nor text, bool ``[n]``."""
        return ~(self.is_number() | self.is_text())

    @property
    def nbytes(self) -> int:
        """Approximate size in bytes."""
        arrays = sum(values.nbytes for values in (self.numbers, self.codes) if values is not None)
        return arrays + _CATEGORY_BYTES * len(self.categories) + sum(map(len, self.categories))

    def mapped(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> Column:
        """Return the column with ``of`` applied to each of its arrays."""
        return Column(
            None if self.numbers is None else of(self.numbers),
            None if self.codes is None else of(self.codes),
            self.categories,
        )

    def take(self, rows: I64 | Mask | slice) -> Column:
        """Return the column of selected rows."""
        return self.mapped(lambda values: values[rows])


def concatenated(columns: Sequence[Column | None], lengths: Sequence[int]) -> Column | None:
    """Concatenate columns; None stands for as many missing cells as its entry in ``lengths``.

    >>> column = concatenated([Column(np.array([1.0])), None, Column(codes=np.array([0], np.int32), categories=("a",))],
    ...                       [1, 1, 1])
    >>> column.numbers.tolist(), column.codes.tolist()
    ([1.0, nan, nan], [-1, -1, 0])
    """
    numbers = concatenated_numbers([None if column is None else column.numbers for column in columns], lengths)
    if all(column is None or column.codes is None for column in columns):
        return None if numbers is None else Column(numbers)
    index: dict[str, int] = {}
    parts: list[I32] = []
    for column, length in zip(columns, lengths, strict=True):
        if column is None or column.codes is None:
            parts.append(np.full(length, -1, np.int32))
            continue
        # One more entry after the last category, which code −1 selects.
        renumbered = [index.setdefault(text, len(index)) for text in column.categories]
        parts.append(np.array([*renumbered, -1], np.int32)[column.codes])
    return Column(numbers, np.concatenate(parts), tuple(index))


def concatenated_numbers(parts: Sequence[F64 | None], lengths: Sequence[int]) -> F64 | None:
    """Concatenate numbers; None stands for as many NaN as its entry in ``lengths``. Return None if all are None."""
    if all(part is None for part in parts):
        return None
    return np.concatenate([
        np.full(length, np.nan) if part is None else part for part, length in zip(parts, lengths, strict=True)
    ])  # fmt: skip
