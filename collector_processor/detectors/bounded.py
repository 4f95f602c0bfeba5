"""Evidence that the mean of bounded values has moved, from sums that add.

An increment is the logarithm of an e-value: a number whose mean is at most 1 as long as the mean is where it was, so
:func:`.shiryaev_roberts.updated` may add up increments forever and the false alarm rate still holds. There are two:

- values within [0, 1], by count, sum and sum of squares: an empirical Bernstein bound (I. Waudby-Smith and A. Ramdas,
  "Estimating means of bounded random variables by betting", JRSS-B 86(1), 2024). With a bet λ and any centre μ̂ that
  was known before the pane, ``λ (S − n m) − (−ln(1 − λ) − λ) (Q − 2 μ̂ S + n μ̂²)``;
- values that are 0 or 1: the exact likelihood ratio.

Rows that depend on each other make both wrong; divide by :class:`.dependence.Tempering`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.detectors.dependence import Tempering
from collector_processor.detectors.dictionary import Shape

BETS: Final = (0.01, 0.03, 0.1, 0.3)
"""Bets λ, from changes that take thousands of rows to find to those that take a few."""
OF_MEANS: Final = (0.03, 0.1, 0.3, 0.6, 0.9)
"""Bets on means of values that vary less than 0/1 values do, such as squared errors."""
STEPS: Final = (0.01, 0.05, 0.2)
"""How far the alternatives of 0/1 values are from the mean: shares of the way to 1, or to 0."""
TINY: Final = 1e-12
"""The least share that 0/1 values may have: a share of exactly 0 would be refuted by one row."""


def bernstein_increments(
    count: F64, total: F64, squares: F64, low: F64, high: F64, bets: tuple[float, ...] = BETS
) -> F64:
    """Return the log of the e-values against a mean within [``low``, ``high``], ``[C, 2 · bets]``.

    ``count``, ``total`` and ``squares`` ``[C]`` are n, Σ x and Σ x² of values within [0, 1]. The first half are bets
    that the mean is above ``high``, the second that it is below ``low``: with equal limits, a mean that is exactly
    known; else its confidence interval, so that the reference's error does not count as a change. Negative sums, which
    retracted labels leave behind, count as none.

    >>> n, x = np.array([1000.0]), np.array([300.0])  # 0/1 values: 30 % instead of 20 %
    >>> bernstein_increments(n, x, x, np.array([0.2]), np.array([0.2])).round(1).tolist()
    [[1.0, 2.9, 8.8, 17.5, -1.0, -3.1, -11.2, -42.5]]
    """
    n = np.maximum(count, 0.0)
    s = np.clip(total, 0.0, n)
    q = np.clip(squares, 0.0, s)
    up = _one_sided(n, s, q, high, bets)
    down = _one_sided(n, n - s, n - 2.0 * s + q, 1.0 - low, bets)
    return np.concatenate((up, down), axis=1)


def _one_sided(n: F64, s: F64, q: F64, mean: F64, bets: tuple[float, ...]) -> F64:
    around = np.maximum(q - 2.0 * mean * s + n * mean**2, 0.0)
    bet = np.array(bets)
    cost = -np.log1p(-bet) - bet
    return (s - n * mean)[:, None] * bet - around[:, None] * cost


def bernoulli_increments(count: F64, ones: F64, low: F64, high: F64, steps: tuple[float, ...] = STEPS) -> F64:
    """Return the log of the likelihood ratios against a share within [``low``, ``high``], ``[C, 2 · steps]``.

    ``count`` and ``ones`` ``[C]`` are the number of 0/1 values and of ones. The alternatives are shares above ``high``,
    by these steps of the way to 1, then shares below ``low``, by these steps of the way to 0. An e-value against
    ``high`` is one against every lower share, too.

    >>> bernoulli_increments(np.array([1000.0]), np.array([300.0]), np.array([0.2]), np.array([0.2])).round(1).tolist()
    [[4.7, 18.8, 20.1, -1.3, -6.7, -32.8]]
    """
    n = np.maximum(count, 0.0)[:, None]
    k = np.clip(ones[:, None], 0.0, n)
    step = np.array(steps)
    low, high = np.minimum(low, 1.0 - TINY)[:, None], np.maximum(high, TINY)[:, None]
    up, down = high + step * (1.0 - high), low * (1.0 - step)
    above = k * np.log(up / high) + (n - k) * np.log1p(-step)
    below = k * np.log1p(-step) + (n - k) * np.log((1.0 - down) / (1.0 - low))
    return np.concatenate((above, below), axis=1)


def weighted_increments(weight: F64, squares: F64, limit: float, bets: tuple[float, ...]) -> F64:
    """Return the log of the e-values against a mean of at most ``limit``, ``[bets]``, of rows with weights w.

    ``weight`` ``[2]`` is Σ w and Σ w x, ``squares`` ``[3]`` is Σ w², Σ w² x and Σ w² x², of values x within [0, 1]. A
    row counts w / c, c = Σ w² / Σ w, so that equal weights change nothing. The bound needs limit · w ≤ c of each row.

    >>> one = weighted_increments(np.array([1000.0, 300.0]), np.array([1000.0, 300.0, 300.0]), 0.2, BETS)
    >>> one.round(1).tolist()
    [1.0, 2.9, 8.8, 17.5]
    >>> twice = weighted_increments(np.array([2000.0, 600.0]), np.array([4000.0, 1200.0, 1200.0]), 0.2, BETS)
    >>> bool(np.allclose(one, twice))
    True
    """
    if not (weight[0] > 0.0 and squares[0] > 0.0):
        return np.zeros(len(bets))
    scale = squares[0] / weight[0]
    gain = (weight[1] - limit * weight[0]) / scale
    around = max(float(squares[2] - 2.0 * limit * squares[1] + limit**2 * squares[0]), 0.0) / scale**2
    bet = np.array(bets)
    return bet * gain + (np.log1p(-bet) + bet) * around


def mean_limits(count: float, total: float, squares: float, doubt: float) -> tuple[float, float]:
    """Return within which limits a mean is, of n independent values within [0, 1] with these Σ x and Σ x².

    Wrong with a probability of at most ``doubt``: the empirical Bernstein bound of A. Maurer and M. Pontil, "Empirical
    Bernstein bounds and sample-variance penalization", COLT 2009, on both sides.

    >>> [round(limit, 3) for limit in mean_limits(10_000.0, 1000.0, 200.0, 0.01)]
    [0.095, 0.105]
    """
    if count < 2.0:
        return 0.0, 1.0
    mean = min(max(total / count, 0.0), 1.0)
    variance = max(squares / count - mean**2, 0.0) * count / (count - 1.0)
    depth = float(np.log(4.0 / doubt))
    reach = float(np.sqrt(2.0 * variance * depth / count)) + 7.0 * depth / (3.0 * (count - 1.0))
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


@dataclass(frozen=True, slots=True)
class Bets:
    """Bets that the means of ``C`` columns are above ``high``, then that they are below ``low``, ``[C]``.

    With the attributes of :class:`.Dictionary`. ``valid`` and ``share`` ``[C, A]`` say which bets a column has, and 1
    over their number; ``highest`` ``[C, A]`` is the most that a row can add to one.
    """

    low: F64
    high: F64
    highest: F64
    valid: Mask
    share: F64

    @classmethod
    def of(cls, low: F64, high: F64) -> Bets:
        """Return the bets on means that are within these limits as long as nothing changes."""
        one, none = np.ones(len(low)), np.zeros(len(low))
        up, down = (
            bernstein_increments(one, value, value, low, high, OF_MEANS)[:, part]
            for value, part in ((one, slice(None, len(OF_MEANS))), (none, slice(len(OF_MEANS), None)))
        )
        valid = np.repeat(np.stack((high < 1.0, low > 0.0), axis=1), len(OF_MEANS), axis=1)
        share = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
        return cls(low, high, np.concatenate((up, down), axis=1), valid, share)

    def increments(self, cells: F64, tempering: Tempering) -> F64:
        """Return the log of the e-values of a pane, ``[C, A]``; ``cells`` ``[C, 3]`` are n, Σ x and Σ x².

        A row that stands for w is w in each sum. By Jensen's inequality its e-value to the power w / d is one for every
        d ≥ w, so that the divisor of rows that are alike is right for weights, too.
        """
        count, total, squares = cells.T
        found = bernstein_increments(count, total, squares, self.low, self.high, OF_MEANS)
        found -= np.reshape(tempering.excess, (-1, 1)) * np.maximum(self.highest, 0.0)
        return found / np.reshape(tempering.divisor, (-1, 1))

    def shape_of(self, alternative: int) -> tuple[Shape, int | None]:
        """Return whether a bet is that the mean has risen, as the gain of a cell, or fallen."""
        return ("gain" if alternative < len(OF_MEANS) else "loss"), 0
