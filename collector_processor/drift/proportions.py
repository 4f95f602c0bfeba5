"""What the methods share: proportions of counts, sample sizes, and the size of quadratic distances by chance alone.

Sample sizes are the totals of the counts. Counts that stand for sampled rows (weights above 1) therefore look like
more rows than were seen; the caller that builds a :class:`.method.Comparison` scales them to the rows behind them.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri

from collector_processor.columns.batch import F64
from collector_processor.drift.method import Comparison, Fine

SPARSE = 10.0
"""Expected count of the smaller side below which a bin's counts are far from normal."""


def whole(counts: F64) -> F64:
    """Return ``counts`` without the tiny negative remainders that retracted labels leave behind, ``[F, K]``.

    >>> whole(np.array([[2.0, -1e-17]])).tolist()
    [[2.0, 0.0]]
    """
    return np.maximum(counts, 0.0)


def proportions(counts: F64) -> F64:
    """Return each row's counts as shares of the row, ``[F, K]``; NaN for an empty row.

    >>> proportions(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [nan, nan]]
    """
    kept = whole(counts)
    with np.errstate(invalid="ignore"):
        return kept / kept.sum(axis=1, keepdims=True)


def inverse_sizes(reference: F64, current: F64) -> F64:
    """Return 1/n + 1/m for ``n`` and ``m`` cells on the two sides, ``[F]``: the variance of a difference of two means.

    NaN if a side is empty.

    >>> inverse_sizes(np.array([[50.0, 50.0]]), np.array([[25.0, 0.0]])).round(12).tolist()
    [0.05]
    """
    n, m = whole(reference).sum(axis=1), whole(current).sum(axis=1)
    filled = (n > 0) & (m > 0)
    return np.where(filled, 1.0 / np.where(filled, n, 1.0) + 1.0 / np.where(filled, m, 1.0), np.nan)


def chi_square_quantile(freedom: F64, alpha: float) -> F64:
    """Return the value that χ² with ``freedom`` degrees exceeds with probability ``alpha``, ``[F]``; 0 if freedom is 0.

    >>> chi_square_quantile(np.array([0.0, 9.0, 9.0]), 0.001).round(2).tolist()
    [0.0, 27.88, 27.88]
    """
    distinct, place = np.unique(freedom, return_inverse=True)
    quantiles = np.where(distinct > 0, chdtri(np.maximum(distinct, 1.0), alpha), 0.0)
    return quantiles[place]


def quadratic_noise(comparison: Comparison, alpha: float) -> F64:
    """Return the PSI that chance alone exceeds with probability about ``alpha``, ``[F]``: (1/n + 1/m) · χ²(k − 1 + s).

    ``k`` counts the bins that are not empty on both sides. ``s`` of them are sparse (:data:`SPARSE`): there the
    quadratic approximation fails, simulation shows up to twice the expected contribution, and each counts twice.
    Other quadratic distances are this divided by a constant: base-2 JS² by 8 ln 2, Hellinger² by 8.

    Source: B. Yurdakul and J. Naranjo, "Statistical properties of the population stability index", Journal of Risk
    Model Validation 14(3), 2020 (PSI / (1/n + 1/m) tends to χ² with k − 1 degrees of freedom).

    >>> same = np.full((1, 10), 1000.0)
    >>> quadratic_noise(Comparison("numeric", same, same), 0.001).round(5).tolist()
    [0.00558]
    """
    reference, current = whole(comparison.reference), whole(comparison.current)
    n, m = reference.sum(axis=1, keepdims=True), current.sum(axis=1, keepdims=True)
    pooled = reference + current
    with np.errstate(invalid="ignore"):
        expected = pooled * (np.minimum(n, m) / (n + m))
    filled = pooled > 0
    bins, sparse = filled.sum(axis=1), (filled & (expected < SPARSE)).sum(axis=1)
    freedom = np.where(bins > 1, bins - 1.0 + sparse, 0.0)  # a column with one category cannot differ
    return inverse_sizes(reference, current) * chi_square_quantile(freedom, alpha)


def fine_of(comparison: Comparison, method: str) -> Fine:
    """Return the fine bins, which methods of numeric columns read; raise ``ValueError`` if the comparison has none."""
    if comparison.fine is None:
        raise ValueError(
            f"drift method '{method}' works on numeric columns with fine bins; "
            f"this comparison of {comparison.kind} columns has none"
        )
    return comparison.fine
