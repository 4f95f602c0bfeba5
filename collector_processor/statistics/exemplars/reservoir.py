"""A reservoir of traces: one for each cell, the same whatever the order of the rows and however they were split.

Each row has a key, the hash of its prediction id. A cell keeps the trace of the row with the smallest key, so the
reservoir of two halves put together is that of the whole. Looking at every row would cost as much as counting it, so
rows with larger keys are left out as more rows come: of ``n`` rows, those with keys below 2⁶⁴ ⁻ ˡ are looked at, where
the level ``l`` is the smallest that leaves at most :data:`ROWS`. The level follows from how many keys are below each
power of two, which are counts that add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I64, U64

ROWS: Final = 512
"""Most rows of a pane that are looked at. A cell with 1 row in 75 is among half of them in 97 of 100 panes."""
KEY_BITS: Final = 64
ENTRY: Final = 4
"""Words of an entry: key, both halves of the trace id, span id."""
Codes = NDArray[np.uint32]
NO_CELL: Final = np.uint32(2**32 - 1)
_LARGEST: Final = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class Reservoir:
    """``m`` cells with the trace of one row each; never changed in place.

    - ``below`` int64 ``[65]``: how many rows had a key below 2⁶⁴ ⁻ ˡ, from the current level on; more than ROWS before.
    - ``entries`` uint64 ``[u, 4]``: the traces that a cell has, by ascending key.
    - ``cells`` uint32 ``[m]``, ascending, and ``owners`` uint16 ``[m]``, positions in ``entries``.
    """

    below: I64
    entries: U64
    cells: Codes
    owners: NDArray[np.uint16]

    @classmethod
    def empty(cls) -> Reservoir:
        """Return a reservoir of no rows."""
        return _EMPTY

    @property
    def nbytes(self) -> int:
        """Bytes held; those of an empty one are shared."""
        if not self.below[0]:
            return 0
        return self.below.nbytes + self.entries.nbytes + self.cells.nbytes + self.owners.nbytes

    @property
    def level(self) -> int:
        """How often the share of rows that are looked at was halved."""
        return _level(self.below)

    def with_rows(self, entries: U64, cells: Codes, below: I64) -> Reservoir:
        """Return the reservoir with ``k`` more rows, uint64 ``[k, 4]``, and their cells ``[c, k]``, some NO_CELL.

        These are the rows to look at, and ``below`` is what :func:`look` returned with them.
        """
        # Nearly all rows have a larger key than those that their cells have already.
        better = (cells != NO_CELL) & (entries[:, 0] <= self._keys(cells))
        used = np.flatnonzero(better.any(axis=0))
        columns, rows = np.nonzero(better[:, used])
        return self._with(below, entries[used], cells[columns, used[rows]], rows)

    def _keys(self, cells: Codes) -> U64:
        """Return the keys of cells; the largest for one without."""
        if not len(self.cells):
            return np.full(cells.shape, _LARGEST)
        at = np.minimum(np.searchsorted(self.cells, cells), len(self.cells) - 1)
        return np.where(self.cells[at] == cells, self.entries[self.owners[at], 0], _LARGEST)

    def merged(self, other: Reservoir) -> Reservoir:
        """Return the reservoir of the rows of both."""
        if not other.below[0]:
            return self
        if not self.below[0]:
            return other
        below = self.below + other.below
        level = _level(below)
        below[:level] = ROWS + 1
        return self._with(below, other.entries, other.cells, other.owners.astype(np.int64))

    def without(self, entries: U64, cells: Codes) -> Reservoir:
        """Return the reservoir in which cells that have one of these entries are empty: ``entries`` ``[k, 4]``, and
        ``cells`` ``[c, k]`` as in :meth:`with_rows`.
        """
        at = np.searchsorted(self.cells, cells).clip(max=max(len(self.cells) - 1, 0))
        if not len(self.cells):
            return self
        same = (self.cells[at] == cells) & (self.entries[self.owners[at]] == entries).all(axis=2)
        kept = np.ones(len(self.cells), np.bool_)
        kept[at[same]] = False
        return self if kept.all() else _packed(self.below, self.entries, self.cells[kept], self.owners[kept])

    def find(self, cells: Codes | list[int]) -> list[tuple[int, int, int]]:
        """Return the traces of these cells in order, each once: halves of the trace id, span id."""
        if not len(self.cells):
            return []
        wanted = np.asarray(cells, np.uint32)
        at = np.searchsorted(self.cells, wanted).clip(max=len(self.cells) - 1)
        rows = self.entries[self.owners[at[self.cells[at] == wanted]], 1:].tolist()
        return [(high, low, span) for high, low, span in dict.fromkeys(map(tuple, rows))]

    def _with(self, below: I64, entries: U64, cells: Codes, owners: I64) -> Reservoir:
        """Return the reservoir with more rows, some of which have entries, and the cells that those have."""
        level = _level(below)
        if not len(entries) and level == self.level:
            return Reservoir(below, self.entries, self.cells, self.owners)
        every = np.concatenate((self.entries, entries))
        order = _order(every)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        every = every[order]
        kept = len(every)
        if level:
            kept = int(np.searchsorted(every[:, 0], np.uint64(1 << (KEY_BITS - level)))) if level <= KEY_BITS else 0
        # The cell in the upper half and the owner in the lower: the first of each cell is its smallest owner.
        all_owners = np.concatenate((rank[self.owners], rank[len(self.entries) + owners]))
        joined = np.concatenate((self.cells, cells)).astype(np.uint64) << np.uint64(32) | all_owners.astype(np.uint64)
        if kept < len(every):
            joined = joined[all_owners < kept]
        joined.sort()
        cell = (joined >> np.uint64(32)).astype(np.uint32)
        first = np.ones(len(cell), np.bool_)
        first[1:] = cell[1:] != cell[:-1]
        return _packed(below, every, cell[first], joined[first] & np.uint64(2**32 - 1))


def _order(entries: U64) -> I64:
    """Return the ascending order of entries."""
    order = np.argsort(entries[:, 0], kind="stable")
    ordered = entries[order, 0]
    return np.lexsort(entries.T[::-1]) if (ordered[1:] == ordered[:-1]).any() else order


def _packed(below: I64, entries: U64, cells: Codes, owners: NDArray[Any]) -> Reservoir:
    """Return a reservoir with only the entries that a cell has, each once."""
    owners = owners.astype(np.int64)
    used = np.zeros(len(entries), np.bool_)
    used[owners] = True
    # The same trace, of the same prediction, that came twice.
    fresh = np.ones(len(entries), np.bool_)
    fresh[1:] = (entries[1:] != entries[:-1]).any(axis=1)
    first = np.maximum.accumulate(np.where(fresh, np.arange(len(entries)), 0))
    kept = np.zeros(len(entries), np.bool_)
    kept[first[used]] = True
    places = (np.cumsum(kept) - 1)[first]
    return Reservoir(below, entries[kept], cells, places[owners].astype(np.uint16))


def may_look(below: I64, keys: U64) -> I64:
    """Return the positions of the keys among which :func:`look` chooses, given the rows that came before."""
    return _under(_level(below), keys)


def look(below: I64, keys: U64) -> tuple[I64, I64]:
    """Return the positions of the keys whose rows have to be looked at, and ``below`` (:class:`Reservoir`) with them.

    ``below`` is that of the rows that came before.
    """
    level = _level(below)
    rows = _under(level, keys)
    while level <= KEY_BITS and below[level] + len(rows) > ROWS:
        level += 1
        rows = rows[_under(level, keys[rows])]
    below = below + _below(keys[rows])
    below[:level] = ROWS + 1
    return rows, below


def _under(level: int, keys: U64) -> I64:
    """Return the positions of the keys of a level."""
    if not level:
        return np.arange(len(keys))
    return np.flatnonzero(keys >> np.uint64(KEY_BITS - level) == 0) if level <= KEY_BITS else np.zeros(0, np.int64)


def _level(below: I64) -> int:
    """Return the smallest level at which few enough rows are looked at; one more than the last if there is none."""
    few = np.flatnonzero(below <= ROWS)
    return int(few[0]) if len(few) else KEY_BITS + 1


def _below(keys: U64) -> I64:
    """Return how many keys are below 2⁶⁴ ⁻ ˡ for every level, ``[65]``."""
    return np.searchsorted(np.sort(keys), _BOUNDS, side="left").astype(np.int64) + _UNBOUNDED * len(keys)


_BOUNDS: Final = np.array([0, *(1 << (KEY_BITS - level) for level in range(1, KEY_BITS)), 1], np.uint64)
_UNBOUNDED: Final = np.array([1, *([0] * KEY_BITS)], np.int64)
_EMPTY: Final = Reservoir(
    np.zeros(KEY_BITS + 1, np.int64), np.zeros((0, ENTRY), np.uint64), np.zeros(0, np.uint32), np.zeros(0, np.uint16)
)
