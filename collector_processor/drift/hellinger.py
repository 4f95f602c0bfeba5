"""Hellinger distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import proportions, quadratic_noise


def hellinger_distance(reference: F64, current: F64) -> F64:
    """Return √(½ Σ (√p − √q)²) for counts ``[F, K]``; ``[F]`` within [0, 1], symmetric, a metric, NaN for no counts.

    Equal to √(1 − Σ √(pq)), which would lose all digits near 0.

    Source: E. Hellinger, Journal für die reine und angewandte Mathematik 136, 1909.

    >>> hellinger_distance(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [0.2265]
    """
    gap = np.sqrt(proportions(reference)) - np.sqrt(proportions(current))
    return np.minimum(np.sqrt(0.5 * (gap * gap).sum(axis=1)), 1.0)


@dataclass(frozen=True, slots=True)
class HellingerDistance:
    """Hellinger distance over coarse bins or categories."""

    name: str = "hellinger"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the distance, ``[F]``."""
        return hellinger_distance(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the distance is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the noise of PSI converted to this distance, ``[F]``: for small distances H² = PSI / 8."""
        return np.sqrt(quadratic_noise(comparison, alpha) / 8.0)
