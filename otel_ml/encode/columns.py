"""Turns the cells of many rows into columns for the wire, each cell as :func:`.scalar.scalar` converts it alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from otel_ml.encode.batch import BatchColumn
from otel_ml.encode.row import converted, number_of, text_of
from otel_ml.encode.rows import flatten, is_column, length
from otel_ml.encode.rules import RedactionRule, apply
from otel_ml.encode.scalar import MAX_ID_CHARS, Scalar, class_text
from otel_ml.encode.source import source
from otel_ml.encode.wire import CODES_OF_DTYPES, Column, Numbers, Texts, Truths, numbers, text_column
from otel_ml.problems import report, report_misfit

_LONG: Final = 2**31
"""Texts are cut after their redaction, which is of the whole text."""
_NOTHING: Final = type(None)
_AMOUNTS: Final = frozenset({int, float, _NOTHING})
_WORDS: Final = frozenset({str, bool, _NOTHING})


def columns_of(item: BatchColumn, rows: int, max_chars: int) -> list[Column]:
    """Return the columns of one attribute: none if every cell is missing, two if it has numbers and texts.

    Of two the one with more cells comes last: an older reader takes the last of a name, a newer one both. What cannot
    be read is reported and left out.
    """
    try:
        return _columns(item, rows, max_chars)
    except Exception as error:  # noqa: BLE001 - one column that cannot be read must not cost the others
        report(f"column {item.attribute}", "%s: the column cannot be read; dropped", item.attribute, error=error)
        return []


def _columns(item: BatchColumn, rows: int, max_chars: int) -> list[Column]:
    values = flatten(item.cells)
    if is_column(values):
        if length(values) != rows:
            report_misfit(item.attribute, length(values), rows)
            return []
        cells = source(values)
    else:
        cells = [values] * rows
    if item.rule is not None:
        cells = _redacted(_list(cells), item.rule, item.attribute)
    if item.kind == "feature":
        return _features(cells, item.attribute, max_chars)
    if item.kind == "number":
        return _numbers(cells, item.attribute)
    texts = _texts(_list(cells), item.attribute, MAX_ID_CHARS if item.kind == "id" else _LONG)
    if texts.count(None) == len(texts):
        return []
    return [Texts(texts) if item.kind == "id" else text_column(texts, max_chars)]


def _list(cells: Any) -> list[Any]:
    return cells if isinstance(cells, list) else cells.tolist()


def _array(array: Any) -> Numbers:
    """Return a numpy array of numbers, without a copy if its cells are side by side."""
    kind = _kinds.get(array.dtype)
    if kind is None:
        kind = _kinds[array.dtype] = CODES_OF_DTYPES[array.dtype.str[1:]]
    return Numbers(kind, memoryview(array).cast("B") if array.flags.c_contiguous else array.tobytes())


_kinds: Final[dict[Any, str]] = {}
"""The codes of numpy's types, by type: its own name of a type takes longer to make than a column."""


def _numbers(cells: Any, attribute: str) -> list[Column]:
    if not isinstance(cells, list):
        return [_array(cells.astype("u1") if cells.dtype.kind == "b" else cells)]
    floats = [number_of(cell, attribute) for cell in cells]
    return [_as_numbers(floats, {float, _NOTHING})] if floats.count(None) < len(floats) else []


def _features(cells: Any, attribute: str, max_chars: int) -> list[Column]:
    if not isinstance(cells, list):
        return [Truths(cells.tolist()) if cells.dtype.kind == "b" else _array(cells)]
    kinds = set(map(type, cells))
    if kinds <= _AMOUNTS and kinds != {_NOTHING}:
        try:
            return [_as_numbers(cells, kinds)]
        except OverflowError:  # an integer of more than 64 bits
            pass
    if not kinds <= _WORDS:
        cells = [converted(cell, _LONG, attribute) for cell in cells]
        kinds = set(map(type, cells))
    if not kinds & _WORDS - {_NOTHING}:
        return [] if kinds == {_NOTHING} else [_as_numbers(cells, kinds)]
    if kinds & _AMOUNTS - {_NOTHING}:
        return _mixed(cells, max_chars)
    if str in kinds:
        return [text_column(list(map(_word, cells)) if bool in kinds else cells, max_chars)]
    return [Truths(cells)]


def _mixed(cells: Sequence[Scalar | None], max_chars: int) -> list[Column]:
    words = [_word(cell) if isinstance(cell, (str, bool)) else None for cell in cells]
    amounts = [cell if word is None else None for cell, word in zip(cells, words, strict=True)]
    both: list[Column] = [text_column(words, max_chars), _as_numbers(amounts, {float, _NOTHING})]
    return both if 2 * words.count(None) >= len(cells) else both[::-1]


def _as_numbers(cells: Sequence[Any], kinds: set[type]) -> Numbers:
    if kinds == {int}:
        return numbers("q", cells)
    return numbers("d", [math.nan if cell is None else cell for cell in cells] if _NOTHING in kinds else cells)


def _word(cell: Scalar | None) -> str | None:
    return cell if isinstance(cell, str) else class_text(cell)


def _texts(cells: list[Any], attribute: str, limit: int) -> list[str | None]:
    """Return the text of each cell; of cells of one kind, which repeat, each is converted once."""
    kinds = set(map(type, cells)) - {_NOTHING}
    if kinds <= {str} and limit == _LONG:
        return cells
    if len(kinds) == 1 and kinds <= {int, bool, float}:
        known: dict[Any, str | None] = {cell: text_of(cell, limit, attribute) for cell in set(cells)}
        return list(map(known.__getitem__, cells))
    return [text_of(cell, limit, attribute) for cell in cells]


def _redacted(cells: list[Any], rule: RedactionRule, attribute: str) -> list[Scalar | None]:
    """Apply a rule to every cell, once to each of the texts that repeat."""
    known: dict[str, Scalar | None] = {}
    redacted: list[Scalar | None] = []
    for cell in cells:
        if type(cell) is not str:
            redacted.append(apply(rule, cell, attribute))
            continue
        if cell not in known:
            known[cell] = apply(rule, cell, attribute)
        redacted.append(known[cell])
    return redacted
