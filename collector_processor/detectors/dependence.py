"""Rows that are not independent, such as those of one call, and rows that stand for several.

The rows of a call may all be alike, and then ten of them are no more evidence than one. With rows that count w each in
blocks of at most d together, whatever their dependence, Hölder's inequality says that the e-value to the power 1/d is
one, too: log e is divided by d. A few blocks larger than d cost what they could add at most: their weight beyond d, as
if all of it were in the cell that speaks loudest. So one large call among many small ones does not blind a detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64

_LOUDEST: Final = 30.0
"""The largest log ratio of a typical alternative, in mean log ratios of a row under it. It decides only which d is
best, not what is valid."""
_CLEAR: Final = 2.5
"""A column shows how dependent its rows are if equal rows would be this many times beyond what chance explains."""


@dataclass(frozen=True, slots=True)
class Tempering:
    """What a log e-value of counts is divided by, and how much weight counts as if it were in the loudest cell.

    Numbers for all columns, or arrays with one for each, ``[C]``.
    """

    divisor: F64 | float = 1.0
    excess: F64 | float = 0.0

    def toward(self, other: Tempering, share: F64) -> Tempering:
        """Return, for each column, a tempering between this one (share 0) and another (share 1)."""
        return Tempering(
            self.divisor + (other.divisor - self.divisor) * share, self.excess + (other.excess - self.excess) * share
        )


def tempering(weights: F64, sizes: F64, least: float = 1.0) -> Tempering:
    """Return the tempering for rows of this total weight, ``[S]``, in blocks of these sizes (weight), ``[S]``.

    ``least`` is the weight that rows of several blocks have together, such as those of one customer.

    >>> sizes = np.array([1.0, 10.0, 500.0])
    >>> tempering(np.array([1000.0, 0.0, 0.0]), sizes), tempering(np.array([0.0, 1000.0, 0.0]), sizes)
    (Tempering(divisor=1.0, excess=0.0), Tempering(divisor=10.0, excess=0.0))
    >>> tempering(np.array([1000.0, 10.0, 0.0]), sizes)
    Tempering(divisor=1.0, excess=9.0)
    """
    used = weights > 0.0
    if not used.any():
        return Tempering(max(least, 1.0))
    weights, sizes = weights[used], np.maximum(sizes[used], least)
    # The weight beyond each size d of all larger blocks: a block of size s has the part 1 - d/s beyond it.
    excess = weights @ np.maximum(1.0 - sizes[None, :] / sizes[:, None], 0.0)
    best = int(np.argmax((weights.sum() - _LOUDEST * excess) / sizes))
    return Tempering(float(sizes[best]), float(excess[best]))


def design_effect(weights: F64, sizes: F64) -> float:
    """Return how many rows count as one independent row, if rows of a block are all alike: Σ w·size / Σ w.

    >>> design_effect(np.array([50.0, 50.0]), np.array([1.0, 10.0]))
    5.5
    """
    total = float(weights.sum())
    return float(weights @ sizes) / total if total > 0.0 else 1.0


def alike_share(pairs: F64, alike: F64, chance: F64) -> F64:
    """Return how far the rows of a block depend on each other, ``[C]``: 0 not at all, 1 all are alike.

    ``pairs`` and ``alike`` ``[C]`` are pairs of rows of one block and how many of them were in the same cell;
    ``chance`` is the share that would be if they were independent. The share is twice the correlation, to be on the
    safe side, and 0 if chance explains it. A column that shows too little, such as one that is nearly constant, is as
    dependent as the most dependent one that shows it; if none does, rows are taken to be alike.

    >>> pairs, chance = np.full(4, 100.0), np.array([0.1, 0.1, 0.1, 0.999])
    >>> alike_share(pairs, np.array([100.0, 12.0, 28.0, 100.0]), chance).round(2).tolist()
    [1.0, 0.0, 0.4, 1.0]
    """
    room = pairs * (1.0 - chance)
    extra = alike - pairs * chance
    by_chance = 2.5 * np.sqrt(np.maximum(room * chance, 0.0)) + 0.5
    share = np.where(extra > by_chance, np.clip(2.0 * extra / np.maximum(room, 1e-9), 0.0, 1.0), 0.0)
    known = room >= _CLEAR * by_chance
    return np.where(known, share, share[known].max() if known.any() else 1.0)
