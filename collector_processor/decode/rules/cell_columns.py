"""From Python cells to columns: the last step for every form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, Column
from collector_processor.decode.compiled import built
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cells import CellKind, Scalar, shorten, text_of

_NUMBERS: Final = frozenset((float, int, type(None)))
_TEXTS: Final = frozenset((str, type(None)))


def column_of(cells: Sequence[Scalar | None], kind: CellKind, tally: Tally) -> Column | None:
    """Return the column of a list of cells, by the rules of :mod:`.cells`; None if every cell is missing.

    A part of the column (numbers, codes) exists only if it has a cell. Categories are in order of first appearance,
    and each is used.

    >>> from collector_processor.decode.limits import DecodeLimits
    >>> column = column_of([1, "n/a", None, True], "mixed", Tally(DecodeLimits()))
    >>> column.numbers.tolist(), column.codes.tolist(), column.categories
    ([1.0, nan, nan, nan], [-1, 0, -1, 1], ('n/a', 'true'))
    """
    types = set(map(type, cells))
    if types <= _NUMBERS and kind != "text":
        return joined(np.array(cells, np.float64), None)
    if types <= _TEXTS and kind != "number":
        return joined(None, _encode(cells, tally))
    if kind == "text":
        return joined(None, _encode([text_of(cell) for cell in cells], tally))
    numbers = np.array([cell if type(cell) in _NUMBERS else None for cell in cells], np.float64)
    if kind == "number":
        tally.drop("unsupported_value", sum(type(cell) not in _NUMBERS for cell in cells))
        return joined(numbers, None)
    texts = [None if type(cell) in _NUMBERS else text_of(cell) for cell in cells]
    return joined(numbers, _encode(texts, tally))


def joined(numbers: F64 | None, texts: tuple[I32, Sequence[str]] | None) -> Column | None:
    """Return a column of the parts that have any cell; None if neither does."""
    # Nearly always the first cell shows that not all are missing.
    if numbers is not None and not (len(numbers) and numbers[0] == numbers[0]) and bool(np.isnan(numbers).all()):
        numbers = None
    if texts is None or not len(texts[1]):
        return None if numbers is None else Column(numbers)
    return Column(numbers, texts[0], tuple(texts[1]))


def compacted(codes: NDArray[np.signedinteger], texts: Sequence[str | None], tally: Tally) -> tuple[I32, Sequence[str]]:
    """Turn codes of a dictionary that may have nulls, duplicates and unused texts (Arrow's may) into those of a column.

    ``codes`` is ``[n]``, negative where missing, below ``len(texts)`` everywhere.

    >>> from collector_processor.decode.limits import DecodeLimits
    >>> compacted(np.array([3, 0, -1, 3, 2]), ["a", "unused", "a", "b"], Tally(DecodeLimits()))
    (array([ 0,  1, -1,  0,  1], dtype=int32), ['b', 'a'])
    """
    numbered, used = _renumbered(codes, len(texts))
    index: dict[str, int] = {}
    position = [-1 if (text := texts[code]) is None else index.setdefault(text, len(index)) for code in used.tolist()]
    if len(index) < len(position):  # nulls or duplicates
        numbered = np.array([*position, -1], np.int32)[numbered]
    return _bounded(numbered, list(index), tally)


def shortened(column: Column, longest: int) -> Column:
    """Return the column with its texts cut to ``longest`` UTF-8 bytes, as those of a request are; some become equal.

    >>> short = shortened(Column(None, np.array([0, 1, -1], np.int32), ("abcd", "abce")), 3)
    >>> short.codes.tolist(), short.categories
    ([0, 0, -1], ('abc',))
    """
    if column.codes is None or all(len(text) * 4 <= longest for text in column.categories):
        return column
    index: dict[str, int] = {}
    position = [index.setdefault(shorten(text, longest), len(index)) for text in column.categories]
    return Column(column.numbers, np.array([*position, -1], np.int32)[column.codes], tuple(index))


def _renumbered(codes: NDArray[np.signedinteger], size: int) -> tuple[I32, I32]:
    """Return codes numbered by first appearance, −1 for negative ones, and the old code of each new one."""
    if built.packing is not None:
        return built.packing.renumbered(np.ascontiguousarray(codes, np.int32), size)
    present = codes >= 0
    # Written from the last row to the first, so that the first row of each code remains.
    first_row = np.full(size + 1, -1, np.int64)
    first_row[np.where(present, codes, size)[::-1]] = np.arange(len(codes))[::-1]
    used = np.flatnonzero(first_row[:size] >= 0)
    used = used[np.argsort(first_row[used], kind="stable")]
    position = np.full(size + 1, -1, np.int32)
    position[used] = np.arange(len(used))
    return position[np.where(present, codes, size)], used.astype(np.int32)


def _encode(texts: Iterable[Scalar | None], tally: Tally) -> tuple[I32, Sequence[str]]:
    """Return codes and categories of texts, −1 for a missing text."""
    cells = list(texts)
    index: dict[Scalar | None, int] = {}
    for text in dict.fromkeys(cells):
        if text is not None:
            index[text] = len(index)
    categories = [text for text in index if isinstance(text, str)]
    index[None] = -1
    return _bounded(np.fromiter(map(index.__getitem__, cells), np.int32, len(cells)), categories, tally)


def _bounded(codes: I32, categories: Sequence[str], tally: Tally) -> tuple[I32, Sequence[str]]:
    """Shorten long texts, which may make some equal, and make texts over the limit of categories missing."""
    limits = tally.limits
    if len(categories) <= limits.categories and all(len(text) * 4 <= limits.text_length for text in categories):
        return codes, categories
    short = [shorten(text, limits.text_length) for text in categories]
    cut = np.array([before != after for before, after in zip(categories, short, strict=True)], np.bool_)
    index: dict[str, int] = {}
    position = np.array([index.setdefault(text, len(index)) for text in short], np.int32)
    position = np.append(np.where(position < limits.categories, position, -1), np.int32(-1)).astype(np.int32)
    tally.drop("text_truncated", int(np.append(cut, False)[codes].sum()))
    bounded = position[codes]
    tally.drop("categories_over_limit", int(((bounded < 0) & (codes >= 0)).sum()))
    return bounded, list(index)[: limits.categories]
