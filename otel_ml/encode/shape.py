"""Reads what a model was called with as one row or as columns, whatever library holds it.

Libraries are recognized through :data:`sys.modules`: what is not loaded cannot have made the value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from otel_ml.encode.rows import (
    NO_OUTPUTS,
    PLAIN,
    Outputs,
    as_record,
    flatten,
    is_column,
    items,
    length,
    rows_of,
    shape_of,
)
from otel_ml.encode.scalar import UnsupportedValueError
from otel_ml.encode.source import cells
from otel_ml.problems import report, report_misfit

MAX_CLASSES: Final = 1000
"""Classes whose probabilities travel with a call; the rest are dropped."""
SNAPSHOT_BYTES: Final = 16 * 1024 * 1024
"""Arrays up to this size are copied at entry."""


class ShapeError(UnsupportedValueError):
    """The features are neither a row nor a table, or not of the rows that were predicted; the message says which."""


class Features(NamedTuple):
    """The features of one call: one row, or the columns of several; neither if they cannot be read."""

    rows: int
    row: Mapping[Any, object] | None = None
    columns: Mapping[Any, object] | None = None


def read(features: object, names: Sequence[str] | None = None, outputs: Outputs = NO_OUTPUTS) -> Features:
    """Return the row or the columns in ``features``; ``names`` are the column names of arrays and lists.

    Where the features could be one row or several, the outputs decide. Raises :class:`ShapeError` for what is neither,
    for names that do not fit, and for features of other rows than the outputs.

    >>> read({"age": 37}).row, read([[1, 2], [3, 4]], ("a", "b")).columns
    ({'age': 37}, {'a': (1, 3), 'b': (2, 4)})
    >>> read([1, 2], ("a", "b")).row, read([1, 2], ("a",), Outputs((2,))).columns
    ({'a': 1, 'b': 2}, {'a': [1, 2]})
    """
    kind, found = shape_of(features)
    rows = rows_of(kind, found, outputs)
    if features is None:
        return Features(rows)
    if kind == "flat" and rows != 1:
        return _one_column(features, names, rows)
    if kind in ("table", "grid") and rows != found:
        raise ShapeError(f"{found} rows of features, but {rows} predictions")
    if kind == "nested":
        columns = cast("Mapping[object, object]", features)
        return Features(1, row=columns) if rows == 1 else Features(rows, columns=columns)
    named = features if isinstance(features, Mapping) else as_record(features)
    if named is not None:
        return _from_mapping(cast("Mapping[Any, object]", named))
    if isinstance(features, (list, tuple)):
        sequence = cast("Sequence[Any]", features)
        if kind == "opaque":
            raise ShapeError(f"a {type(features).__name__} of {type(sequence[0]).__name__} has no columns")
        return _from_sequence(sequence, names)
    for library, cls_name, reader in _READERS:
        cls = getattr(sys.modules.get(library), cls_name, None)
        if cls is not None and isinstance(features, cls):
            return reader(features, names)
    return _from_protocol(features, names)


def plain_row(features: object) -> dict[Any, object] | None:
    """Return the features if they obviously are one row, the most frequent case; None if :func:`read` must decide.

    >>> plain_row({"age": 37}), plain_row({"age": [37, 38]})
    ({'age': 37}, None)
    """
    if type(features) is dict:
        row = cast("dict[Any, object]", features)
        for value in row.values():
            return row if type(value) in PLAIN else None
    return None


def single(output: object, attribute: str) -> object:
    """Return the only cell of an output of a one-row call; None, and a report, if it has more or none."""
    if type(output) in PLAIN:
        return output
    array = cast(Any, output)
    if _is_numbers(array) and array.size == 1 and array.ndim <= 2:  # the most frequent array: no list for one cell
        return array.item()
    output = flatten(output)
    if not is_column(output):
        return output
    if length(output) != 1:
        report_misfit(attribute, length(output), 1)
        return None
    return cells(output)[0]


def snapshot(features: object, names: Sequence[str] | None = None) -> object:
    """Return a shallow, bounded copy of what may change during the call, else the features themselves.

    A table of one row in numpy or pandas, the usual case in a web service, is read at once: its row is cheaper to make
    than its copy.

    >>> snapshot([1, 2])
    [1, 2]
    """
    if type(features) is dict:
        return cast("dict[object, object]", features).copy()
    if type(features) is list:
        return cast("list[object]", features).copy()
    library = type(features).__module__.partition(".")[0]
    value: Any = features
    if library in ("numpy", "pandas"):
        try:
            row = _only_row(library, value, names)
        except Exception:  # noqa: BLE001 - a cell's own conversion may raise anything; `read` reports it
            row = None
        if row is not None:
            return row
    if library == "numpy" and getattr(value, "nbytes", SNAPSHOT_BYTES + 1) <= SNAPSHOT_BYTES:
        return value.copy()
    if library == "pandas":
        return value.copy(deep=False)
    if library == "polars":
        return value.clone()
    return value


def _only_row(library: str, table: Any, names: Sequence[str] | None) -> dict[Any, object] | None:
    """Return the row of an array or frame that has one and is read without doubt; None leaves it to :func:`read`."""
    shape = getattr(table, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 1 or not shape[1]:
        return None
    if library == "pandas":
        row = table.to_numpy(dtype=object)[0]
        # A list in a cell would make the row look like columns of one row.
        if type(row[0]) not in PLAIN or not table.columns.is_unique:
            return None
        return dict(zip(table.columns.tolist(), row, strict=True))
    if not _is_numbers(table):
        return None
    if names is None:
        names = _default_names(shape[1])
    row = dict(zip(names, table[0].tolist(), strict=False))
    return row if len(row) == len(names) == shape[1] else None


def _is_numbers(value: object) -> bool:
    """Return whether a value is a plain numpy array of numbers or truth values."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and cast(Any, value).dtype.kind in "fiub"


def _one_column(features: object, names: Sequence[str] | None, rows: int) -> Features:
    """Return cells without names as the only column of several rows."""
    value: Any = features
    cells = length(value)
    if cells != rows:
        raise ShapeError(f"{cells} cells without names, but {rows} predictions")
    if names is not None and len(names) == 1:
        return Features(rows, columns={names[0]: value})
    name = getattr(value, "name", None)
    first = items(value[:1])[0]
    if names is None and (name is not None or isinstance(first, (int, float))):
        return Features(rows, columns={_default_names(1)[0] if name is None else name: value})
    kind = type(first).__name__
    raise ShapeError(f"{cells} values of type {kind} without a name; Model(features=['...']) names their one column")


def _from_mapping(features: Mapping[Any, object]) -> Features:
    first = next(iter(features.values()), None)
    if not is_column(first) or not all(map(is_column, features.values())):
        return Features(1, row=features)
    lengths = {length(column) for column in features.values()}
    if len(lengths) > 1:
        raise ShapeError(f"columns have different lengths: {', '.join(map(str, sorted(lengths)))}")
    return _table(lengths.pop(), features)


def _table(rows: int, columns: Mapping[Any, object]) -> Features:
    if rows == 1:
        return Features(1, row={name: cells(column)[0] for name, column in columns.items()})
    return Features(rows, columns=columns)


def _from_sequence(features: Sequence[Any], names: Sequence[str] | None) -> Features:
    if not features:
        return Features(0)
    first = features[0]
    if isinstance(first, Mapping):
        return _from_records(cast("Sequence[Mapping[object, object]]", features))
    if as_record(first) is not None:
        return _from_records([as_record(value) or {} for value in features])
    if not is_column(first):
        return Features(1, row=_named(features, names))
    rows = [items(row) for row in features]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise ShapeError(f"rows have different lengths: {', '.join(map(str, sorted(widths)))}")
    if len(rows) == 1:
        return Features(1, row=_named(rows[0], names))
    return Features(len(rows), columns=_named(list(zip(*rows, strict=True)), names))


def _from_records(records: Sequence[Mapping[object, object]]) -> Features:
    if len(records) == 1:
        return Features(1, row=records[0])
    keys = dict.fromkeys(key for record in records for key in record)
    return Features(len(records), columns={key: [record.get(key) for record in records] for key in keys})


def _named(values: Sequence[Any], names: Sequence[str] | None) -> dict[Any, object]:
    if names is None:
        names = _default_names(len(values))
    if len(names) != len(values):
        raise ShapeError(f"{len(values)} columns, but the model names {len(names)} features")
    return _by_name(names, values)


def _by_name(names: Iterable[Any], values: Sequence[Any]) -> dict[Any, object]:
    """Return values by name; of several with one name, which is reported, the last counts."""
    found = dict(zip(names, values, strict=True))
    if len(found) < len(values):
        report("names twice", "%d features have only %d names; of one name, the last counts", len(values), len(found))
    return found


@lru_cache(maxsize=16)
def _default_names(width: int) -> tuple[str, ...]:
    return tuple(f"x{position}" for position in range(width))


def _from_numpy(array: Any, names: Sequence[str] | None) -> Features:
    if array.dtype.names and array.ndim == 1:
        return _table(len(array), {name: array[name] for name in array.dtype.names})
    if hasattr(array, "filled"):
        # Masked cells must not count: they are missing.
        array = array.astype(float).filled(float("nan")) if array.dtype.kind in "fiub" else array.filled(None)
    if array.ndim == 1:
        return Features(1, row=_named(items(array), names))
    if array.ndim != 2:
        raise ShapeError(f"an array of {array.ndim} dimensions is neither a row nor a table")
    if len(array) == 1:
        return Features(1, row=_named(items(array[0]), names))
    return Features(len(array), columns=_named(list(array.T), names))


def _from_pandas(frame: Any, names: Sequence[str] | None) -> Features:
    if len(frame) == 1:
        return Features(1, row=_by_name(frame.columns.tolist(), frame.to_numpy(dtype=object)[0]))
    return Features(len(frame), columns=_by_name(*zip(*frame.items(), strict=True)) if len(frame.columns) else {})


def _from_pandas_series(series: Any, names: Sequence[str] | None) -> Features:
    return Features(1, row=_by_name(series.index, series.tolist()))


def _from_polars(frame: Any, names: Sequence[str] | None) -> Features:
    if frame.height == 1 and not any(dtype.is_temporal() for dtype in frame.dtypes):
        return Features(1, row=frame.row(0, named=True))
    if frame.height == 1:  # its own row would cut times to microseconds
        return _table(1, {column.name: column for column in frame.get_columns()})
    return Features(frame.height, columns={column.name: column for column in frame.get_columns()})


def _from_polars_series(series: Any, names: Sequence[str] | None) -> Features:
    return Features(1, row=_named(series.to_list(), names))


def _from_arrow(table: Any, names: Sequence[str] | None) -> Features:
    return _table(table.num_rows, _by_name(table.schema.names, table.columns))


def _from_protocol(features: object, names: Sequence[str] | None) -> Features:
    """Read tensors and frames of other libraries through numpy's array protocol."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(features, "__array__"):
        try:
            return _from_numpy(numpy.asarray(features), names)
        except ShapeError:
            raise
        except Exception as error:  # the value's own conversion may raise anything
            kind, reason = type(features).__name__, type(error).__name__
            raise ShapeError(f"{kind} does not convert to an array ({reason})") from error
    raise ShapeError(f"{type(features).__name__} is neither a mapping, list, array nor frame")


_Reader = Callable[[Any, "Sequence[str] | None"], Features]
_READERS: Final[Iterable[tuple[str, str, _Reader]]] = (
    ("numpy", "ndarray", _from_numpy),
    ("pandas", "DataFrame", _from_pandas),
    ("pandas", "Series", _from_pandas_series),
    ("polars", "DataFrame", _from_polars),
    ("polars", "Series", _from_polars_series),
    ("pyarrow", "Table", _from_arrow),
    ("pyarrow", "RecordBatch", _from_arrow),
)
