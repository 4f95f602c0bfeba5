"""Read the columns of pandas, polars, pyarrow and numpy tables in memory as cells."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector_processor.columns.batch import Column
from collector_processor.decode.compiled import built
from collector_processor.reference.arrow_table import cells

_ABSENT: Final = ("NA", "NaT")


def frame_columns(frame: Any) -> dict[str, Any]:
    """Return the columns of a pandas or polars frame, a pyarrow table, or a mapping of names to columns, by name.

    Raises ``ValueError`` for anything else, for names that occur twice and for columns of unequal length.
    """
    keys: Any = frame if isinstance(frame, Mapping) else getattr(frame, "column_names", getattr(frame, "columns", None))
    if keys is None or not hasattr(frame, "__getitem__"):
        allowed = "a pandas or polars frame, a pyarrow table, columns by name"
        raise ValueError(f"frame: a {type(frame).__name__} is not a table; allowed: {allowed}")
    names = [str(key) for key in keys]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"frame: has more than one column '{twice[0]}'")
    columns: dict[str, Any] = {str(key): frame[key] for key in keys}
    lengths = {name: len(column) if hasattr(column, "__len__") else None for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        raise ValueError(f"frame: its columns have different lengths: {lengths}")
    return columns


def column_cells(values: Any, where: str) -> Column:
    """Return a column of a frame as cells, as :func:`.arrow_table.cells` does for a file; errors call it ``where``.

    ``values`` is a pandas or polars series, a pyarrow array, or anything that ``pyarrow.array`` accepts. NumPy doubles
    are used in place, Arrow's texts and categories are read in place, and texts that are Python objects are numbered by
    their address if they share objects, as they mostly do in pandas.

    Raises ``ValueError`` for anything but a column of numbers, texts, booleans, dates or times.

    >>> column = column_cells(np.array(["UA", None, "AA", "UA"], object), "column 'carrier'")
    >>> column.codes.tolist(), column.categories
    ([0, -1, 1, 0], ('UA', 'AA'))
    """
    array = _plain_array(values)
    if array is not None and array.ndim != 1:
        raise ValueError(f"{where}: has {array.ndim} dimensions; a column has one")
    if array is not None and array.dtype == np.float64:
        return Column(array)
    if array is not None and array.dtype == np.object_ and built.texts is not None:
        coded = built.texts.texts_to_codes(array, _absent())
        if coded is not None and coded[1]:  # a column of only missing cells is numeric, as in a file
            return Column(None, coded[0], tuple(coded[1]))
    try:
        return cells(_to_arrow(values if array is None else array), where)
    except (pa.ArrowException, UnicodeError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}: cannot be read as one kind of cells: {error}") from None


def _plain_array(values: Any) -> NDArray[Any] | None:
    """Return the numpy array that a column is or wraps; None for other kinds, including masked arrays."""
    of_pandas = type(values).__module__.partition(".")[0] == "pandas"
    if of_pandas and isinstance(getattr(values, "dtype", None), np.dtype):
        values = values.to_numpy()
    if type(values) is not np.ndarray:
        return None
    array: NDArray[Any] = values
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _to_arrow(values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values
    column: Any = values.to_arrow() if hasattr(values, "to_arrow") else pa.array(values, from_pandas=True)
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _absent() -> tuple[object, ...]:
    """Return the objects that mean a missing cell in pandas; none if pandas is not loaded, since none can occur."""
    pandas = sys.modules.get("pandas")
    return tuple(getattr(pandas, name) for name in _ABSENT if hasattr(pandas, name))
