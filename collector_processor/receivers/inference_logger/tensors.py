"""Tensors of the Open Inference Protocol: JSON, and binary as its extension has them.

``data`` is flat in row-major order, or nested. With ``parameters.binary_data_size`` its bytes follow the JSON, in the
order of the tensors, little-endian; a text (``BYTES``) has its length in four bytes before it. The first dimension
counts the rows. Source: "Binary Tensor Data Extension" of Triton's HTTP protocol.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import numpy as np

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.inference_logger.table import Cells, Kind, Lost, Part

_FLOATS: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_BF16: Final = "BF16"
_TEXT: Final = "BYTES"
_WHOLE: Final = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
_DIMENSIONS: Final = 32
"""As many as numpy had; a longer shape is not that of a tensor."""
_LENGTH: Final = struct.Struct("<I")


def parts(tensors: Sequence[dict[str, Any]], octets: bytes, lost: Lost) -> list[Part]:
    """Return a part for each tensor; ``octets`` are the binary ones, without the JSON before them.

    >>> tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}
    >>> parts([tensor], b"", Lost())[0].columns
    [[1.0, 3.0], [2.0, 4.0]]
    """
    found: list[Part] = []
    for tensor in tensors:
        size = _binary_size(tensor)
        if size is not None:
            if size > len(octets):
                raise MalformedRequestError(f"{_name(tensor)}: {size} bytes of tensor, but {len(octets)} are there")
            tensor_octets, octets = octets[:size], octets[size:]
            part = _part(tensor, _from_octets(tensor, tensor_octets), lost)
        else:
            part = _part(tensor, _from_json(tensor, lost), lost)
        if part is not None:
            found.append(part)
    return found


def width_of(shape: Sequence[Any], cells: int) -> int:
    """Return the cells of one row; raise :class:`.MalformedRequestError` if the shape has another number of cells.

    >>> width_of([2, 3], 6), width_of([4], 4), width_of([], 1)
    (3, 1, 1)
    """
    if len(shape) > _DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise MalformedRequestError("a shape is not a list of sizes")
    if math.prod(shape) != cells:
        raise MalformedRequestError(f"a tensor of shape {list(shape)[:8]} has {cells} values")
    return math.prod(shape[1:])


def _part(tensor: dict[str, Any], values: Sequence[Any], lost: Lost) -> Part | None:
    shape = tensor["shape"]
    if not isinstance(shape, list):
        raise MalformedRequestError(f"{_name(tensor)}: the shape is not a list")
    sizes = cast("list[Any]", shape)
    width = width_of(sizes, len(values))
    rows = sizes[0] if sizes else 1
    if sum(size != 1 for size in sizes[1:]) > 1:
        lost.add("shape", rows, f"{_name(tensor)}: a tensor of {len(sizes)} dimensions has no columns")
        return None
    if not width:
        return None
    kind: Kind = "float" if tensor.get("datatype") in (*_FLOATS, _BF16) else "class"
    columns: list[Cells] = [values[column::width] for column in range(width)]
    return Part(_name(tensor), rows, columns, kind, single=len(sizes) < 2)


def _name(tensor: dict[str, Any]) -> str:
    name: object = tensor.get("name")
    return name[:256] if isinstance(name, str) else ""


def _parameters(tensor: dict[str, Any]) -> dict[str, Any]:
    parameters: object = tensor.get("parameters")
    return cast("dict[str, Any]", parameters) if isinstance(parameters, dict) else {}


def _binary_size(tensor: dict[str, Any]) -> int | None:
    size: object = _parameters(tensor).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise MalformedRequestError(f"{_name(tensor)}: binary_data_size is not a number of bytes")
    return size


def _from_json(tensor: dict[str, Any], lost: Lost) -> Sequence[Any]:
    content: object = tensor.get("data")
    if not isinstance(content, list):
        raise MalformedRequestError(f"{_name(tensor)}: the tensor has no data")
    values = cast("list[Any]", content)
    if any(isinstance(value, list) for value in values):
        values = list(_flattened(values))
    datatype = tensor.get("datatype")
    if datatype in _FLOATS or datatype == _BF16:
        return _floats(values, _name(tensor), lost)
    nested = sum(isinstance(value, dict) for value in values)
    if nested:
        lost.add("shape", nested, f"{_name(tensor)}: objects in place of values")
        values = [None if isinstance(value, dict) else value for value in values]
    if datatype == _TEXT and _parameters(tensor).get("content_type") == "base64":
        return [_from_base64(value) for value in values]
    return values


def _flattened(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flattened(cast("list[Any]", value))
        else:
            yield value


def _floats(values: list[Any], name: str, lost: Lost) -> Sequence[Any]:
    """Return decimals: JSON of other languages has ``1`` for ``1.0``."""
    kinds = set(map(type, values))
    if kinds <= {float}:
        return values
    if kinds <= {float, int}:
        return [_float(value) for value in values]
    strange = sum(not isinstance(value, (int, float)) and value is not None for value in values)
    lost.add("shape", strange, f"{name}: values that are not numbers in a tensor of decimals")
    return [_float(value) if isinstance(value, (int, float)) else None for value in values]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _from_base64(value: object) -> object:
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else value
    except (binascii.Error, UnicodeDecodeError):
        return None


def _from_octets(tensor: dict[str, Any], octets: bytes) -> Sequence[Any]:
    datatype: object = tensor.get("datatype")
    if datatype == _TEXT:
        return list(_texts(octets, _name(tensor)))
    if datatype == _BF16:
        return (_whole(octets, "<u2", tensor).astype("<u4") << 16).view("<f4").tolist()
    layout = _FLOATS.get(str(datatype)) or _WHOLE.get(str(datatype))
    if layout is None:
        raise MalformedRequestError(f"{_name(tensor)}: unknown datatype {str(datatype)[:40]!r}")
    return _whole(octets, layout, tensor).tolist()


def _whole(octets: bytes, layout: str, tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(layout)
    if len(octets) % dtype.itemsize:
        raise MalformedRequestError(f"{_name(tensor)}: {len(octets)} bytes are not whole values")
    return np.frombuffer(octets, dtype)


def _texts(octets: bytes, name: str) -> Iterator[str | None]:
    position = 0
    while position < len(octets):
        start = position + _LENGTH.size
        if start > len(octets):
            raise MalformedRequestError(f"{name}: the length of a text is cut off")
        stop = start + cast("int", _LENGTH.unpack_from(octets, position)[0])
        if stop > len(octets):
            raise MalformedRequestError(f"{name}: a text is cut off")
        try:
            yield octets[start:stop].decode()
        except UnicodeDecodeError:
            yield None
        position = stop
