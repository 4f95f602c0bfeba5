"""One generation of rows with 128-bit ids: columns that exist only once they have a value, and a hash table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I32, I64, U64, Mask
from collector_processor.labels.slot_table import Filter, SlotTable, hashed

Values = NDArray[Any]
Defaults = Mapping[str, Values]
"""The default value of each column by name: a numpy scalar array, whose dtype is the column's."""
FIRST_ROWS: Final = 256
"""Room that a generation starts with, unless it gets a larger ``first_rows``; it doubles when full."""
_RESERVED: Final = ("ids", "time_ns", "settled")


class Generation:
    """At most ``limit`` rows: ``ids`` uint64 ``[n, 2]``, ``time_ns`` int64 ``[n]``, and columns ``[n]`` or ``[n, k]``.

    A column takes no memory while all its values are the default. A column of small integers is widened when a value
    does not fit. A *settled* row stays, whatever comes later with its id.
    """

    def __init__(self, defaults: Defaults, limit: int, opened_ns: int, *, first_rows: int = FIRST_ROWS) -> None:
        self.limit = limit
        self.opened_ns = opened_ns
        self.rows = 0
        self.superseded = 0
        self.settled_rows = 0
        self.newest_ns = np.iinfo(np.int64).min
        self._defaults = defaults
        self._first_rows = first_rows
        self._ids: U64 = np.empty((0, 2), np.uint64)
        self._time_ns: I64 = np.empty(0, np.int64)
        self._settled: Mask | None = None
        self._columns: dict[str, Values] = {}
        self._table = SlotTable(0)
        self._filter: Filter | None = None
        self._spent: dict[str, Values] = {}

    @property
    def room(self) -> int:
        """How many rows still fit."""
        return self.limit - self.rows

    @property
    def waiting(self) -> int:
        """Rows that can be found and are not settled."""
        return self.rows - self.superseded - self.settled_rows

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        columns = sum(column.nbytes for column in self._columns.values())
        others = sum(part.nbytes for part in (self._settled, self._filter) if part is not None)
        return self._ids.nbytes + self._time_ns.nbytes + self._table.nbytes + columns + others

    def take_over(self, spent: Generation) -> None:
        """Reuse the memory of a dropped generation for the first rows, because clearing new pages costs more.

        Only the arrays that the next insert needs are reused, and only if they have the right size.
        """
        self._spent = {"ids": spent._ids, "time_ns": spent._time_ns, "slots": spent._table.slots, **spent._columns}

    def insert(self, ids: U64, time_ns: I64, hashes: U64, values: Mapping[str, Values]) -> None:
        """Add at most :attr:`room` rows; the last row of an id supersedes the others unless one is settled."""
        first, end = self.rows, self.rows + len(ids)
        self._reserve(end)
        self._ids[first:end] = ids
        self._time_ns[first:end] = time_ns
        self.rows = end
        self.newest_ns = max(self.newest_ns, int(time_ns.max()))
        # Memory beyond the rows has no meaning until here, so that unused memory is never touched.
        if self._settled is not None:
            self._settled[first:end] = False
        for name, column in self._columns.items():
            if name not in values or values[name].shape[1:] < column.shape[1:]:
                column[first:end] = self._defaults[name]
        for name, column in values.items():
            self.put(name, slice(first, end), column)
        rows = np.arange(first, end, dtype=np.int32)
        self.superseded += self._table.insert(self._ids, rows, hashes, self._settled)
        self._spent = {}

    def find(self, ids: U64, hashes: U64) -> I32:
        """Return the row of each id, int32 ``[n]``; −1 if absent."""
        if self._filter is None:
            return self._table.find(self._ids, ids, hashes)
        rows = np.full(len(ids), -1, np.int32)
        likely = np.flatnonzero(self._filter.may_hold(hashes))
        rows[likely] = self._table.find(self._ids, ids[likely], hashes[likely])
        return rows

    def take(self, name: str, rows: I32) -> Values:
        """Return the values of a column in some rows, ``[n]`` or ``[n, k]``; ``time_ns`` and ``ids`` too."""
        if name == "time_ns":
            return self._time_ns[rows]
        if name == "ids":
            return self._ids[rows]
        column = self._columns.get(name)
        return np.full(len(rows), self._defaults[name]) if column is None else column[rows]

    def put(self, name: str, rows: I32 | slice, values: Values) -> None:
        """Set the values of a column in some rows; ``time_ns`` is a column too."""
        if name == "time_ns":
            self._time_ns[rows] = values
            self.newest_ns = max(self.newest_ns, int(values.max(initial=self.newest_ns)))
            return
        column = self._columns.get(name)
        default = self._defaults[name]
        if column is None:
            if (np.isnan(values) if np.isnan(default) else values == default).all():
                return
            column = self._empty(name, (len(self._time_ns), *values.shape[1:]), default.dtype)
            column[: self.rows] = default
        column = _fitting(column, values, default)
        self._columns[name] = column
        if values.ndim == 1:
            column[rows] = values
        else:
            column[rows, : values.shape[1]] = values

    def settled(self, rows: I32) -> Mask:
        """Return which rows are settled, bool ``[n]``."""
        return np.zeros(len(rows), np.bool_) if self._settled is None else self._settled[rows]

    def settle(self, rows: I32) -> None:
        """Settle rows, each named once."""
        if self._settled is None:
            self._settled = np.zeros(len(self._time_ns), np.bool_)
        self.settled_rows += int(np.count_nonzero(~self._settled[rows]))
        self._settled[rows] = True

    def close(self) -> None:
        """Free unused room; no rows may be added after that."""
        self._resize(self.rows)
        self.limit = self.rows
        self._filter = Filter(hashed(self._ids))

    def arrays(self) -> dict[str, Values]:
        """Return the rows that can be found as arrays by name."""
        rows = self._table.rows()
        arrays: dict[str, Values] = {"ids": self._ids[rows], "time_ns": self._time_ns[rows]}
        if self._settled is not None:
            arrays["settled"] = self._settled[rows]
        return arrays | {name: column[rows] for name, column in self._columns.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Values], defaults: Defaults, limit: int, opened_ns: int) -> Generation:
        """Rebuild the generation from :meth:`arrays`; more rows than the limit raise the limit."""
        ids, time_ns = arrays["ids"], arrays["time_ns"]
        if ids.dtype != np.uint64 or ids.shape != (*time_ns.shape, 2) or time_ns.dtype != np.int64:
            raise ValueError("the saved ids and times do not fit each other")
        generation = cls(defaults, max(limit, len(ids)), opened_ns)
        columns = {name: column for name, column in arrays.items() if name not in _RESERVED}
        if len(ids):
            generation.insert(ids, time_ns, hashed(ids), columns)
        if "settled" in arrays:
            generation.settle(np.flatnonzero(arrays["settled"]).astype(np.int32))
        return generation

    def _reserve(self, rows: int) -> None:
        room = len(self._time_ns)
        if rows > room:
            self._resize(min(self.limit, max(rows, 2 * room, self._first_rows)))

    def _resize(self, room: int) -> None:
        if room == len(self._time_ns):
            return
        rows = self._table.rows() if self.superseded else np.arange(self.rows, dtype=np.int32)
        self._ids = self._resized("ids", self._ids, room)
        self._time_ns = self._resized("time_ns", self._time_ns, room)
        if self._settled is not None:
            self._settled = self._resized("settled", self._settled, room)
        for name, column in self._columns.items():
            self._columns[name] = self._resized(name, column, room)
        self._table = SlotTable(room, self._spent.pop("slots", None))
        self._table.insert(self._ids, rows, hashed(self._ids[rows]))

    def _resized(self, name: str, column: Values, room: int) -> Values:
        """Return the rows of a column in an array with room for ``room`` rows."""
        resized = self._empty(name, (room, *column.shape[1:]), column.dtype)
        resized[: self.rows] = column[: self.rows]
        return resized

    def _empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
        """Return room for a column, with undefined content."""
        spent = self._spent.pop(name, None)
        if spent is not None and spent.shape == shape and spent.dtype == dtype:
            return spent
        return np.empty(shape, dtype)


def _fitting(column: Values, values: Values, default: Values) -> Values:
    """Return the column, widened if the values have more columns or do not fit its integers."""
    if column.dtype.kind == "i" and values.dtype.itemsize > column.dtype.itemsize and len(values):
        limits = np.iinfo(column.dtype)
        if values.size and (int(values.max()) > limits.max or int(values.min()) < limits.min):
            column = column.astype(values.dtype)
    if values.ndim > 1 and values.shape[1] > column.shape[1]:
        missing = np.full((len(column), values.shape[1] - column.shape[1]), default, column.dtype)
        column = np.concatenate((column, missing), axis=1)
    return column
