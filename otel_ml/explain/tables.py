"""Keeps what a model was called with until it is explained, and takes rows out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from otel_ml.encode.scalar import UnsupportedValueError


def kept(value: object) -> object:
    """Return the value as it is now: a copy of what the application may change later.

    >>> rows = [[1, 2]]
    >>> kept(rows) is rows, kept(("a",))
    (False, ('a',))
    """
    if isinstance(value, Mapping):
        return {key: kept(cells) for key, cells in cast("Mapping[Any, object]", value).items()}
    library, table = type(value).__module__.partition(".")[0], cast(Any, value)
    if library in ("numpy", "pandas"):
        return table.copy()
    return list(table) if isinstance(value, list) else value


def taken(table: Any, rows: Sequence[int]) -> Any:
    """Return some rows of a table.

    Raises :class:`UnsupportedValueError` for what has none.

    >>> taken([[1], [2], [3]], [0, 2]), taken({"a": [1, 2, 3]}, [1])
    ([[1], [3]], {'a': [2]})
    """
    if isinstance(table, Mapping):
        return {key: taken(cells, rows) for key, cells in cast("Mapping[Any, Any]", table).items()}
    if isinstance(table, (list, tuple)):
        cells = cast("Sequence[Any]", table)
        return [cells[row] for row in rows]
    if hasattr(table, "iloc"):
        return table.iloc[list(rows)]
    if hasattr(table, "take") and hasattr(table, "schema") and not hasattr(table, "lazy"):  # pyarrow
        return table.take(list(rows))
    if hasattr(table, "__getitem__"):
        return table[list(rows)]
    raise UnsupportedValueError(f"rows of a {type(table).__name__} cannot be taken")
