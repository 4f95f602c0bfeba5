"""Kolmogorov–Smirnov statistic."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from scipy.special import kolmogorov

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import fine_of, inverse_sizes


def kolmogorov_smirnov(gap: F64) -> F64:
    """Return the supremum of |F − G| of two distributions at the edges of bins, from their gap ``[F, B]``; ``[F]``.

    Symmetric, within [0, 1], NaN for no counts. Never above the exact statistic, and below it by at most the largest
    share that the reference has inside one bin: 1/1024 for fine bins, whatever the current side is, because between
    two edges F − G cannot leave the range between its two end values by more than F rises.

    Source: N. Smirnov, Annals of Mathematical Statistics 19, 1948; compare ``scipy.stats.ks_2samp``.

    >>> kolmogorov_smirnov(np.array([[0.3, 0.3, 0.0]])).tolist()  # shares .5, .3, .2 against .2, .3, .5
    [0.3]
    """
    return np.minimum(np.maximum(gap.max(axis=1), -gap.min(axis=1)), 1.0)


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """The two-sample Kolmogorov–Smirnov statistic over fine bins."""

    name: str = "ks"
    kinds: tuple[ColumnKind, ...] = ("numeric",)
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the statistic D, ``[F]``."""
        return kolmogorov_smirnov(fine_of(comparison, self.name).gap)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> F64:
        """Return Kolmogorov's limit at D · √(nm / (n + m)), ``[F]``: never below the exact p-value by more than .002.

        From 500 cells a side on, the limit itself is at most .02 above it. So is this p-value where the bins resolve D,
        as in columns of few values. Elsewhere the exact D may be larger by 1/1024 (or one row of a smaller reference)
        than the bins show. Of the two ends of that range, this is the p-value of the smaller D, which raises no false
        alarm: it is above the exact one by at most 1.7 √(nm / (n + m)) / 1024 more, and where p is below .01, by .002.
        """
        score = self.score(comparison) if score is None else score
        p_value: F64 = kolmogorov(score / np.sqrt(inverse_sizes(comparison.reference, comparison.current)))
        return p_value

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return √(−½ ln(α/2)) · √(1/n + 1/m), ``[F]``: the first term of the limit, which bounds it from above."""
        return sqrt(-0.5 * log(alpha / 2.0)) * np.sqrt(inverse_sizes(comparison.reference, comparison.current))
