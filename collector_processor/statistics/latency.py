"""Durations in logarithmic bins: quantiles accurate to 1 %, from counts that add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.statistics.pane import DELAY_BINS, LATENCY_BINS


@dataclass(frozen=True, slots=True)
class LogBins:
    """``count − 2`` bins with edges in equal ratio from ``low_s`` to ``high_s``, plus one below and one above."""

    low_s: float
    high_s: float
    count: int

    @property
    def ratio(self) -> float:
        """Upper edge of a bin over its lower edge."""
        return (self.high_s / self.low_s) ** (1.0 / (self.count - 2))

    def index(self, seconds: F64) -> I32:
        """Return the bin of each duration, int32 ``[n]``; −1 for NaN. Zero and negative ones are in the lowest bin."""
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.log(np.maximum(seconds, 0.0) / self.low_s) * (1.0 / math.log(self.ratio))
        inside = np.clip(np.floor(place) + 1.0, 0.0, self.count - 1.0)
        return np.where(np.isnan(inside), -1.0, inside).astype(np.int32)

    def centers(self) -> F64:
        """Return the value that represents each bin, ``[count]``: the harmonic mean of its edges.

        It is off by at most ``(ratio − 1) / (ratio + 1)`` of the true value at either edge, the least possible. The
        outer bins are represented by the limits.
        """
        lower = self.low_s * self.ratio ** np.arange(self.count - 2)
        inner = lower * (2.0 * self.ratio / (1.0 + self.ratio))
        return np.concatenate(([self.low_s], inner, [self.high_s]))


LATENCY: Final = LogBins(1e-6, 1e3, LATENCY_BINS)
"""Bins of the duration of calls."""
DELAY: Final = LogBins(1e-3, 1e8, DELAY_BINS)
"""Bins of the delay of labels."""
_CENTERS: Final = {bins.count: bins.centers() for bins in (LATENCY, DELAY)}


def latency_bins(duration_s: F64) -> I32:
    """Return the bin of each call's duration in ``Pane.latency``, int32 ``[n]``; −1 for NaN.

    >>> latency_bins(np.array([0.0, 1e-6, 5e3, np.nan])).tolist()
    [0, 1, 1041, -1]
    """
    return LATENCY.index(duration_s)


def delay_bins(delay_s: F64) -> I32:
    """Return the bin of each label's delay in ``Outcomes.delay``, int32 ``[n]``; 0 if it came before its prediction."""
    return DELAY.index(delay_s)


def quantile(counts: F64, q: float | Sequence[float]) -> F64:
    """Return quantiles of binned durations in seconds, within 1 % of the smallest duration that a share of at least
    ``q`` does not exceed.

    ``counts`` is ``[..., LATENCY_BINS]`` or ``[..., DELAY_BINS]``; the result is ``[...]`` for one ``q`` and
    ``[..., len(q)]`` for several; NaN if there are no counts. Durations beyond the bins give the bins' limits.
    Raises ``ValueError`` for another number of bins or a ``q`` outside 0 to 1.

    >>> counts = np.bincount(latency_bins(np.array([0.01, 0.02, 0.03])), minlength=LATENCY_BINS).astype(float)
    >>> quantile(counts, [0.5, 0.99]).round(3).tolist()
    [0.02, 0.03]
    """
    centers = _CENTERS.get(counts.shape[-1])
    if centers is None:
        raise ValueError(
            f"counts have {counts.shape[-1]} bins; allowed: {LATENCY_BINS} (latency), {DELAY_BINS} (delay)"
        )
    levels = np.atleast_1d(np.asarray(q, np.float64))
    if not ((levels >= 0.0) & (levels <= 1.0)).all():
        raise ValueError(f"quantile {q} is not between 0 and 1")
    cumulative = np.cumsum(np.maximum(counts, 0.0), axis=-1)
    total = cumulative[..., -1:]
    ranks = np.maximum(levels * total, np.nextafter(0.0, 1.0))
    # Rounding must not lift the rank of q = 1 above the total, nor q·total above the bin that it equals.
    reached = cumulative[..., None, :] >= (ranks * (1.0 - 1e-12))[..., :, None]
    quantiles = np.where(total > 0.0, centers[np.argmax(reached, axis=-1)], np.nan)
    return quantiles if np.ndim(q) else quantiles[..., 0]
