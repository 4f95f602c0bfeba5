"""Jensen–Shannon distance."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from scipy.special import xlog1py

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import proportions, quadratic_noise


def jensen_shannon_distance(reference: F64, current: F64) -> F64:
    """Return √(½ KL(p‖m) + ½ KL(q‖m)) with m = (p + q) / 2 and base 2, for counts ``[F, K]``; ``[F]`` within [0, 1].

    Symmetric, a metric; NaN for no counts. Computed as Σ (p + q)/4 · [(1 + d) ln(1 + d) + (1 − d) ln(1 − d)] with
    d = (p − q)/(p + q), the same sum without the cancellation that costs small distances their digits.

    Source: D. Endres and J. Schindelin, "A new metric for probability distributions", IEEE Transactions on Information
    Theory 49(7), 2003; equals ``scipy.spatial.distance.jensenshannon(p, q, base=2)``.

    >>> jensen_shannon_distance(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [0.2704]
    """
    p, q = proportions(reference), proportions(current)
    both = p + q
    tilt = np.divide(p - q, both, out=np.zeros_like(both), where=both != 0)
    terms = both * (xlog1py(1.0 + tilt, tilt) + xlog1py(1.0 - tilt, -tilt))
    return np.sqrt(np.clip(terms.sum(axis=1) / (4.0 * log(2.0)), 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class JensenShannonDistance:
    """Base-2 Jensen–Shannon distance over coarse bins or categories."""

    name: str = "js"
    kinds: tuple[ColumnKind, ...] = ("numeric", "categorical")
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the distance, ``[F]``."""
        return jensen_shannon_distance(comparison.reference, comparison.current)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the distance is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the noise of PSI converted to this distance, ``[F]``: for small distances JS² = PSI / (8 ln 2)."""
        return np.sqrt(quadratic_noise(comparison, alpha) / (8.0 * log(2.0)))
