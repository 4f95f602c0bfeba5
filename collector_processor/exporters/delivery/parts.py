"""OTLP requests in parts: divided without decoding their items.

A request is a list of resources, a resource a list of scopes, a scope a list of items. What surrounds an item
(resource, scope, name and kind of a metric, fields that we do not know) goes into both parts, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from collector_processor.journal.base import Signal

Path = tuple[frozenset[int], ...]
_TRACES_OR_LOGS: Final[Path] = (frozenset({1}), frozenset({2}), frozenset({2}))
_PATHS: Final[dict[Signal, Path]] = {
    "traces": _TRACES_OR_LOGS,
    "logs": _TRACES_OR_LOGS,
    # A metric has its points in one of five kinds of data.
    "metrics": (*_TRACES_OR_LOGS, frozenset({5, 7, 9, 10, 11}), frozenset({1})),
}
"""The fields of each level that lead to the items: those of the protobuf files of OTLP, which never change."""
_MAX_FIELDS: Final = 100_000
"""A request with more fields is left whole: a field of two bytes takes hundreds of them, and its time, to divide."""
_BYTES: Final = 2
"""The wire type of what has a length."""
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: where it starts, where its content starts, and where it ends."""

    number: int
    wire_type: int
    start: int
    content: int
    end: int


def halves(signal: Signal, body: bytes) -> tuple[bytes, bytes] | None:
    """Return two requests with all items of one, about half of its bytes each; None if it cannot be divided.

    >>> halves("traces", b""), halves("traces", b"no protobuf")
    (None, None)
    """
    try:
        return _divided(body, _PATHS[signal], iter(range(_MAX_FIELDS)))
    except ValueError:
        return None


def items_of(signal: Signal, body: bytes) -> int | None:
    """Return the number of spans, log records or metric points in a request; None if it cannot be divided."""
    try:
        return _counted(body, _PATHS[signal], iter(range(_MAX_FIELDS)))
    except ValueError:
        return None


def _divided(message: bytes, path: Path, budget: Iterator[int]) -> tuple[bytes, bytes] | None:
    fields = list(_fields(message, budget))
    inside = [field.number in path[0] and field.wire_type == _BYTES for field in fields]
    children = [field for field, child in zip(fields, inside, strict=True) if child]
    around = b"".join(
        message[field.start : field.end] for field, child in zip(fields, inside, strict=True) if not child
    )
    if len(children) == 1:
        child = children[0]
        inner = _divided(message[child.content : child.end], path[1:], budget) if len(path) > 1 else None
        if inner is None:
            return None
        first, second = (_framed(child.number, content) for content in inner)
        return around + first, around + second
    if not children:
        return None
    sizes = [field.end - field.start for field in children]
    half, taken, position = sum(sizes) / 2, sizes[0], 1
    while position < len(sizes) - 1 and taken + sizes[position] <= half:
        taken, position = taken + sizes[position], position + 1
    parts = [b"".join(message[f.start : f.end] for f in each) for each in (children[:position], children[position:])]
    return around + parts[0], around + parts[1]


def _counted(message: bytes, path: Path, budget: Iterator[int]) -> int:
    children = [field for field in _fields(message, budget) if field.number in path[0] and field.wire_type == _BYTES]
    if len(path) == 1:
        return len(children)
    return sum(_counted(message[field.content : field.end], path[1:], budget) for field in children)


def _fields(message: bytes, budget: Iterator[int]) -> Iterator[_Field]:
    """Return the fields of a message, each for one number of ``budget``, which all levels of a request share."""
    position = 0
    while position < len(message):
        if next(budget, None) is None:
            raise ValueError("a request with too many fields")
        start = position
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        content = position
        if wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type == 1:
            position += 8
        elif wire_type == _BYTES:
            length, content = _varint(message, position)
            position = content + length
        elif wire_type == 5:
            position += 4
        else:
            raise ValueError("not a message: a group, or an unknown wire type")
        if position > len(message):
            raise ValueError("not a message: it ends too early")
        yield _Field(number, wire_type, start, content, position)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("not a message: it ends within a number")
        octet = message[position]
        value |= (octet & ~_MORE) << shift
        position, shift = position + 1, shift + 7
        if not octet & _MORE:
            return value, position


def _framed(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    octets = bytearray()
    while value >= _MORE:
        octets.append(value & ~_MORE & 0xFF | _MORE)
        value >>= 7
    octets.append(value)
    return bytes(octets)
