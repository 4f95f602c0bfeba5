"""Snapshots of version 0.1.0 (format 1): read, never written.

After the magic ``OTELML01`` and the length of the head comes the head, JSON with the caller's header and the name, type
and shape of every array, then the arrays' bytes, each from a multiple of 64 on, and the digest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_START: Final = 16
_ALIGNMENT: Final = 64
_TYPES: Final = ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")


@dataclass(frozen=True, slots=True)
class Flat:
    """A header, and arrays by dotted name."""

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def read(head: bytes, body: NDArray[np.uint8]) -> Flat:
    """Return the content of a file; ``body`` is all except its digest. ``ValueError`` if the head does not fit it."""
    try:
        described = json.loads(head)
        if described["format"] != 1:
            raise ValueError(f"it has format {described['format']}")
        return Flat(described["header"], _arrays(described["arrays"], body, _aligned(_START + len(head))))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its head is not one of ours: {error!r}") from error


def _arrays(table: Any, body: NDArray[np.uint8], begin: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind, shape in table:
        if kind not in _TYPES or not all(type(axis) is int and axis >= 0 for axis in shape):
            raise ValueError(f"array {name!r} has type {kind} and shape {shape}")
        end = begin + math.prod(shape) * np.dtype(kind).itemsize
        if end > len(body):
            raise ValueError(f"array {name!r} is incomplete")
        arrays[name] = body[begin:end].view(kind).reshape(shape).copy()
        begin = _aligned(end)
    return arrays


def _aligned(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
