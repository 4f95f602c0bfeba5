"""Plans of Arrow schemas: which buffers of a stream's messages belong to which column, worked out once for each schema.

Only schemas with the simplest layouts have a plan: numbers, texts, booleans, and dictionaries of texts. pyarrow reads
streams with any other schema.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import types

from collector_processor.decode.arrow.flatbuffer import list_of, root, scalar, table
from collector_processor.decode.rules.cells import place_of
from otel_ml import semconv

DataType: TypeAlias = Any
"""``pyarrow.DataType``."""
Layout = Literal["numbers", "codes", "array"]

SCHEMA_LIMIT: Final = 1024 * 1024
"""Longest schema message, in bytes, that has a plan: about 5,000 columns with names of ordinary length."""
_NARROW: Final = 65_536
_NARROW_KEPT, _WIDE_KEPT = 64, 8
"""Plans cached of schemas up to 64 KiB, and of longer ones: senders choose the schemas, so bytes bound both caches."""
MESSAGE_HEADER: Final = 2
_SCHEMA_ENDIANNESS, _SCHEMA_FIELDS = 0, 1
_FIELD_DICTIONARY: Final = 4
_ENCODING_ID: Final = 0
_LITTLE: Final = 0


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: its position among the nodes, its first buffer, and the layout of its cells.

    ``numbers``: cells of ``dtype``. ``codes``: indices of ``dtype`` into the texts of dictionary ``dictionary``.
    ``array``: the array that pyarrow makes of the buffers of a column of ``kind``.
    """

    name: str
    node: int
    buffer: int
    layout: Layout
    dtype: np.dtype[Any]
    kind: DataType
    buffers: int = 2
    dictionary: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """All columns in order, the number of nodes and buffers of a batch of them, and pyarrow's schema.

    Without slots, so that what is known of a plan can be kept by a weak reference to it.
    """

    columns: tuple[ColumnPlan, ...]
    nodes: int
    buffers: int
    schema: Any


def plan_of(message: bytes) -> Plan | None:
    """Return the plan of an encapsulated schema message; None for schemas that pyarrow has to read, or refuse."""
    return (_narrow_plan if len(message) <= _NARROW else _wide_plan)(message)


def _new_plan(message: bytes) -> Plan | None:
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(message))
        head = memoryview(message)[8:]
        header = table(head, root(head), MESSAGE_HEADER)
        if header is None or scalar("<h", head, header, _SCHEMA_ENDIANNESS, _LITTLE) != _LITTLE:
            return None  # big-endian, or without a schema
        ids = [_dictionary_id(head, place) for place in list_of(head, header, _SCHEMA_FIELDS)]
        return _plan(schema, ids) if len(ids) == len(schema) else None
    except (struct.error, pa.ArrowException, OSError, ValueError, TypeError, LookupError):
        return None


_narrow_plan: Final = lru_cache(maxsize=_NARROW_KEPT)(_new_plan)
_wide_plan: Final = lru_cache(maxsize=_WIDE_KEPT)(_new_plan)


def _plan(schema: Any, ids: list[int | None]) -> Plan | None:
    columns: list[ColumnPlan] = []
    buffers = 0
    for node, (field, dictionary) in enumerate(zip(schema, ids, strict=True)):
        column = _column_plan(field.name, node, buffers, field.type, dictionary)
        if column is None:
            return None
        columns.append(column)
        buffers += column.buffers
    known = [item.dictionary for item in columns if item.layout == "codes"]
    if len(set(known)) != len(known):  # several columns share a dictionary
        return None
    return Plan(tuple(columns), len(columns), buffers, schema)


def _column_plan(name: str, node: int, buffer: int, kind: DataType, dictionary: int | None) -> ColumnPlan | None:
    if types.is_dictionary(kind):
        if dictionary is None or not types.is_string(kind.value_type):
            return None
        return ColumnPlan(
            name, node, buffer, "codes", np.dtype(kind.index_type.to_pandas_dtype()), kind, dictionary=dictionary
        )
    if dictionary is not None:
        return None
    place = place_of(name)
    # A float cannot give the text of a large integer, nor a time in nanoseconds.
    exact = name == semconv.PREDICTION_TIME or (place is not None and place.kind == "text")
    if not exact and (types.is_float64(kind) or types.is_float32(kind) or types.is_integer(kind)):
        return ColumnPlan(name, node, buffer, "numbers", _little(kind), kind)
    if exact and types.is_integer(kind):
        return ColumnPlan(name, node, buffer, "array", np.dtype(np.uint8), kind)
    if types.is_string(kind) or types.is_large_string(kind):
        return ColumnPlan(name, node, buffer, "array", np.dtype(np.uint8), kind, buffers=3)
    return ColumnPlan(name, node, buffer, "array", np.dtype(np.uint8), kind) if types.is_boolean(kind) else None


def _little(kind: DataType) -> np.dtype[Any]:
    """Return the cells' type as it is in the stream."""
    return np.dtype(kind.to_pandas_dtype()).newbyteorder("<")


def _dictionary_id(head: memoryview, field: int) -> int | None:
    encoding = table(head, field, _FIELD_DICTIONARY)
    return None if encoding is None else scalar("<q", head, encoding, _ENCODING_ID)
