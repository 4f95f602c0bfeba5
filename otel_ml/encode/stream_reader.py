"""Reads the streams that :mod:`.stream` writes, and no others: for :mod:`otel_ml.testing`, without pyarrow.

Every position below is that of the writer's fixed layouts.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from otel_ml.encode.stream import BOOL, CODES, INTEGERS, TEXT

_SCHEMA, _DICTIONARY = 1, 2


def columns(octets: bytes) -> list[tuple[str, list[Any]]]:
    """Return the columns of a stream by name, None where a cell is null; a name may come twice."""
    fields: list[tuple[str, str]] = []
    dictionaries: dict[int, list[Any]] = {}
    found: list[tuple[str, list[Any]]] = []
    for head, body in _messages(octets):
        kind = head[34]
        if kind == _SCHEMA:
            fields = _fields(head)
        elif kind == _DICTIONARY:
            [dictionaries[_number("<q", head, 56)]] = _cells(head, body, [TEXT], 64)
        else:
            found = [
                (name, cells)
                for (name, _), cells in zip(fields, _cells(head, body, [k for _, k in fields], 40), strict=True)
            ]
    for position, (_, kind) in enumerate(fields):
        if kind == CODES:
            name, codes = found[position]
            texts = dictionaries[position]
            found[position] = name, [None if code is None else texts[code] for code in codes]
    return found


def _messages(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while size := _number("<I", octets, at + 4):
        head = octets[at + 8 : at + 8 + size]
        body = at + 8 + size
        at = body + _number("<q", head, 24)
        yield head, octets[body:at]


def _fields(head: bytes) -> list[tuple[str, str]]:
    count = _number("<I", head, 56)
    fields: list[tuple[str, str]] = []
    for table in range(92 + 4 * count, 92 + 28 * count, 24):
        place = table + 4 + _number("<I", head, table + 4)
        name = head[place + 4 : place + 4 + _number("<I", head, place)].decode()
        fields.append((name, CODES if _number("<I", head, table + 16) else _kind(head, table)))
    return fields


def _kind(head: bytes, table: int) -> str:
    described = table + 8 + _number("<I", head, table + 8)
    match head[table + 21]:
        case 2:
            width = (_number("<i", head, described + 4), head[described + 8])
            return next(kind for kind, known in INTEGERS.items() if known == width)
        case 3:
            return "f" if _number("<h", head, described + 4) == 1 else "d"
        case 6:
            return BOOL
        case _:
            return TEXT


def _cells(head: bytes, body: bytes, kinds: list[str], base: int) -> Iterator[list[Any]]:
    """Yield the cells of each column of the record batch that is described from ``base``."""
    rows, nodes = _number("<q", head, base + 24), base + 40
    at = nodes + 16 * len(kinds) + 8
    for position, kind in enumerate(kinds):
        count = 3 if kind == TEXT else 2
        buffers: list[bytes] = []
        for _ in range(count):
            begin, size = struct.unpack_from("<qq", head, at)
            buffers.append(body[begin : begin + size])
            at += 16
        cells = _column(kind, buffers[1:], rows)
        nulls = _number("<q", head, nodes + 16 * position + 8)
        yield [cell if _bit(buffers[0], row) else None for row, cell in enumerate(cells)] if nulls else cells


def _column(kind: str, buffers: list[bytes], rows: int) -> list[Any]:
    if kind == BOOL:
        return [_bit(buffers[0], row) for row in range(rows)]
    numbers = array("i" if kind in (TEXT, CODES) else kind, buffers[0])
    if sys.byteorder == "big":
        numbers.byteswap()
    if kind == TEXT:
        return [buffers[1][begin:end].decode() for begin, end in pairwise(numbers)]
    return numbers.tolist()


def _bit(octets: bytes, position: int) -> bool:
    return bool(octets[position // 8] >> position % 8 & 1)


def _number(layout: str, octets: bytes, at: int) -> int:
    return struct.unpack_from(layout, octets, at)[0]
