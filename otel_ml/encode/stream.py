"""Writes Arrow IPC streams with the standard library, so that a batch needs neither pyarrow nor its import.

A stream is a schema, the dictionaries, and one record batch of columns without children: numbers, truth values, texts,
or codes of texts. Each message is a flatbuffer of a fixed layout, written front to back: offsets point ahead, so what a
table refers to follows it. Layouts: Arrow's ``Schema.fbs`` and ``Message.fbs``; everything is little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

Octets: TypeAlias = bytes | memoryview

BOOL: Final = "?"
TEXT: Final = "s"
CODES: Final = "c"
"""Types of columns besides those of numbers, which are the codes of :mod:`array`: int32 codes into a dictionary."""
END: Final = struct.pack("<II", 0xFFFFFFFF, 0)
"""Ends a stream."""

INTEGERS: Final = {
    "b": (8, 1),
    "h": (16, 1),
    "i": (32, 1),
    "q": (64, 1),
    "B": (8, 0),
    "H": (16, 0),
    "I": (32, 0),
    "Q": (64, 0),
}
_FLOATS: Final = {"f": 1, "d": 2}
_INT_TYPE, _FLOAT_TYPE, _TEXT_TYPE, _BOOL_TYPE = 2, 3, 5, 6
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_VERSION: Final = 4
"""The metadata version 5 of Arrow, counted from zero."""
_HEADER: Final = 40
"""Where a message's header begins: behind the offset of the root, and the message's own table and its layout."""
_FIELD: Final = 24
"""Bytes of a field's table."""
_SCHEMAS: Final = 16
"""Schemas kept: the calls of one model have the same."""


Part: TypeAlias = Octets | tuple[int, Sequence[Octets]]
"""Some rows of a column: cells without nulls; or the number of nulls, and all buffers, the first empty without any."""


@lru_cache(maxsize=_SCHEMAS)
def schema(fields: tuple[tuple[str, str], ...]) -> bytes:
    """Return the message that describes columns by name and type; the dictionary of column i has the id i."""
    count = len(fields)
    layouts = _HEADER + 20 + 4 * count
    tables = layouts + 32
    names = tables + _FIELD * count
    texts, places = bytearray(), list[int]()
    for name, _ in fields:
        octets = name.encode("utf-8", "replace")
        places.append(names + len(texts))
        texts += struct.pack("<I", len(octets)) + octets + b"\0" * (4 - len(octets) % 4)
    coded = [position for position, (_, kind) in enumerate(fields) if kind == CODES]
    texts += b"\0" * (-(names + len(texts)) % 8)
    encodings = names + len(texts) + 8  # behind the layout of an encoding
    types, type_at = _types([kind for _, kind in fields], encodings + 16 * len(coded))
    nothing = encodings + 16 * len(coded) + len(types)
    encoding_at = {position: encodings + 16 * order for order, position in enumerate(coded)}
    out = bytearray(_message(_SCHEMA, 0) + struct.pack("<4HiiI", 8, 8, 0, 4, 8, 4, count))
    out += struct.pack(f"<{count}I", *(tables + _FIELD * i - (_HEADER + 20 + 4 * i) for i in range(count)))
    out += struct.pack("<16H", *(16, _FIELD, 4, 20, 21, 8, 16, 12), *(16, _FIELD, 4, 20, 21, 8, 0, 12))
    for position, (place, (_, kind)) in enumerate(zip(places, fields, strict=True)):
        table, encoding = tables + _FIELD * position, encoding_at.get(position)
        layout = layouts + 16 if encoding is None else layouts
        ahead = (place - table - 4, type_at[kind] - table - 8, nothing - table - 12)
        out += struct.pack("<i4I", table - layout, *ahead, 0 if encoding is None else encoding - table - 16)
        out += struct.pack("<BBxx", 1, _type_id(kind))
    out += texts + struct.pack("<4H", 8, 16, 8, 4)
    for position, encoding in encoding_at.items():
        out += struct.pack("<iIq", encoding - encodings + 8, type_at["i"] - encoding - 4, position)
    return _framed(bytes(out + types + struct.pack("<I", 0)), [])


def _types(kinds: Iterable[str], begin: int) -> tuple[bytes, dict[str, int]]:
    """Return the tables of the types of columns, from ``begin`` of the message, and the position of each type."""
    octets, type_at = bytearray(), dict[str, int]()
    for kind in kinds:
        for stored in (TEXT, "i") if kind == CODES else (kind,):
            if stored not in type_at:
                layout, table = _type(stored)
                type_at[stored] = begin + len(octets) + len(layout)
                octets += layout + table
    if TEXT in type_at:
        type_at[CODES] = type_at[TEXT]
    return bytes(octets), type_at


def dictionary(position: int, texts: Part, count: int) -> bytes:
    """Return the message with the texts of the coded column at a position."""
    head = struct.pack("<4HiIq", 8, 16, 8, 4, 8, 28, position)
    body, records = _records(count, [texts])
    return _framed(_message(_DICTIONARY, sum(map(len, body))) + head + records, body)


def records(rows: int, parts: Iterable[Part]) -> list[Octets]:
    """Return the message with the rows of all columns, in pieces: it may be large, and is copied once, at the end."""
    body, head = _records(rows, parts)
    return [_framed(_message(_RECORDS, sum(map(len, body))) + head, []), *body]


def _message(kind: int, body_bytes: int) -> bytes:
    """Return the offset of the root, and the message's table with its layout; the header's table is 16 bytes ahead."""
    ahead = {_SCHEMA: 8, _DICTIONARY: 8, _RECORDS: 16}[kind]
    return struct.pack("<I6HiIqhBxi", 16, 12, 20, 16, 18, 4, 8, 12, _HEADER + ahead - 20, body_bytes, _VERSION, kind, 0)


def _records(rows: int, parts: Iterable[Part]) -> tuple[list[Octets], bytes]:
    """Return the padded buffers of columns, and the table ``RecordBatch`` with its layout, which has their places."""
    nodes, places, body, offset = list[int](), list[int](), list[Octets](), 0
    for part in parts:
        nulls, buffers = part if isinstance(part, tuple) else (0, (b"", part))
        nodes += (rows, nulls)
        for octets in buffers:
            size = len(octets)
            places += (offset, size)
            if size:
                body.append(octets)
                if size % 8:
                    body.append(b"\0" * (-size % 8))
                    size += -size % 8
                offset += size
    buffers_at = 40 + 8 * len(nodes) + 4
    head = struct.pack("<5H6xiIqI", 10, 20, 8, 4, 16, 16, 16, rows, buffers_at - 32)
    head += struct.pack(f"<I{len(nodes)}q", len(nodes) // 2, *nodes)
    head += struct.pack(f"<4xI{len(places)}q", len(places) // 2, *places)
    return body, head


def _framed(head: bytes, body: list[Octets]) -> bytes:
    padding = -len(head) % 8
    return b"".join((struct.pack("<II", 0xFFFFFFFF, len(head) + padding), head, b"\0" * padding, *body))


def _type_id(kind: str) -> int:
    if kind in INTEGERS:
        return _INT_TYPE
    if kind in _FLOATS:
        return _FLOAT_TYPE
    return _BOOL_TYPE if kind == BOOL else _TEXT_TYPE


def _type(kind: str) -> tuple[bytes, bytes]:
    """Return the layout of a type's table, and the table."""
    if kind in INTEGERS:
        return struct.pack("<4H", 8, 12, 4, 8), struct.pack("<iiBxxx", 8, *INTEGERS[kind])
    if kind in _FLOATS:
        return struct.pack("<3Hxx", 6, 8, 4), struct.pack("<ihxx", 8, _FLOATS[kind])
    return struct.pack("<2H", 4, 4), struct.pack("<i", 4)
