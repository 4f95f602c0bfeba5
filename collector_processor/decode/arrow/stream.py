"""``ml.batch``: the columns of an Arrow IPC stream, from senders that may be hostile.

Readable types: integers, floats, decimals, booleans, strings (all three layouts), dictionaries of these, null, and
times: timestamps and dates become Unix seconds, times of day and durations become seconds. The columns ``ml.features``
and ``ml.prediction.scores`` may be a struct or a map of these. Extension types are read as their storage type. Any
other type with a contract name makes missing cells, counted as ``unsupported_value`` (one per row). Columns without a
contract name are never read. Of several columns with one name, such as one of numbers and one of texts, the last that
is not missing counts in each row, and a column takes precedence over a struct's or map's entry with the same name.

Nothing is unpacked before its size is known (:mod:`.size`), nothing is used before Arrow has fully validated it (texts
that are not UTF-8 are repaired, and counted: :mod:`.utf8`), and columns are made only within the request's limit of
cells. The usual stream is read without pyarrow (:mod:`.direct`), by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from pyarrow import types

from collector_processor.columns.batch import I64
from collector_processor.decode.arrow.arrays import Array, DataType, encoded, is_scalar, is_string_view, is_text, put
from collector_processor.decode.arrow.direct import NotUsualError, UsualStream, aligned
from collector_processor.decode.arrow.plan import Plan
from collector_processor.decode.arrow.size import unpacked_size
from collector_processor.decode.arrow.utf8 import valid
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cells import MAPS, PER_CALL, UnreadableError, place_of
from otel_ml import semconv

Table: TypeAlias = Any
"""``pyarrow.Table``; pyarrow ships no types."""

_ERRORS: Final = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError)
"""Errors that pyarrow, and extension types registered with it, raise for bytes that are not a valid stream."""
_MAX_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class ArrowTable:
    """The contract's columns of one stream by flat name, each of ``rows`` cells."""

    rows: int
    columns: dict[str, Array]


def read_stream(stream: bytes | memoryview, tally: Tally) -> ArrowTable | None:
    """Return the columns with contract names; None if a limit dropped the whole stream (and counted it).

    Raises :class:`UnreadableError` with a reason.

    >>> from collector_processor.decode.limits import DecodeLimits
    >>> read_stream(b"nonsense", Tally(DecodeLimits()))
    Traceback (most recent call last):
    collector_processor.decode.rules.cells.UnreadableError: ml.batch is not an Arrow stream: ...
    """
    try:
        return _read_directly(stream, tally)
    except NotUsualError:
        pass
    try:
        return _read(aligned(stream), tally)
    except UnreadableError:
        raise
    except _ERRORS as error:
        raise UnreadableError(f"{semconv.BATCH} is not an Arrow stream: {_first_line(error)}") from error


def _read_directly(stream: bytes | memoryview, tally: Tally) -> ArrowTable:
    """Do the same for the usual stream; raise :class:`NotUsualError`, with nothing counted, for others."""
    usual = UsualStream(stream, tally.limits.arrow_messages)
    if usual.body_bytes > tally.arrow_bytes_left:
        raise NotUsualError
    wanted, unreadable = _wanted(usual.plan)
    # Buffers may overlap, so nothing is made of them before the limits are checked for all of them together.
    if not tally.has_room(usual.rows, len(wanted)) or usual.buffer_bytes(wanted) > tally.arrow_bytes_left:
        raise NotUsualError
    table = usual.columns(wanted)
    _take_bytes(max(usual.body_bytes, table.nbytes), tally)
    tally.drop("unsupported_value", unreadable * table.rows)
    columns: dict[str, Array] = {}
    for name, array in table.columns:
        put(columns, name, array)
    return ArrowTable(table.rows, columns)


_known_wanted: Final[WeakKeyDictionary[Plan, tuple[list[int], int]]] = WeakKeyDictionary()


def _wanted(plan: Plan) -> tuple[list[int], int]:
    """Return :func:`_columns_of_interest` of a plan's schema, worked out once for each plan."""
    known = _known_wanted.get(plan)
    if known is None:
        try:
            known = _known_wanted[plan] = _columns_of_interest(plan.schema)
        except UnreadableError as error:
            raise NotUsualError from error
    return known


def _take_bytes(size: int, tally: Tally) -> None:
    if not tally.take_arrow_bytes(size):
        raise UnreadableError(f"{semconv.BATCH} takes {size} bytes unpacked, more than are left for the request")


def _read(stream: bytes | memoryview, tally: Tally) -> ArrowTable | None:
    size = unpacked_size(stream, tally.arrow_bytes_left, tally.limits.arrow_messages)
    readable, unreadable = _columns_of_interest(pa.ipc.open_stream(stream).schema)
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=readable)
    table = pa.ipc.open_stream(stream, options=options).read_all()
    if not tally.fits(table.num_rows, table.num_columns):
        return None
    table.validate()
    # Buffers may overlap and views may repeat, so the columns may be larger than the stream they came from.
    size = max(size, table.nbytes + sum(_viewed_bytes(chunk) for column in table.columns for chunk in column.chunks))
    _take_bytes(size, tally)
    tally.drop("unsupported_value", unreadable * table.num_rows)
    columns: dict[str, Array] = {}
    entries: dict[str, Array] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = valid(_stored(column.combine_chunks()), tally)
        if name in MAPS:
            entries.update((MAPS[name] + key, entry) for key, entry in _entries(name, array, tally))
        else:
            put(columns, name, array)
    return ArrowTable(table.num_rows, entries | columns)


def _columns_of_interest(schema: Any) -> tuple[list[int], int]:
    """Return the indices of the columns to read, and how many others have a contract name but no readable type."""
    fields = [(field.name, field.type) for field in schema]  # schema.names and schema.types build a list each time
    ours = [
        index
        for index, (name, _) in enumerate(fields)
        if place_of(name) is not None or name in MAPS or name in PER_CALL
    ]
    readable = [index for index in ours if _is_readable(*fields[index])]
    if not readable:
        # Arrow's reader would take an empty list to mean every column.
        names = ", ".join(f"{name} ({kind})"[:80] for name, kind in fields[:_MAX_NAMES])
        raise UnreadableError(f"{semconv.BATCH} has no readable column; it has: {names or 'none'}")
    for name, kind in (fields[index] for index in ours):
        if name == semconv.PREDICTION_ID and not _is_readable(name, kind):
            raise UnreadableError(f"{semconv.PREDICTION_ID} is a column of {kind}, not of strings")
    times = [index for index, (name, kind) in enumerate(fields) if name == semconv.LABEL_TIME and is_scalar(kind)]
    return sorted((*readable, *times)), len(ours) - len(readable)


def _is_readable(name: str, column_type: DataType) -> bool:
    kind = _storage_type(column_type)
    if name not in MAPS:
        return is_scalar(kind)
    if types.is_struct(kind):
        return all(is_scalar(_storage_type(child.type)) for child in kind)
    return types.is_map(kind) and is_text(kind.key_type) and is_scalar(_storage_type(kind.item_type))


def _storage_type(kind: DataType) -> DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _stored(array: Array) -> Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _entries(name: str, array: Array, tally: Tally) -> Iterator[tuple[str, Array]]:
    """Yield a struct's fields or a map's keys as separate columns; of equal keys in a row, the last counts."""
    if types.is_struct(array.type):
        for field, child in zip(array.type, array.flatten(), strict=True):
            yield field.name, _stored(child)
        return
    rows = len(array)
    offsets: I64 = array.offsets.to_numpy().astype(np.int64)
    row_of = np.repeat(np.arange(rows), np.diff(offsets))
    filled = array.is_valid().to_numpy(zero_copy_only=False)[row_of]
    positions, row_of = np.arange(offsets[0], offsets[-1])[filled], row_of[filled]
    codes, keys = encoded(array.keys)
    order = np.argsort(codes[positions], kind="stable")
    positions, row_of = positions[order], row_of[order]
    used, starts = np.unique(codes[positions], return_index=True)
    if rows * len(used) > tally.limits.cells:
        raise UnreadableError(f"{name} has {len(used)} keys in {rows} rows, more than the limit of cells")
    items = _stored(array.items)
    for code, begin, end in zip(used, starts, [*starts[1:], len(positions)], strict=True):
        index = np.full(rows, -1, np.int64)
        index[row_of[begin:end]] = positions[begin:end]
        yield keys[code] or "", items.take(pa.array(index, mask=index < 0))


def _viewed_bytes(chunk: Array) -> int:
    """Return the bytes that the views of a string_view array show, each as often as it is shown."""
    array = _stored(chunk)
    if types.is_struct(array.type):
        return sum(_viewed_bytes(array.field(index)) for index in range(array.type.num_fields))
    if types.is_map(array.type):
        return _viewed_bytes(array.keys) + _viewed_bytes(array.items)
    if types.is_dictionary(array.type):
        return _viewed_bytes(array.dictionary)
    if not is_string_view(array.type) or not len(array):
        return 0
    views = np.frombuffer(array.buffers()[1], np.int32)[array.offset * 4 : (array.offset + len(array)) * 4]
    return int(np.maximum(views[::4], 0)[array.is_valid().to_numpy(zero_copy_only=False)].sum(dtype=np.int64))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
