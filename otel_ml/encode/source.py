"""Takes the cells out of whatever library holds a column: a numpy array of numbers where possible, else a list.

What a cell is worth is decided by :func:`.scalar.scalar` alone, for a row and for a batch. An array stands for a list
only where both give the same numbers. Libraries are recognized through :data:`sys.modules`.
"""

from __future__ import annotations

import sys
from typing import Any, Final, TypeAlias

from otel_ml.encode.rows import items
from otel_ml.encode.scalar import SUBSECONDS

Source: TypeAlias = Any
"""A numpy array of floats, integers or truth values, or a list of anything."""

_EXACT: Final = 2**53


def source(column: object) -> Source:
    """Return the cells of a column of any library.

    >>> source((1, "a", None)), source(range(3))
    ([1, 'a', None], [0, 1, 2])
    """
    value: Any = column
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray:
        return _of_numpy(numpy, value)
    if isinstance(value, (list, tuple)):
        return list(value)  # type: ignore[reportUnknownArgumentType]
    library = type(value).__module__.partition(".")[0]
    if library == "pyarrow":
        return _of_arrow(numpy, value)
    if numpy is None:
        return items(value)
    if numpy.ma.isMaskedArray(value):
        return _of_masked(numpy, value)
    if isinstance(value, numpy.ndarray):
        return _of_numpy(numpy, value)
    if library == "pandas":
        return _of_pandas(numpy, value)
    if library == "polars":
        return _of_polars(numpy, value)
    if hasattr(value, "__array__") and not hasattr(value, "to_list"):
        return _of_numpy(numpy, numpy.asarray(value))
    return items(value)


def cells(column: object) -> list[Any]:
    """Return the cells of a column as a list."""
    found = source(column)
    return found if isinstance(found, list) else found.tolist()


def _of_numpy(numpy: Any, array: Any) -> Source:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "Mm":
        return _seconds(numpy, array)
    if kind == "f":
        if size > 8:  # a long double, whose text as an id is exact
            return list(array)
        array = array.astype("<f8" if size == 8 else "<f4", copy=False)
    elif kind in "iu":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    elif kind != "b":
        return array.tolist() if kind in "UOS" else list(array)
    return array


def _of_masked(numpy: Any, array: Any) -> Source:
    plain = _of_numpy(numpy, array.data)
    hidden = numpy.ma.getmaskarray(array)
    return [None if absent else cell for cell, absent in zip(plain, hidden, strict=True)] if hidden.any() else plain


def _seconds(numpy: Any, times: Any) -> Source:
    """Return Unix times or durations in seconds, NaN where there is none; each is the nearest float."""
    unit, step = numpy.datetime_data(times.dtype)
    divisor = SUBSECONDS.get(unit)
    absent = numpy.isnat(times)
    if divisor is None:
        if unit in ("ps", "fs", "as", "generic") or (times.dtype.kind == "m" and unit in "YM"):
            return list(times)
        seconds = times.astype(f"{times.dtype.kind}8[s]").astype(numpy.int64).astype(numpy.float64)
    else:
        ticks = times.astype(numpy.int64) * step
        whole = ticks // divisor
        # As a float a long count of ticks would already be rounded, so its whole seconds are taken apart first.
        apart = whole + (ticks - whole * divisor) / divisor
        seconds = numpy.where((ticks > -_EXACT) & (ticks < _EXACT), ticks / divisor, apart)
    seconds[absent] = numpy.nan
    return seconds


def _of_pandas(numpy: Any, column: Any) -> Source:
    dtype = column.dtype
    if isinstance(dtype, numpy.dtype):
        return _of_numpy(numpy, column.to_numpy())
    if hasattr(dtype, "categories"):
        codes = column.cat.codes if hasattr(column, "cat") else column.codes
        categories = [*dtype.categories, None]  # the code of a missing cell is −1
        return [categories[code] for code in codes.tolist()]
    if getattr(dtype, "tz", None) is not None:
        return _of_numpy(numpy, column.to_numpy(dtype=f"datetime64[{dtype.unit}]"))
    plain = getattr(dtype, "numpy_dtype", None)
    if plain is not None and plain.kind in "fiub" and not column.isna().any():
        return _of_numpy(numpy, column.to_numpy(dtype=plain))
    if hasattr(dtype, "pyarrow_dtype"):
        return _of_arrow(numpy, sys.modules["pyarrow"].array(column))
    return column.to_numpy(dtype=object).tolist() if hasattr(column, "to_numpy") else list(column)


def _of_polars(numpy: Any, column: Any) -> Source:
    dtype = column.dtype
    if dtype.is_temporal() and str(dtype) != "Time":
        return _of_numpy(numpy, column.to_numpy())
    if dtype.is_float() or (dtype.is_integer() and not column.null_count() and str(dtype)[-3:] != "128"):
        return _of_numpy(numpy, column.to_numpy())
    return column.to_list()


def _of_arrow(numpy: Any, column: Any) -> Source:
    arrow = sys.modules["pyarrow"]
    types: Any = arrow.types
    if isinstance(column, arrow.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if types.is_dictionary(kind):
        values = [*cells(column.dictionary), None]
        return [values[-1 if code is None else code] for code in column.indices.to_pylist()]
    if numpy is not None and (types.is_timestamp(kind) or types.is_duration(kind) or types.is_date(kind)):
        return _of_numpy(numpy, column.to_numpy(zero_copy_only=False))
    if types.is_time(kind):
        ticks = column.cast(arrow.int32() if kind.bit_width == 32 else arrow.int64())
        divisor = SUBSECONDS.get(kind.unit, 1)
        return [None if tick is None else tick / divisor for tick in ticks.to_pylist()]
    if numpy is not None and (
        types.is_floating(kind) or ((types.is_integer(kind) or types.is_boolean(kind)) and not column.null_count)
    ):
        return _of_numpy(numpy, column.to_numpy(zero_copy_only=False))
    if types.is_string(kind) or types.is_large_string(kind):
        encoded = column.dictionary_encode()
        if 0 < 2 * len(encoded.dictionary) <= len(column):
            return _of_arrow(numpy, encoded)
    return column.to_pylist()
