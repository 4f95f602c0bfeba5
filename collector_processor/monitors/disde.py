"""A change of the mean loss, split into population, concept and unseen cases, from four sums of each cell.

With cells c, shares p and mean losses μ in the reference, and q and ν now, the shared distribution is
s_c ∝ p_c q_c / (p_c + q_c): the cases that both have. Then

    population  Σ (s − p) μ      known cases of which there are more or fewer
    concept     Σ s (ν − μ)      the same cases, with other outcomes
    unseen      Σ (q − s) ν      cases that the reference has few of or none

add up to Σ q ν − Σ p μ, the change of the mean loss.

Source: T. Cai, H. Namkoong, S. Yadlowsky, "Diagnosing Model Performance Under Distribution Shift", Operations Research
2025 (arXiv 2303.02011). Theirs weights rows by a propensity, which is that of the cell here. Standard errors: delta
method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64

TERMS: Final = ("population", "concept", "unseen", "change")
LEAST_OF_CELL: Final = 20.0
"""Rows that are expected in each cell of the smaller side, if it is like the reference. Cells with fewer are joined."""
LEAST_SHARED: Final = 100.0
"""Rows of either side that the cells of both need: a few would stand for all cases that both have."""
_NOTHING: Final = 1e-9
"""Share of all rows below which a count is the rounding error of labels that were taken back."""


@dataclass(frozen=True, slots=True)
class Split:
    """The terms of :data:`TERMS` and their standard errors, ``[4]``.

    ``shared`` ``[C]`` is s, ``moved`` ``[C]`` what each cell adds to the concept term, ``moved_error`` ``[C]`` the
    standard error of that with s as it is; ``joined`` int64 the joined cell of each cell.
    """

    terms: F64
    errors: F64
    shared: F64
    moved: F64
    moved_error: F64
    joined: I64


@dataclass(frozen=True, slots=True)
class _Side:
    """Shares of cells, means and variances of the loss in them ``[C]``, and the number of equal rows."""

    share: F64
    mean: F64
    variance: F64
    rows: float

    @classmethod
    def of(cls, sums: F64, scale: float) -> _Side:
        count, loss, square = sums.T
        filled = count > 0.0
        weights = np.where(filled, count, 1.0)
        mean = np.where(filled, loss / weights, 0.0)
        variance = np.maximum(np.where(filled, square / weights, 0.0) - mean**2, 0.0)
        # Unbiased: cells may be small.
        variance *= np.where(count * scale > 1.0, count * scale / np.maximum(count * scale - 1.0, 1e-9), 1.0)
        return cls(count / count.sum(), mean, variance, float(count.sum()) * scale)

    def variance_of(self, shares: F64, losses: F64) -> float:
        """Return the variance of a figure with these derivatives by share, and by mean loss relative to the share."""
        return float(self.share @ (shares**2 + losses**2 * self.variance) - (self.share @ shares) ** 2) / self.rows


def split(before: F64, after: F64, joined: I64, scales: tuple[float, float] = (1.0, 1.0)) -> Split | None:
    """Return how the mean loss changed from sums ``[C, 3]`` (weight, Σ loss, Σ loss²) to others; None for no rows.

    ``joined`` int64 ``[C]`` is the cell into which each is put (:func:`joined_cells`). ``scales`` are the rows behind a
    unit of weight.

    >>> then, now = np.array([[50.0, 5, 5], [50, 10, 10]]), np.array([[20.0, 2, 2], [80, 20, 20]])
    >>> split(then, now, np.arange(2)).terms.round(4).tolist()
    [0.0183, 0.0341, 0.0176, 0.07]
    """
    sides: list[_Side] = []
    for sums, scale in zip((before, after), scales, strict=True):
        together: F64 = np.stack([np.bincount(joined, column) for column in sums.T], axis=1).astype(np.float64)
        together[together[:, 0] <= _NOTHING * max(float(sums[:, 0].sum()), 0.0)] = 0.0
        if not together[:, 0].sum() > 0.0:
            return None
        sides.append(_Side.of(together, scale))
    old, new = sides
    p, q, mu, nu = old.share, new.share, old.mean, new.mean
    both = np.where(p + q > 0.0, p + q, 1.0)
    overlap = p * q / both
    total = float(overlap.sum())
    shared = overlap > 0.0
    if min(float(p[shared].sum()) * old.rows, float(q[shared].sum()) * new.rows) < LEAST_SHARED * (1.0 - _NOTHING):
        return _disjoint(old, new, joined)
    s = overlap / total
    known, current = float(s @ mu), float(s @ nu)
    was, now = float(p @ mu), float(q @ nu)
    terms = np.array([known - was, current - known, now - current, now - was])
    # Derivatives of s·μ and s·ν by p and by q, and by the means, divided by the share that these are means of.
    by_p, by_q = (q / both) ** 2 / total, (p / both) ** 2 / total
    mu_moves, nu_moves = mu - known, nu - current
    ratio_p = np.divide(s, p, out=np.zeros_like(s), where=p > 0.0)
    ratio_q = np.divide(s, q, out=np.zeros_like(s), where=q > 0.0)
    errors = np.sqrt(
        np.maximum(
            [
                old.variance_of(by_p * mu_moves - mu, ratio_p - 1.0) + new.variance_of(by_q * mu_moves, 0.0 * s),
                old.variance_of(by_p * (nu_moves - mu_moves), -ratio_p)
                + new.variance_of(by_q * (nu_moves - mu_moves), ratio_q),
                old.variance_of(-by_p * nu_moves, 0.0 * s) + new.variance_of(nu - by_q * nu_moves, 1.0 - ratio_q),
                old.variance_of(-mu, -np.ones_like(s)) + new.variance_of(nu, np.ones_like(s)),
            ],
            0.0,
        )
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        each = s * np.sqrt(old.variance / (p * old.rows) + new.variance / (q * new.rows))
    return Split(terms, errors, s, s * (nu - mu), np.where(s > 0.0, each, np.inf), joined)


def _disjoint(old: _Side, new: _Side, joined: I64) -> Split:
    """Return the parts of a change between rows with hardly a cell in common: all of it is of unseen cases."""
    none = np.zeros_like(old.share)
    change = float(new.share @ new.mean - old.share @ old.mean)
    error = (old.variance_of(old.mean, none + 1.0) + new.variance_of(new.mean, none + 1.0)) ** 0.5
    return Split(
        np.array([0.0, 0.0, change, change]), np.array([0.0, 0.0, error, error]), none, none, none + np.inf, joined
    )


def joined_cells(reference: F64, rows: float, ranges: int) -> I64:
    """Return for each cell, int64 ``[C]``, the number of the joined cell that it belongs to.

    ``reference`` ``[C]`` is the weight of each cell in the reference, of which ``rows`` are drawn. Neighboring ranges
    of a leaf are joined until :data:`LEAST_OF_CELL` rows are expected in each, and leaves with fewer than that are
    joined with the next one. Which cells are joined does not depend on what came. The cells of the last leaf, which the
    reference has no rows in, are one.

    >>> joined_cells(np.array([50.0, 10, 10, 30, 0, 0]), 100, 2).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    total = float(reference.sum())
    expected = np.maximum(reference, 0.0) * (rows / total if total > 0.0 else 0.0)
    last = len(reference) - ranges
    joined = np.zeros(len(reference), np.int64)
    number, held = 0, 0.0
    start = 0
    for first in range(0, last, ranges):
        begun = number
        for cell in range(first, first + ranges):
            held += expected[cell]
            if held >= LEAST_OF_CELL:
                joined[start : cell + 1] = number
                number, held, start = number + 1, 0.0, cell + 1
        if number > begun:  # what remains of this leaf belongs to its last cell
            joined[start : first + ranges] = number - 1
            held, start = 0.0, first + ranges
    if start < last:
        joined[start:last] = max(number - 1, 0)
    joined[last:] = joined[:last].max(initial=-1) + 1
    return joined
