"""Just enough of flatbuffers to read Arrow's headers; positions come from the sender, and every read is checked.

All functions raise :class:`struct.error` for a position outside the octets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator


def root(head: memoryview) -> int:
    """Return the position of the outermost table."""
    return number("<I", head, 0)


def table(head: memoryview, at: int, field: int) -> int | None:
    """Return the position of the table or vector that a field of the table ``at`` refers to; None if it is absent."""
    place = place_of_field(head, at, field)
    return None if place is None else place + number("<I", head, place)


def place_of_field(head: memoryview, at: int, field: int) -> int | None:
    """Return the position of a field of the table ``at``; None if the field is absent."""
    vtable = at - number("<i", head, at)
    entry = 4 + 2 * field
    if entry + 2 > number("<H", head, vtable):
        return None
    offset = number("<H", head, vtable + entry)
    return at + offset if offset else None


def scalar(layout: str, head: memoryview, at: int, field: int, default: int = 0) -> int:
    """Return the number in a field of the table ``at``."""
    place = place_of_field(head, at, field)
    return default if place is None else number(layout, head, place)


def list_of(head: memoryview, at: int, field: int) -> Iterator[int]:
    """Yield the positions of the tables in a vector of tables."""
    start = table(head, at, field)
    if start is None:
        return
    for entry in range(start + 4, start + 4 + 4 * number("<I", head, start), 4):
        yield entry + number("<I", head, entry)


def structs(layout: struct.Struct, head: memoryview, at: int, field: int) -> list[tuple[int, ...]]:
    """Return the structs in a vector of structs; an empty list if the field is absent."""
    start = table(head, at, field)
    if start is None:
        return []
    count = number("<I", head, start)
    if start + 4 + count * layout.size > len(head):
        raise struct.error("a vector extends beyond its message")
    return list(layout.iter_unpack(head[start + 4 : start + 4 + count * layout.size]))


def number(layout: str, head: memoryview, at: int) -> int:
    """Return the number at a position."""
    if at < 0:  # struct would count from the end
        raise struct.error("a position before its message")
    return struct.unpack_from(layout, head, at)[0]
