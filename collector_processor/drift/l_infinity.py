"""L∞ distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import inverse_sizes, proportions, whole


def l_infinity_distance(reference: F64, current: F64) -> F64:
    """Return the largest |p − q| of any bin for counts ``[F, K]``; ``[F]`` within [0, 1], symmetric, NaN for no counts.

    TensorFlow Data Validation uses it for categorical features.

    >>> l_infinity_distance(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [0.3]
    """
    return np.abs(proportions(reference) - proportions(current)).max(axis=1, initial=0.0)


@dataclass(frozen=True, slots=True)
class LInfinityDistance:
    """L∞ distance, the largest difference of shares, over coarse bins or categories."""

    name: str = "l_infinity"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the distance, ``[F]``."""
        return l_infinity_distance(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the distance is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return z(1 − α/2k) · √(max π(1 − π) · (1/n + 1/m)) + ln(2k/α) / (3 min(n, m)), ``[F]``.

        Bonferroni over the ``k`` filled bins with pooled shares π; the last term is Bernstein's allowance for bins
        with few counts, whose tails are heavier than the normal's.
        """
        reference, current = whole(comparison.reference), whole(comparison.current)
        pooled = proportions(reference + current)
        filled = np.maximum((pooled > 0).sum(axis=1), 1)
        variance = (pooled * (1.0 - pooled)).max(axis=1, initial=0.0)
        smaller = np.minimum(reference.sum(axis=1), current.sum(axis=1))
        rare = np.log(2.0 * filled / alpha) / (3.0 * np.where(smaller > 0, smaller, np.nan))
        # One category alone cannot differ: its share is 1 on both sides.
        rare = np.where(filled > 1, rare, 0.0 * rare)
        return -ndtri(alpha / (2.0 * filled)) * np.sqrt(variance * inverse_sizes(reference, current)) + rare
