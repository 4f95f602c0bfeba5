"""One format for all columns that leave the process: a head in JSON, and the arrays in it as raw bytes.

:func:`pack` takes JSON with numpy arrays in it. Each array's bytes follow the head, uncopied, and
``{"$array": [type, begin, length, …]}`` takes its place: a numpy type, where its bytes begin, and its shape. So a JSON
object with only this key and such a list is always an array. :func:`unpack` returns the same JSON, with arrays that are
views of the bytes. Nothing is ever executed, and no size is trusted before it is compared with the bytes present.

Worker processes hand over their batches in this format, and a snapshot is this format in a file (:mod:`.snapshot`).
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Buffer: TypeAlias = "bytearray | memoryview"
Packed: TypeAlias = "tuple[bytes, list[memoryview]]"
"""The head, and the bytes behind it in pieces."""
_KEY: Final = "$array"
_ALIGNMENT: Final = 8
_TYPES: Final = {
    name: np.dtype(name) for name in ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")
}
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}


def pack(plain: object) -> Packed:
    """Return the packed form of JSON with arrays; they must not change until the pieces are written.

    Raises ``ValueError`` for anything else in it, and for arrays that are not of plain numbers.

    >>> head, pieces = pack({"name": "age", "counts": np.array([3, 1])})
    >>> head, len(b"".join(pieces))
    (b'{"name": "age", "counts": {"$array": ["<i8", 0, 2]}}', 16)
    >>> unpack(head, bytearray(b"".join(pieces)))
    {'name': 'age', 'counts': array([3, 1])}
    """
    pieces = _Pieces()
    try:
        head = json.dumps(plain, default=pieces.add)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"cannot be packed: {error}") from error
    return head.encode(), pieces.pieces


def unpack(head: bytes, block: Buffer, *, copy: bool = False) -> Any:
    """Return what :func:`pack` was given, tuples as lists; with ``copy`` each array has its own memory.

    Raises ``ValueError`` for a head that is not one of ours, or that does not fit ``block``.
    """
    arrays = _Arrays(block, copy)
    try:
        return json.loads(head, object_hook=arrays.replaced)
    except RecursionError:
        raise ValueError("its head is nested too deep") from None


class _Pieces:
    """The bytes of the arrays so far."""

    def __init__(self) -> None:
        self.pieces: list[memoryview] = []
        self._size = 0

    def add(self, value: object) -> dict[str, Any]:
        """Take an array and return what stands for it in the head."""
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{type(value).__name__} is neither JSON nor an array")
        values = cast("Array", value)
        name = _NAMES.get(values.dtype)
        if name is None:
            values = values.astype(values.dtype.newbyteorder("<"))
            name = _NAMES.get(values.dtype)
        if name is None:
            raise TypeError(f"an array has type {values.dtype}; allowed: {', '.join(_TYPES)}")
        begin, size = self._size, values.nbytes
        if size:
            self.pieces.append(memoryview(np.ascontiguousarray(values).data).cast("B"))
            padding = -size % _ALIGNMENT
            if padding:
                self.pieces.append(memoryview(bytes(padding)))
            self._size += size + padding
        return {_KEY: [name, begin, *values.shape]}


class _Arrays:
    """Puts the arrays back in their places."""

    def __init__(self, block: Buffer, copy: bool) -> None:
        self._block = block
        self._size = len(block)
        self._copy = copy

    def replaced(self, members: dict[str, Any]) -> Any:
        """Return the array that an object stands for, or the object itself."""
        if len(members) != 1 or _KEY not in members:
            return members
        place = members[_KEY]
        if type(place) is not list or not place or type(place[0]) is not str:
            return members
        try:
            name, begin, *shape = cast("list[Any]", place)
            # What else may be wrong with a place numpy finds itself, but not a begin that overflows.
            if not 0 <= begin <= self._size or begin % _ALIGNMENT:
                raise ValueError("it begins nowhere")
            values = np.ndarray(shape, _TYPES[name], self._block, begin)
        except (TypeError, KeyError, OverflowError, ValueError) as error:
            raise ValueError(f"an array does not fit: {error}") from None
        if -1 in shape:
            raise ValueError("an array does not fit: it has no length")
        return values.copy() if self._copy else values
