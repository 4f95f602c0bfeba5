"""Columns of frames in memory, as pandas, polars, pyarrow and numpy hold them, as cells."""

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
    """The columns of a frame of pandas or polars, a table of pyarrow, or a mapping of names to columns, by name.

    Raises ``ValueError`` for anything else, for names that occur twice and for columns of unequal length.
    """
    found: Any = (
        frame if isinstance(frame, Mapping) else getattr(frame, "column_names", getattr(frame, "columns", None))
    )
    if found is None or not hasattr(frame, "__getitem__"):
        raise ValueError(f"a {type(frame).__name__} is no frame; allowed: a frame, a pyarrow table, columns by name")
    names = [str(key) for key in found]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"frame: has more than one column '{twice[0]}'")
    columns: dict[str, Any] = {str(key): frame[key] for key in found}
    lengths = {name: len(column) if hasattr(column, "__len__") else None for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        raise ValueError(f"frame: its columns are not of one length: {lengths}")
    return columns


def column_cells(values: Any, where: str) -> Column:
    """A column of a frame as cells: those that :func:`.arrow.cells` has for it in a file; ``where`` names it in errors.

    ``values`` is a series of pandas or polars, an array of pyarrow, or anything that ``pyarrow.array`` takes. Doubles
    of numpy stay where they are, Arrow's texts and categories are read where they are, and texts that are Python
    objects are numbered by their address where they share objects, as pandas mostly lets them.

    Raises ``ValueError`` for what is no column of numbers, texts, booleans, dates or times.

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
        found = built.texts.texts_to_codes(array, _absent())
        if found is not None and found[1]:  # a column of missing cells alone is one of numbers, as in a file
            return Column(None, found[0], tuple(found[1]))
    try:
        return cells(_to_arrow(values if array is None else array), where)
    except (pa.ArrowException, UnicodeError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}: not readable as one kind of cells: {error}") from None


def _plain_array(values: Any) -> NDArray[Any] | None:
    """The numpy array that a column is or is made of; None for other kinds, masked arrays too."""
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
    """The objects that pandas has for missing cells, if it is loaded: else none can be in a column."""
    pandas = sys.modules.get("pandas")
    return tuple(getattr(pandas, name) for name in _ABSENT if hasattr(pandas, name))
