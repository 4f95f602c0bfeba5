"""Pearson's χ² test of homogeneity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import chi_square_quantile, whole


def chi_square(reference: F64, current: F64) -> F64:
    """Return Σ (observed − expected)² / expected of the two-row table of counts ``[F, K]``; ``[F]``, NaN for no counts.

    Bins that are empty on both sides are left out; no Yates correction. Symmetric. The statistic grows with the sample,
    so judge it by its p-value. With ``n`` and ``m`` cells it is Σ (m·r − n·c)² / (n·m·(r + c)). Counts below about 5
    make the p-value too small: prefer ``js`` or ``psi`` for columns of many rare categories.

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


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """χ² statistic over coarse bins or categories, judged by its p-value: a breach is p < α.

    The default threshold is 0, so that the effective one is :meth:`noise`, the critical value at α.
    """

    name: str = "chi2"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.0

    def score(self, comparison: Comparison) -> F64:
        """Return the statistic, ``[F]``."""
        return chi_square(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> F64:
        """Return the upper tail of χ² with k − 1 degrees of freedom, ``[F]``; 1 if there is only one category."""
        score = self.score(comparison) if score is None else score
        freedom = degrees_of_freedom(comparison.reference, comparison.current)
        p_value = np.where(freedom > 0, chdtrc(np.maximum(freedom, 1.0), score), 1.0)
        return np.where(np.isnan(score), np.nan, p_value)

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the critical value at ``alpha``, ``[F]``; NaN if a side is empty."""
        critical = chi_square_quantile(degrees_of_freedom(comparison.reference, comparison.current), alpha)
        filled = (whole(comparison.reference).sum(axis=1) > 0) & (whole(comparison.current).sum(axis=1) > 0)
        return np.where(filled, critical, np.nan)
