"""An open-addressing hash table of 128-bit ids, probed for a whole batch at a time, compiled or with numpy."""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np

from collector_processor.columns.batch import I32, I64, U64, Mask
from collector_processor.labels import built

LOAD: Final = 0.5
"""Maximum number of rows for each slot: 8 bytes of slots a row, and about two probes for an absent id."""
SCATTERED_PROBES: Final = 24
"""Probes at distances that depend on the id, before the search goes slot by slot, which is sure to end."""

_EMPTY: Final = -1
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_ONE: Final = np.uint64(1)
_P: Final = np.uint64(0x9E3779B97F4A7C15)
_Q: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_SALT: Final = np.frombuffer(secrets.token_bytes(16), np.uint64)
"""Random in each process, so that no sender can choose ids that all fall on one slot. No result depends on it."""


def hashed(ids: U64) -> U64:
    """Return 64 well-mixed bits for each id uint64 ``[n, 2]``; they differ between processes."""
    if built.slots is not None:
        return built.slots.hashed(np.ascontiguousarray(ids), int(_SALT[0]), int(_SALT[1]))
    place = (ids[:, 0] ^ _SALT[0]) * _P
    place ^= place >> _HALF
    place = (place ^ ids[:, 1] ^ _SALT[1]) * _Q
    return place ^ (place >> _HALF)


class SlotTable:
    """Maps ids to rows of an id array that the caller keeps; it has a fixed room for ``rows`` rows.

    ``spent`` are the slots of a table that is no longer used, whose memory is reused if it has the same size.

    Ids are uint64 ``[n, 2]``; they come with their :func:`hashed` bits so that a search of several tables mixes once.
    Nothing is ever removed: a row leaves when it is superseded, or with the whole table.

    >>> ids = np.array([[1, 2], [3, 4], [1, 2]], np.uint64)
    >>> table = SlotTable(3)
    >>> table.insert(ids, np.arange(3, dtype=np.int32), hashed(ids))  # the third row supersedes the first
    1
    >>> wanted = np.array([[1, 2], [5, 6]], np.uint64)
    >>> table.find(ids, wanted, hashed(wanted)).tolist()
    [2, -1]
    """

    def __init__(self, rows: int, spent: I32 | None = None) -> None:
        size = max(16, int(rows / LOAD) + 1)
        self.slots: I32 = spent if spent is not None and len(spent) == size else np.empty(size, np.int32)
        self.slots.fill(_EMPTY)

    @property
    def nbytes(self) -> int:
        """Memory of the slots in bytes."""
        return self.slots.nbytes

    def rows(self) -> I32:
        """Return the rows that can be found, ascending."""
        return np.sort(self.slots[self.slots != _EMPTY])

    def find(self, stored: U64, ids: U64, hashes: U64) -> I32:
        """Return the row of each id, int32 ``[n]``; −1 if absent. ``stored`` ``[rows, 2]`` holds the rows' ids."""
        if built.slots is not None:
            return built.slots.find(self.slots, stored, np.ascontiguousarray(ids), hashes)
        rows = np.full(len(ids), _EMPTY, np.int32)
        probe = _Probe(hashes, len(self.slots))
        while len(probe.index):
            row = self.slots[probe.slot]
            taken = row != _EMPTY
            probe.keep(taken)
            row = row[taken]
            same = _equal(stored, row, ids, probe.index)
            rows[probe.index[same]] = row[same]
            probe.keep(~same)
            probe.advance()
        return rows

    def insert(self, stored: U64, rows: I32, hashes: U64, settled: Mask | None = None) -> int:
        """Add rows of ``stored``, ascending; return how many rows, old or new, can no longer be found as a result.

        Of several rows with one id the greatest stays, unless an earlier one is ``settled`` (bool, by row): then that
        one stays.
        """
        if built.slots is not None:
            return built.slots.insert(
                self.slots, stored, rows, hashes, None if settled is None else settled.view(np.uint8)
            )
        superseded = 0
        probe = _Probe(hashes, len(self.slots))
        while len(rows):
            slot = probe.slot
            empty = self.slots[slot] == _EMPTY
            self.slots[slot[empty]] = rows[empty]  # of rows with equal ids, the last one written is the greatest
            occupant = self.slots[slot]
            same = (occupant != rows) & _equal(stored, occupant, stored, rows)
            if same.any():
                superseded += int(np.count_nonzero(same))
                later = same & (rows > occupant)
                if settled is not None:
                    later &= ~settled[occupant]
                self.slots[slot[later]] = rows[later]
            searching = (occupant != rows) & ~same
            probe.keep(searching)
            rows = rows[searching]
            probe.advance()
        return superseded


class Filter:
    """Rules out most absent ids, by one bit each: with eight bits for each row, one absent id in eight passes.

    >>> present, absent = (np.random.default_rng(seed).integers(0, 2**64, 5000, np.uint64) for seed in (1, 2))
    >>> seen = Filter(present)
    >>> bool(seen.may_hold(present).all()), round(float(seen.may_hold(absent).mean()), 1)
    (True, 0.1)
    """

    def __init__(self, hashes: U64) -> None:
        self._size = np.uint64(max(64, 8 * len(hashes)))
        if built.slots is not None:
            self._bytes = built.slots.filter_of(hashes, int(self._size))
            return
        bits = np.zeros(int(self._size), np.bool_)
        bits[self._bit(hashes)] = True
        self._bytes = np.packbits(bits, bitorder="little")

    @property
    def nbytes(self) -> int:
        """Memory of the bits in bytes."""
        return self._bytes.nbytes

    def may_hold(self, hashes: U64) -> Mask:
        """Return which of the hashes may be present, bool ``[n]``: all that are, and a few that are not."""
        if built.slots is not None:
            return built.slots.may_hold(self._bytes, hashes, int(self._size))
        bit = self._bit(hashes)
        return (self._bytes[bit >> 3] >> (bit & 7).astype(np.uint8) & np.uint8(1)).astype(np.bool_)

    def _bit(self, hashes: U64) -> I64:
        # Uses the low half of the hash, because the table uses the high half.
        return (((hashes & _LOW) * self._size) >> _HALF).astype(np.int64)


class _Probe:
    """The next slot to check for each id still searched: scattered at first, then slot by slot."""

    def __init__(self, hashes: U64, size: int) -> None:
        self.index: I64 = np.arange(len(hashes))
        self._place = hashes
        self._step: U64 = ((self._place * _Q) >> _ONE) | _ONE
        self._size = np.uint64(size)
        self._round = 0
        self.slot = self._slots()

    def _slots(self) -> I64:
        return (((self._place >> _HALF) * self._size) >> _HALF).astype(np.int64)

    def keep(self, kept: Mask) -> None:
        """Continue the search for the kept ids only."""
        self.index, self._place = self.index[kept], self._place[kept]
        self._step, self.slot = self._step[kept], self.slot[kept]

    def advance(self) -> None:
        """Move on to the next slot."""
        self._round += 1
        if self._round > SCATTERED_PROBES:
            self.slot = (self.slot + 1) % int(self._size)
            return
        self._place = self._place + self._step
        self.slot = self._slots()


def _equal(left: U64, left_rows: I32, right: U64, right_rows: I32 | I64) -> Mask:
    """Return which ids are equal, row by row."""
    same = left[left_rows, 0] == right[right_rows, 0]
    same &= left[left_rows, 1] == right[right_rows, 1]
    return same
