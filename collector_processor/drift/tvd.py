"""Total variation distance."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import inverse_sizes, proportions, whole


def total_variation_distance(reference: F64, current: F64) -> F64:
    """Return ½ Σ |p − q| for counts ``[F, K]``; ``[F]`` within [0, 1], symmetric, a metric, NaN for no counts.

    The share of cells that would have to change bin for the two sides to be equal (D. Levin and Y. Peres, "Markov
    Chains and Mixing Times", 2017, proposition 4.2).

    >>> total_variation_distance(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [0.3]
    """
    return np.minimum(0.5 * np.abs(proportions(reference) - proportions(current)).sum(axis=1), 1.0)


@dataclass(frozen=True, slots=True)
class TotalVariationDistance:
    """Total variation over coarse bins or categories."""

    name: str = "tvd"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the distance, ``[F]``."""
        return total_variation_distance(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the distance is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return √(1/n + 1/m) · (½ √(2/π) Σ √(π(1 − π)) + ½ z(1 − α)) with pooled shares π, ``[F]``.

        The expectation of the normal limit plus its isoperimetric tail: a norm of a Gaussian vector exceeds its median,
        which is not above its mean, by z standard deviations of its widest projection with probability at most
        1 − Φ(z) (C. Borell, Inventiones mathematicae 30, 1975); the widest one here is a set of bins against the rest,
        at most ½.
        """
        pooled = proportions(whole(comparison.reference) + whole(comparison.current))
        mean = 0.5 * sqrt(2.0 / pi) * np.sqrt(pooled * (1.0 - pooled)).sum(axis=1)
        tail = -ndtri(alpha) * 0.5 * ((pooled > 0).sum(axis=1) > 1)
        return np.sqrt(inverse_sizes(comparison.reference, comparison.current)) * (mean + tail)
