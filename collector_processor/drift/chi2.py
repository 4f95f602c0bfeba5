"""Pearson's χ² test of homogeneity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc, gammainccinv

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import whole

LEAST_EXPECTED = 5.0
"""Bins with a smaller expected count on the smaller side count as one bin (W. Cochran, Biometrics 10, 1954)."""
PLENTY = 100.0
"""Expected count of every bin from which the statistic is simply χ²."""
CAUTION = 0.15
"""Largest share by which the variance of the statistic is enlarged, because the tail of few counts is uneven."""


def merge_rare(reference: F64, current: F64) -> tuple[F64, F64]:
    """Return both counts ``[F, K]`` as ``[F, K + 1]``: rare bins are empty, and the last bin holds all of them.

    A bin is rare if its expected count on the smaller side, given both sides together, is below
    :data:`LEAST_EXPECTED`. That depends on the sums of both sides only, so that it favors neither.

    >>> merge_rare(np.array([[90.0, 4.0, 6.0]]), np.array([[95.0, 2.0, 3.0]]))[0].tolist()
    [[90.0, 0.0, 0.0, 10.0]]
    """
    r, c = whole(reference), whole(current)
    n, m = r.sum(axis=1, keepdims=True), c.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        rare = (r + c) * (np.minimum(n, m) / (n + m)) < LEAST_EXPECTED
    sides = [
        np.concatenate((np.where(rare, 0.0, side), np.where(rare, side, 0.0).sum(axis=1, keepdims=True)), axis=1)
        for side in (r, c)
    ]
    return sides[0], sides[1]


def chi_square(reference: F64, current: F64) -> F64:
    """Return Σ (observed − expected)² / expected of the two-row table of counts ``[F, K]``; ``[F]``, NaN for no counts.

    Bins that are empty on both sides are left out; no Yates correction. Symmetric. The statistic grows with the sample,
    so judge it by its p-value. With ``n`` and ``m`` cells it is Σ (m·r − n·c)² / (n·m·(r + c)).

    Source: K. Pearson, Philosophical Magazine 50, 1900; equals ``scipy.stats.chi2_contingency(correction=False)``.

    >>> chi_square(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(3).tolist()
    [19.78]
    """
    r, c = whole(reference), whole(current)
    n, m = r.sum(axis=1, keepdims=True), c.sum(axis=1, keepdims=True)
    pooled = r + c
    with np.errstate(invalid="ignore"):
        gap = r / n - c / m
        scale = n * (m / (n + m))
        terms = np.divide(gap * gap, pooled, out=np.zeros_like(pooled), where=pooled > 0)
    return np.where((n > 0) & (m > 0), terms * (n + m) * scale, np.nan).sum(axis=1)


def degrees_of_freedom(reference: F64, current: F64) -> F64:
    """Return the number of bins that are not empty on both sides, minus one, ``[F]``.

    >>> degrees_of_freedom(np.array([[1.0, 0.0, 0.0]]), np.array([[1.0, 2.0, 0.0]])).tolist()
    [1.0]
    """
    return np.maximum(((reference > 0) | (current > 0)).sum(axis=1) - 1.0, 0.0)


def shape_and_mean(reference: F64, current: F64) -> tuple[F64, F64]:
    """Return the shape and the mean of the gamma distribution that the statistic has without drift, ``[F]`` each.

    Its mean and variance are those of the statistic given the sums of all rows and columns of the table. With plenty of
    counts this is χ² with k − 1 degrees of freedom. With few it has a heavier tail: without drift, χ² would be exceeded
    up to 40 times as often as it should.

    Source: D. Dawson, "A simplified expression for the variance of the χ² function on a contingency table", Biometrika
    41, 1954.
    """
    n, m = reference.sum(axis=1), current.sum(axis=1)
    total, pooled = n + m, reference + current
    filled = pooled > 0.0
    bins = filled.sum(axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = np.divide(1.0, pooled, out=np.zeros_like(pooled), where=filled).sum(axis=1)
        rows_v, rows_w = (total - 2.0) / (total - 1.0), (total / n + total / m - 4.0) / (total - 2.0)
        bins_v = (bins - 1.0) * (total - bins) / (total - 1.0)
        bins_w = (total * inverse - bins**2) / (total - 2.0)
        mean = total * (bins - 1.0) / (total - 1.0)
        variance = 2.0 * total / (total - 3.0) * (rows_v - rows_w) * (bins_v - bins_w)
        variance += total**2 / (total - 1.0) * rows_w * bins_w
        least = np.where(filled, pooled, np.inf).min(axis=1) * np.minimum(n, m) / total
        variance *= 1.0 + np.minimum(CAUTION, 1.0 / least)
        exact = mean**2 / variance
    freedom = degrees_of_freedom(reference, current)
    few = (least < PLENTY) & (variance > 0.0) & (total > 3.0)
    return np.where(few, exact, freedom / 2.0), np.where(few, mean, freedom)


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """χ² statistic over coarse bins or categories, rare ones together, judged by its p-value: a breach is p < α.

    The default threshold is 0, so that the effective one is :meth:`noise`, the critical value at α. Simulated false
    alarms of rare classes at α = 0.001: at most 0.002 (:func:`merge_rare`, :func:`shape_and_mean`).
    """

    name: str = "chi2"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.0

    def score(self, comparison: Comparison) -> F64:
        """Return the statistic, ``[F]``."""
        return chi_square(*merge_rare(comparison.reference, comparison.current))

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> F64:
        """Return the upper tail of :func:`shape_and_mean`, ``[F]``; 1 if there is only one category."""
        score = self.score(comparison) if score is None else score
        shape, mean = shape_and_mean(*merge_rare(comparison.reference, comparison.current))
        with np.errstate(invalid="ignore", divide="ignore"):
            p_value = np.where(mean > 0.0, gammaincc(shape, score * shape / mean), 1.0)
        return np.where(np.isnan(score), np.nan, p_value)

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the critical value at ``alpha``, ``[F]``; NaN if a side is empty."""
        reference, current = merge_rare(comparison.reference, comparison.current)
        shape, mean = shape_and_mean(reference, current)
        with np.errstate(invalid="ignore", divide="ignore"):
            critical = np.where(mean > 0.0, gammainccinv(shape, alpha) * mean / shape, 0.0)
        return np.where((reference.sum(axis=1) > 0) & (current.sum(axis=1) > 0), critical, np.nan)
