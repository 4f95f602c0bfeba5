"""A bounded store of rows with 128-bit ids: generations, as in a log-structured tree, that leave as a whole.

Rows go into the newest generation. It is closed at an eighth of the capacity or of the wait, and the oldest is dropped
as soon as the store exceeds its capacity, or the generation's newest row has waited long enough. So no row is ever
moved or removed alone, at the cost that a row leaves up to an eighth early (capacity) or late (wait).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import I32, I64, U64, Mask
from collector_processor.labels.generation import FIRST_ROWS, Defaults, Generation, Values
from collector_processor.labels.slot_table import hashed

PARTS: Final = 8
"""Generations into which the capacity and the wait are cut."""
MOST_GENERATIONS: Final = 4 * PARTS
"""From this number on, only a full generation is closed, so that wild event times cannot make the look-up slow."""


class Dropped(NamedTuple):
    """The number of rows that left together: those still waiting, and those that were settled."""

    waiting: int = 0
    settled: int = 0

    def plus(self, other: Dropped) -> Dropped:
        """Return the sum of both."""
        return Dropped(self.waiting + other.waiting, self.settled + other.settled)


class Places:
    """The places of the rows of ``n`` ids, valid until the next insert or expiry: int32 ``[n]`` each, −1 if absent."""

    __slots__ = ("_parts", "generation", "row")

    def __init__(self, generation: I32, row: I32) -> None:
        self.generation = generation
        self.row = row
        self._parts: list[tuple[int, I64, I32]] | None = None

    def hits(self) -> Mask:
        """Return which ids have a row, bool ``[n]``."""
        return self.generation >= 0

    def take(self, which: I64 | Mask) -> Places:
        """Return the places of some of the ids."""
        return Places(self.generation[which], self.row[which])

    def parts(self) -> list[tuple[int, I64, I32]]:
        """Return places that are all hits, by generation: its position, which of the ids are in it, and their rows."""
        if self._parts is None:
            order = np.argsort(self.generation, kind="stable")
            ordered = self.generation[order]
            first = np.flatnonzero(np.append([True], ordered[1:] != ordered[:-1]))
            self._parts = [
                (int(self.generation[which[0]]), which, self.row[which])
                for which in np.split(order, first[1:])
                if len(which)
            ]
        return self._parts


class Generations:
    """The store. ``defaults`` names its columns; ``len`` is the number of rows in memory, including superseded ones.

    Rows wait ``wait_ns`` in event time: the clock of :meth:`expire` is at the newest row's time, and continues from
    there while nothing comes, so that history replayed at any speed waits as long as live traffic.
    """

    def __init__(self, defaults: Defaults, *, capacity: int, wait_ns: int) -> None:
        if capacity < 1 or wait_ns < 1:
            raise ValueError(f"capacity ({capacity}) and wait ({wait_ns} ns) must be at least 1")
        self.capacity = capacity
        self.wait_ns = wait_ns
        self._defaults = {**defaults, "time_ns": np.array(0, np.int64), "ids": np.array(0, np.uint64)}
        self._generations: list[Generation] = []  # oldest first
        self._newest_ns = np.iinfo(np.int64).min
        self._behind_ns: int | None = None  # how far event time lags the clock; None until expire() is called

    def __len__(self) -> int:
        return sum(generation.rows for generation in self._generations)

    @property
    def waiting(self) -> int:
        """Rows that can be found and are not settled."""
        return sum(generation.waiting for generation in self._generations)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(generation.nbytes for generation in self._generations)

    @property
    def oldest_ns(self) -> int | None:
        """Time of the newest row of the oldest generation; None when empty. The store with the smallest one evicts."""
        return self._generations[0].newest_ns if self._generations else None

    def insert(self, ids: U64, time_ns: I64, values: Mapping[str, Values]) -> Dropped:
        """Add rows and return what was evicted for lack of capacity.

        ``ids`` uint64 ``[n, 2]``, ``time_ns`` int64 ``[n]``; ``values`` by column name, ``[n]`` or ``[n, k]``.
        """
        dropped, hashes, start = Dropped(), hashed(ids), 0
        if len(ids):
            self._newest_ns = max(self._newest_ns, int(time_ns.max()))
            self._behind_ns = None
        while start < len(ids):
            generation = self._open()
            rows = slice(start, start + generation.room)
            while len(self._generations) > 1 and len(self) + min(generation.room, len(ids) - start) > self.capacity:
                # Before the rows are added, because they may reuse its memory.
                generation.take_over(self._generations[0])
                dropped = dropped.plus(self.evict_oldest())
            generation.insert(ids[rows], time_ns[rows], hashes[rows], {name: v[rows] for name, v in values.items()})
            start = rows.stop
            while len(self) > self.capacity:
                dropped = dropped.plus(self.evict_oldest())
        return dropped

    def find(self, ids: U64) -> Places:
        """Return the row of each id: the settled one, else the newest."""
        places = Places(np.full(len(ids), -1, np.int32), np.full(len(ids), -1, np.int32))
        wanted, hashes = np.arange(len(ids)), hashed(ids)
        for position in range(len(self._generations) - 1, -1, -1):
            generation = self._generations[position]
            row = generation.find(ids, hashes)
            hit = row >= 0
            if not hit.any():
                continue
            final = np.zeros(len(ids), np.bool_)
            final[hit] = generation.settled(row[hit])
            better = hit & (final | (places.row[wanted] < 0))
            places.generation[wanted[better]] = position
            places.row[wanted[better]] = row[better]
            if final.any():
                ids, hashes, wanted = ids[~final], hashes[~final], wanted[~final]
        return places

    def take(self, name: str, places: Places, width: int | None = None) -> Values:
        """Return a column's values at places that are hits: ``[n]``, or ``[n, width]`` for a two-dimensional column."""
        default = self._defaults[name]
        values = np.full(len(places.row) if width is None else (len(places.row), width), default)
        for position, which, rows in places.parts():
            part = self._generations[position].take(name, rows)
            values = values.astype(np.promote_types(values.dtype, part.dtype), copy=False)
            if part.ndim == 1:
                values[which] = part if width is None else part[:, None]
            else:
                values[which, : part.shape[1]] = part[:, :width]
        return values

    def put(self, name: str, places: Places, values: Values) -> None:
        """Set a column's values at places that are hits."""
        for position, which, rows in places.parts():
            self._generations[position].put(name, rows, values[which])

    def settled(self, places: Places) -> Mask:
        """Return which of the places, all hits, are settled, bool ``[n]``."""
        settled = np.zeros(len(places.row), np.bool_)
        for position, which, rows in places.parts():
            settled[which] = self._generations[position].settled(rows)
        return settled

    def settle(self, places: Places) -> None:
        """Settle places that are hits: later rows with their ids do not supersede them."""
        for position, _, rows in places.parts():
            self._generations[position].settle(rows)

    def expire(self, now_ns: int) -> Dropped:
        """Drop the generations that have waited long enough at ``now_ns`` (Unix nanoseconds)."""
        if not self._generations:
            return Dropped()
        if self._behind_ns is None:
            self._behind_ns = max(0, now_ns - self._newest_ns)
        dropped = Dropped()
        kept: list[Generation] = []
        for generation in self._generations:
            # What is already here is not from the future, whatever a wrong clock says.
            generation.newest_ns = min(generation.newest_ns, now_ns)
            if generation.newest_ns < now_ns - self._behind_ns - self.wait_ns:
                dropped = dropped.plus(Dropped(generation.waiting, generation.settled_rows))
            else:
                kept.append(generation)
        self._generations = kept
        return dropped

    def evict_oldest(self) -> Dropped:
        """Drop the oldest generation."""
        oldest = self._generations.pop(0)
        return Dropped(oldest.waiting, oldest.settled_rows)

    def arrays(self) -> dict[str, Values]:
        """Return all rows that can be found as arrays by name, for a snapshot; independent copies."""
        arrays: dict[str, Values] = {}
        for position, generation in enumerate(self._generations):
            arrays[f"{position}.opened_ns"] = np.array(generation.opened_ns, np.int64)
            arrays |= {f"{position}.{name}": values for name, values in generation.arrays().items()}
        return arrays

    def load(self, arrays: Mapping[str, Values]) -> Dropped:
        """Fill an empty store from :meth:`arrays`; return what no longer fits into a smaller capacity."""
        position = 0
        while f"{position}.ids" in arrays:
            prefix = f"{position}."
            part = {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}
            opened_ns = int(part.pop("opened_ns"))
            generation = Generation.from_arrays(part, self._defaults, self._limit, opened_ns)
            if self._generations:
                self._generations[-1].close()
            if generation.rows:
                self._generations.append(generation)
                self._newest_ns = max(self._newest_ns, generation.newest_ns)
            position += 1
        dropped = Dropped()
        while len(self) > self.capacity:
            dropped = dropped.plus(self.evict_oldest())
        return dropped

    @property
    def _limit(self) -> int:
        return max(1, self.capacity // PARTS)

    def _open(self) -> Generation:
        """Return the generation that takes rows; open a new one if necessary."""
        first_rows = FIRST_ROWS
        if self._generations:
            newest = self._generations[-1]
            few = len(self._generations) < MOST_GENERATIONS
            if newest.room and not (few and self._newest_ns - newest.opened_ns > self.wait_ns // PARTS):
                return newest
            if not newest.room:  # the next one will be full too: reserving all its room at once saves moving its rows
                first_rows = self._limit
            newest.close()
        generation = Generation(self._defaults, self._limit, self._newest_ns, first_rows=first_rows)
        self._generations.append(generation)
        return generation
