"""The distinct values of a reference column, and the places between them where an edge may lie.

An edge on a value would split equal numbers: 0.7 as float32 is a little less than 0.7 as float64, and a decimal, or a
time in another unit, may differ in its last digit. So an edge lies in a gap between two values, at its middle or at
least as far from either as rounding reaches in the coarsest type in which the two values differ: 2⁻¹⁰ of the value
for float16, 2⁻²² for float32, a few digits of float64.

Neighboring floats are one value: they differ by the rounding of an earlier calculation (0.1 + 0.2 and 0.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask

LARGEST: Final = float(np.finfo(np.float64).max)
SINGLE: Final = 2.0**-22
"""How far, as a share of a number, rounding it to float32 reaches, with room to spare."""
_DOUBLE: Final = 2.0**-50
"""The same for arithmetic in float64."""
_HALF: Final = 2.0**-10
"""The same for float16."""
_LARGEST_HALF: Final = 65504.0
_SAME: Final = 2.0**-51
_MOST: Final = 2.0**-49
"""Floats nearer to each other than this part of them are one value, if together they span at most the second part."""

Places = I64 | Sequence[int]
"""Positions of values."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct values in ascending order: the smallest and largest float of each ``[V]``, and its weight.

    Edges are the beginning of their bin: an edge at a value belongs to that value.
    """

    first: F64
    last: F64
    weight: F64
    half: bool

    @classmethod
    def of(cls, ordered: F64, mass: F64 | None, *, half: bool) -> Distinct:
        """Return the distinct values among sorted finite ones; ``mass`` None means a weight of 1 each.

        >>> Distinct.of(np.array([0.1, 0.3, 0.1 + 0.2]), None, half=True).weight.tolist()
        [1.0, 2.0]
        """
        new = _is_new(ordered)
        if mass is None and new.all():
            return cls(ordered + 0.0, ordered + 0.0, np.ones(len(ordered)), half)
        first = np.flatnonzero(np.concatenate(([True], new)))
        ends = np.append(first[1:], len(ordered))
        weight = (ends - first).astype(np.float64) if mass is None else np.add.reduceat(mass, first)
        return cls(ordered[first] + 0.0, ordered[ends - 1] + 0.0, weight, half)

    def deviation(self) -> float:
        """Return ∫ min(F, 1 − F) dx, the mean distance from the median, 0 if it is not finite."""
        share = np.cumsum(self.weight)[:-1] / self.weight.sum()
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(((self.first[1:] - self.last[:-1]) * np.minimum(share, 1.0 - share)).sum())
        return total if np.isfinite(total) else 0.0

    def below(self, places: Places) -> F64:
        """Return the middle of the gap below each value, or :meth:`tight_below` for the first."""
        at = np.asarray(places, np.int64)
        middle = self.last[at - 1] / 2.0 + self.first[at] / 2.0
        return np.where(at == 0, self.tight_below(at), _within(self.last[at - 1], middle, self.first[at]))

    def tight_below(self, places: Places, most: float = np.inf) -> F64:
        """Return the edge as near below each value as rounding allows, that to float16 only up to ``most``."""
        at = np.asarray(places, np.int64)
        with np.errstate(over="ignore"):
            edge = self.first[at] - self._margin(self.first[at], self._gap(at - 1), most)
        floor = np.where(at == 0, -LARGEST, above(self.last[at - 1]))
        return np.minimum(np.maximum(edge, floor), self.first[at])

    def tight_above(self, places: Places, most: float = np.inf) -> F64:
        """Return the edge as near above each value; infinite above the largest of all floats."""
        at = np.asarray(places, np.int64) % len(self.first)
        following = np.where(at + 1 < len(self.first), np.take(self.first, at + 1, mode="clip"), np.inf)
        with np.errstate(over="ignore"):
            edge = self.last[at] + self._margin(self.last[at], self._gap(at), most)
        return _within(self.last[at], edge, following)

    def near(self, targets: F64, most: float = np.inf) -> F64:
        """Return the edge nearest to each target within the range: a target on a value gives the edge below it."""
        at = np.clip(np.searchsorted(self.first, targets, "right") - 1, 0, len(self.first) - 1)
        following = np.minimum(at + 1, len(self.first) - 1)
        low, high = self.tight_above(at, most), self.tight_below(following, most)
        between = np.where(low < high, np.clip(targets, low, np.maximum(low, high)), self.below(following))
        return np.where((targets <= self.last[at]) | (at == following), self.below(at), between)

    def _gap(self, at: I64) -> F64:
        """Return the width of the gap above each value, of the nearest gap at both ends; infinite for a lone value."""
        if len(self.first) == 1:
            return np.full(at.shape, np.inf)
        at = np.clip(at, 0, len(self.first) - 2)
        with np.errstate(over="ignore"):
            return self.first[at + 1] - self.last[at]

    def _margin(self, values: F64, gap: F64, most: float) -> F64:
        """Return how far an edge stays from values with a gap beside them."""
        size = np.abs(values)
        reach = size * np.where(size * SINGLE <= gap, SINGLE, _DOUBLE)
        if self.half:
            told_apart = (size <= _LARGEST_HALF) & (size * _HALF <= np.minimum(gap, most))
            reach = np.where(told_apart, size * _HALF, reach)
        return np.minimum(reach, gap / 2.0)


def above(values: F64) -> F64:
    """Return the next float above each value."""
    with np.errstate(over="ignore"):
        return np.nextafter(values, np.inf)


def _within(low: F64, edge: F64, high: F64) -> F64:
    """Return the edge, moved above ``low`` and not above ``high``: between neighbors, rounding may put it on one."""
    return np.minimum(np.maximum(edge, above(low)), high)


def _is_new(ordered: F64) -> Mask:
    """Return which of the sorted values after the first are another value than the one before."""
    with np.errstate(over="ignore"):
        step = ordered[1:] - ordered[:-1]
    new = step > 0.0
    near = new & (step < np.abs(ordered[1:]) * _SAME)
    if not near.any():
        return new
    apart = new & ~near
    first = np.flatnonzero(np.concatenate(([True], apart)))
    ends = np.append(first[1:], len(ordered))
    wide = ordered[ends - 1] - ordered[first] > np.abs(ordered[ends - 1]) * _MOST
    return apart | (new & np.repeat(wide, ends - first)[1:])
