"""Normalized discounted cumulative gain: whether features are in the order of importance of the reference."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64

_DRAWS: Final = 1000
_STEP: Final = 4.0


def ndcg(baseline: F64, current: F64) -> float:
    """Return Σ a(f′ᵢ) / log₂(i + 1) divided by Σ a(fᵢ) / log₂(i + 1): 1 if the order is that of the baseline.

    ``a`` is the baseline ``[K]``, f its features in descending order, f′ those of ``current``. Features that are equal
    in ``current`` share their places. Equals ``sklearn.metrics.ndcg_score([baseline], [current])``.

    Source: K. Järvelin and J. Kekäläinen, ACM Transactions on Information Systems 20(4), 2002.

    >>> round(ndcg(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])), 4)
    0.79
    """
    discounts = 1.0 / np.log2(np.arange(len(baseline)) + 2.0)
    ideal = np.sort(baseline)[::-1] @ discounts
    if not ideal > 0.0:
        return float("nan")
    _, group = np.unique(-current, return_inverse=True)
    counts = np.bincount(group)
    ends = np.cumsum(counts)
    shared = np.diff(np.append(0.0, np.cumsum(discounts)[ends - 1])) / counts
    return float((np.bincount(group, baseline) * shared).sum() / ideal)


class OrderNoise:
    """The nDCG that chance alone goes below with probability .001, for means of n attributions.

    The means of window and reference are drawn from their normal distributions, each feature on its own.
    """

    def __init__(self, baseline: F64, variance: F64, rows: F64) -> None:
        self._baseline, self._variance, self._rows = baseline, variance, rows
        self._known: dict[int, float] = {}

    def limit(self, rows: float) -> float:
        """Return the limit for windows of this many rows; those of the next smaller power of four count."""
        step = max(0, int(np.log(max(rows, 1.0)) / np.log(_STEP)))
        if step not in self._known:
            random = np.random.default_rng(step)
            spread = np.sqrt(self._variance * (1.0 / _STEP**step + 1.0 / np.maximum(self._rows, 1.0)))
            draws = np.abs(self._baseline + spread * random.standard_normal((_DRAWS, len(spread))))
            self._known[step] = min(ndcg(self._baseline, row) for row in draws)
        return self._known[step]
