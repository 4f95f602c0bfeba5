"""Columns as they leave the process, and the slices of them that one span takes."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, TypeAlias

from otel_ml.encode.scalar import clean_text
from otel_ml.encode.stream import BOOL, CODES, TEXT, Octets, Part

_SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of one type, named by its code in :mod:`array`; a missing one is NaN."""

    kind: str
    cells: Octets
    """Little-endian."""

    @property
    def nbytes(self) -> int:
        """Bytes of all cells."""
        return len(self.cells)

    def part(self, start: int, stop: int) -> Octets:
        """Return the cells of some rows."""
        size = _SIZES[self.kind]
        return self.cells[start * size : stop * size]

    def values(self, start: int, stop: int) -> Sequence[float]:
        """Return the cells of some rows as they are read."""
        found = array(self.kind, bytes(self.part(start, stop)))
        if sys.byteorder == "big":
            found.byteswap()
        return found.tolist()


@dataclass(frozen=True, slots=True)
class Truths:
    """Truth values, and None for a missing one."""

    cells: Sequence[bool | None]
    kind: str = BOOL

    @property
    def nbytes(self) -> int:
        """Bytes of all cells."""
        return len(self.cells) // 4

    def part(self, start: int, stop: int) -> Part:
        """Return the cells of some rows."""
        cells = self.cells[start:stop]
        nulls, present = _present(cells)
        return nulls, (present, _bits(cell is True for cell in cells))

    def values(self, start: int, stop: int) -> Sequence[bool | None]:
        """Return the cells of some rows as they are read."""
        return self.cells[start:stop]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that UTF-8 can hold, and None for a missing one."""

    cells: Sequence[str | None]
    kind: str = TEXT
    octets: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "octets", _utf8_bytes("".join(filter(None, self.cells))))

    @property
    def nbytes(self) -> int:
        """Bytes of all cells."""
        return self.octets + 4 * len(self.cells)

    def part(self, start: int, stop: int) -> Part:
        """Return the cells of some rows."""
        cells = self.cells[start:stop]
        nulls, present = _present(cells)
        return nulls, (present, *_texts([cell or "" for cell in cells] if nulls else cells))

    def values(self, start: int, stop: int) -> Sequence[str | None]:
        """Return the cells of some rows as they are read."""
        return self.cells[start:stop]


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts that repeat, as positions in ``texts``; −1 for a missing one. Each span has all the texts."""

    cells: array[int]
    texts: Sequence[str]
    kind: str = CODES

    @property
    def nbytes(self) -> int:
        """Bytes of all cells, without the texts."""
        return 4 * len(self.cells)

    def part(self, start: int, stop: int) -> Part:
        """Return the cells of some rows."""
        cells = self.cells[start:stop]
        nulls = cells.count(-1)
        return nulls, (_bits(cell >= 0 for cell in cells) if nulls else b"", _octets(cells))

    def values(self, start: int, stop: int) -> Sequence[str | None]:
        """Return the cells of some rows as they are read."""
        return [None if cell < 0 else self.texts[cell] for cell in self.cells[start:stop]]

    def dictionary(self) -> Part:
        """Return the texts."""
        return 0, (b"", *_texts(self.texts))

    def plain(self) -> Texts:
        """Return the same texts without a dictionary."""
        texts = [*self.texts, None]
        return Texts([texts[cell] for cell in self.cells])


Column: TypeAlias = Numbers | Truths | Texts | Coded


def text_column(cells: Sequence[str | None], limit: int) -> Texts | Coded:
    """Return texts of at most ``limit`` characters that UTF-8 can hold; as codes if most of them repeat.

    >>> text_column(["a", "bcd", "a", None, "a", "a"], 2).texts, text_column(["a", "b"], 2).cells
    (['a', 'bc'], ['a', 'b'])
    """
    codes: dict[Any, int] = dict.fromkeys(cells, -1)
    if 2 * len(codes) > len(cells):
        texts = list(codes)
        if _fits(filter(None, texts), limit):
            return Texts(cells)
        return Texts([None if text is None else clean_text(text, limit) for text in cells])
    positions: dict[str, int] = {}
    for text in codes:
        if text is not None:
            codes[text] = positions.setdefault(clean_text(text, limit), len(positions))
    return Coded(array("i", map(codes.__getitem__, cells)), list(positions))


def _fits(texts: Iterable[str], limit: int) -> bool:
    present = list(texts)
    return "".join(present).isascii() and max(map(len, present), default=0) <= limit


def _present(cells: Sequence[object]) -> tuple[int, bytes]:
    """Return the number of nulls among cells, and the bits of the others; no bits without nulls."""
    if None not in cells:
        return 0, b""
    return sum(cell is None for cell in cells), _bits(cell is not None for cell in cells)


def _bits(flags: Iterable[bool]) -> bytes:
    """Return flags as bits, the first in the lowest.

    >>> _bits([True, False, False, True, False, False, False, False, True]).hex()
    '0901'
    """
    digits = "".join(map("01".__getitem__, flags))[::-1]
    return int(digits, 2).to_bytes(-(-len(digits) // 8), "little") if digits else b""


def _texts(cells: Sequence[Any]) -> tuple[Octets, Octets]:
    """Return the offsets and the octets of texts."""
    joined = "".join(cells)
    if joined.isascii():
        lengths, octets = map(len, cells), joined.encode("ascii")
    else:
        encoded = [cell.encode("utf-8") for cell in cells]
        lengths, octets = map(len, encoded), b"".join(encoded)
    return _octets(array("i", accumulate(lengths, initial=0))), octets


def numbers(kind: str, cells: Iterable[float]) -> Numbers:
    """Return numbers of a type; ``OverflowError`` if one does not fit."""
    return Numbers(kind, _octets(array(kind, cells)))


def _octets(cells: array[Any]) -> bytes:
    if sys.byteorder == "big":
        cells.byteswap()
    return cells.tobytes()


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


CODES_OF_DTYPES: Final[Mapping[str, str]] = {
    "f4": "f",
    "f8": "d",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
}
"""Type codes of :mod:`array` by kind and size of a numpy type."""
