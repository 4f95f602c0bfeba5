"""Population stability index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import proportions, quadratic_noise

FLOOR = 1e-4
"""Smallest proportion: an empty bin scores as one cell in 10,000 would, so that the index stays finite."""


def population_stability_index(reference: F64, current: F64) -> F64:
    """Return Σ (p − q) · ln(p / q) over bins with counts ``[F, K]``, proportions floored at 1e-4; ``[F]``.

    Symmetric, at least 0, NaN for no counts. Below 0.1 is stable, above 0.2 is shifted (N. Siddiqi, "Credit Risk
    Scorecards", 2006).

    >>> population_stability_index(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [0.4159]
    """
    p, q = np.maximum(proportions(reference), FLOOR), np.maximum(proportions(current), FLOOR)
    return ((p - q) * np.log(p / q)).sum(axis=1)


@dataclass(frozen=True, slots=True)
class PopulationStabilityIndex:
    """Population stability index (PSI) over coarse bins or categories."""

    name: str = "psi"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.2

    def score(self, comparison: Comparison) -> F64:
        """Return the index, ``[F]``."""
        return population_stability_index(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the index is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the χ² approximation of Yurdakul and Naranjo, ``[F]`` (:func:`.proportions.quadratic_noise`)."""
        return quadratic_noise(comparison, alpha)
