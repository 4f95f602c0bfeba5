"""From Arrow arrays to columns, by the same rules as for single cells (:mod:`.cells`)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from collector_processor.columns.batch import F64, I64, U64, Column, Mask
from collector_processor.columns.column import concatenated
from collector_processor.decode.arrow.direct import Codes, Numbers
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cell_columns import compacted, joined
from collector_processor.decode.rules.cells import CellKind, Scalar, text_of
from collector_processor.decode.rules.ids import hash_ids, hash_packed

Array: TypeAlias = Any
"""``pyarrow.Array``, which has no types, or what :mod:`.direct` reads instead of it."""
DataType: TypeAlias = Any
"""``pyarrow.DataType``."""

_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S: Final = 86_400


class Several(NamedTuple):
    """Columns of one name, such as one of numbers and one of texts: in each row the last that is not missing counts."""

    arrays: tuple[Array, ...]


def put(columns: dict[str, Array], name: str, array: Array) -> None:
    """Add a column; with others of its name it makes a :class:`Several`."""
    known = columns.get(name)
    if known is None:
        columns[name] = array
    else:
        columns[name] = Several((*(known.arrays if isinstance(known, Several) else (known,)), array))


def column_of_arrow(array: Array, kind: CellKind, tally: Tally) -> Column | None:
    """Return the column of an array, by the same rules as :func:`.cell_columns.column_of`.

    >>> from collector_processor.decode.limits import DecodeLimits
    >>> column_of_arrow(pa.array([1, None]), "text", Tally(DecodeLimits()))
    Column(numbers=None, codes=array([ 0, -1], dtype=int32), categories=('1',))
    """
    if isinstance(array, Numbers):
        return joined(array.values, None)
    if isinstance(array, Several):
        return _merged([column_of_arrow(one, kind, tally) for one in array.arrays])
    if isinstance(array, Codes):
        if kind == "number":
            tally.drop("unsupported_value", int(np.count_nonzero(array.codes >= 0)))
            return None
        return joined(None, compacted(array.codes, array.texts, tally))
    value_type = array.type.value_type if types.is_dictionary(array.type) else array.type
    if types.is_null(value_type):
        return None
    textual = is_text(value_type) or types.is_boolean(value_type)
    if kind == "number" and textual:
        tally.drop("unsupported_value", len(array) - array.null_count)
        return None
    if kind == "text" or textual:
        codes, texts = encoded(array)
        return joined(None, compacted(codes, texts, tally))
    return joined(_numbers(array), None)


def _merged(columns: Sequence[Column | None]) -> Column | None:
    """Return a column with the last cell of each row that is not missing."""
    whole: Column | None = None
    for later in columns:
        if whole is None or later is None:
            whole = later if whole is None else whole
            continue
        both, rows = concatenated((whole, later), (len(whole), len(later))), np.arange(len(later))
        whole = None if both is None else both.take(np.where(later.missing(), rows, rows + len(later)))
    return whole


def hash_arrow(array: Array) -> tuple[U64, Mask]:
    """Return the hashes of an id column uint64 ``[n, 2]``, and which rows have an id, bool ``[n]``."""
    if isinstance(array, Several):
        return hash_arrow(array.arrays[-1])
    if isinstance(array, Codes):
        named = np.array([bool(text) for text in array.texts], np.bool_)
        return _spread(hash_ids(array.texts), named, array.codes)
    if types.is_dictionary(array.type):
        return _spread(*hash_arrow(array.dictionary), _codes(array.indices))
    if not is_text(array.type):
        texts = [text_of(value) for value in _scalars(array)]
        return hash_ids([text or "" for text in texts]), np.array([bool(text) for text in texts], np.bool_)
    if array.null_count or is_string_view(array.type):
        array = pc.fill_null(array.cast(pa.large_string()), "")
    _, offsets, octets = array.buffers()
    begin, end = array.offset, array.offset + len(array) + 1
    wide = np.int64 if types.is_large_string(array.type) else np.int32
    bounds = np.frombuffer(offsets, wide, end)[begin:].astype(np.int64) if len(array) else np.zeros(1, np.int64)
    return hash_packed(np.frombuffer(octets or b"", np.uint8), bounds), np.diff(bounds) > 0


def _spread(hashes: U64, named: Mask, codes: NDArray[np.signedinteger]) -> tuple[U64, Mask]:
    """Spread hashes and masks by code over the rows; code −1 selects the extra entry after the last one."""
    return np.vstack((hashes, np.zeros((1, 2), np.uint64)))[codes], np.append(named, False)[codes]


def is_scalar(kind: DataType) -> bool:
    """Return whether cells of this type can be read."""
    if types.is_dictionary(kind):
        return is_scalar(kind.value_type) and not types.is_dictionary(kind.value_type)
    return (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
        or is_text(kind)
        or _is_time(kind)
    )


def is_text(kind: DataType) -> bool:
    """Return whether cells of this type are texts."""
    return types.is_string(kind) or types.is_large_string(kind) or is_string_view(kind)


def is_string_view(kind: DataType) -> bool:
    """Return whether cells of this type are views into shared texts."""
    return str(kind) == "string_view"  # by name, because pyarrow 15 has no function for it


def _is_time(kind: DataType) -> bool:
    return types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind) or types.is_duration(kind)


def encoded(array: Array) -> tuple[I64, list[str | None]]:
    """Return codes, −1 where null, and the text of each code."""
    if not types.is_dictionary(array.type):
        if not _is_exact(array.type):
            array = pa.array(_numbers(array))
        array = array.dictionary_encode()
    return _codes(array.indices), [text_of(value) for value in _scalars(array.dictionary)]


def _codes(indices: Array) -> I64:
    return indices.cast(pa.int64()).fill_null(-1).to_numpy()


def _scalars(array: Array) -> list[Scalar | None]:
    if types.is_decimal(array.type):
        return [None if value is None else _of_decimal(value) for value in array.to_pylist()]
    return array.to_pylist() if _is_exact(array.type) else _numbers(array).tolist()


def _is_exact(kind: DataType) -> bool:
    """Return whether the text of a cell must not be that of the nearest float."""
    return is_text(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_decimal(kind)


def _of_decimal(value: Decimal) -> Scalar:
    """Return a decimal as the scalar with its exact text."""
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else format(value, "f").rstrip("0")


def _numbers(array: Array) -> F64:
    """Return the cells of a numeric or time array as float64 ``[n]`` in separate memory, NaN where null."""
    kind = array.type
    if types.is_dictionary(kind):
        return np.append(_numbers(array.dictionary), np.nan)[_codes(array.indices)]
    if types.is_null(kind):
        return np.full(len(array), np.nan)
    if not _is_time(kind):
        return np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    ticks = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    seconds = np.array(ticks.to_numpy(zero_copy_only=False), np.float64)
    if types.is_date32(kind):
        return seconds * _DAY_S
    return seconds / (_UNITS["ms"] if types.is_date64(kind) else _UNITS[kind.unit])
