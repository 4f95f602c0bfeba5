"""ROC AUC and average precision that calibrated scores expect, from the fine bins of the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import digamma

from collector_processor.columns.batch import F64
from collector_processor.monitors.performance import ROUNDING, SINGLE_BIN, single_value_bins
from collector_processor.statistics.fits.calibration import Curve

TOLERANCE: Final = 1e-4
"""The figures are left out if the order of rows within bins can change the ROC AUC by more."""
GROUP_TOLERANCE: Final = 1e-3
"""The same for a segment, whose bins are wider, but whose spread within them is known."""


@dataclass(frozen=True, slots=True)
class ExpectedBins:
    """Bins of the score from the highest down, empty ones left out.

    ``rows``, expected ``positive`` ones among them, how far the probability rises within each (``rise``, 0 in a bin of
    one value), and whether rows are ``spread`` within it as far as one knows (1, else 0); float64 ``[b]`` each. The
    figures are left out if the order of rows within bins can change the ROC AUC by more than ``tolerance``.
    """

    rows: F64
    positive: F64
    rise: F64
    spread: F64
    tolerance: float = TOLERANCE

    @classmethod
    def of(
        cls, curve: Curve, edges: F64, counts: F64, excess: F64, reference: F64, moved: F64 | None = None
    ) -> ExpectedBins:
        """Return the bins between edges ``[E]`` with counts and Σ (score − lower edge) ``[E + 1]``.

        ``moved`` ``[E + 1]`` is by how many more rows of each bin are expected to be positive than the curve says.

        The curve is linear within a bin, so the mean of its values is its value at the mean. Where the ``reference``
        has no rows ``[E + 1]``, those of a window may well be of one value.
        """
        used = np.flatnonzero(counts > 0.0)[::-1]
        rows = counts[used]
        lower = edges[np.maximum(used - 1, 0)]
        p = curve.read(lower + excess[used] / rows)
        upper = np.append(edges, np.inf)[used]
        # The margins that edges keep from values may be a part of the next slope.
        inner = np.where(used > 0, lower + SINGLE_BIN * np.abs(lower), -np.inf)
        rise = curve.read(upper - SINGLE_BIN * np.abs(np.where(np.isfinite(upper), upper, 0.0))) - curve.read(inner)
        single = single_value_bins(edges, len(counts))[used]
        rise = np.where(single, 0.0, np.maximum(rise, 0.0))
        positive = rows * p if moved is None else rows * p + moved[used]
        return cls(rows, positive, rise, (reference[used] > 0.0).astype(np.float64))

    @classmethod
    def of_group(cls, curve: Curve, edges: F64, sums: F64, moved: F64 | None = None) -> ExpectedBins:
        """Return the bins between edges ``[E]`` from their number of rows, Σ p and Σ p² ``[3, E + 1]``.

        These bins are wide, so how far p spreads within one is taken from its variance: of rows that lie evenly, it is
        the rise squared / 12.
        """
        used = np.flatnonzero(sums[0] > ROUNDING * sums[0].sum())[::-1]
        rows, positive, squares = sums[:, used]
        pairs = np.maximum(rows * squares - positive**2, 0.0)
        pairs = np.where(pairs > ROUNDING * rows * squares, pairs, 0.0)
        several = np.maximum(rows * (rows - 1.0), 1.0)
        ends = curve.read(np.concatenate((edges[:1], edges, edges[-1:])))
        ends[0], ends[-1] = curve.values[0], curve.values[-1]
        widest = np.diff(ends)[used]
        rise = np.minimum(np.sqrt(12.0 * pairs / several), widest)
        if moved is not None:
            positive = np.clip(positive + moved[used], 0.0, rows)
        return cls(rows, positive, rise, np.ones(len(rows)), GROUP_TOLERANCE)

    def area(self) -> float:
        """Return the expected ROC AUC; NaN if it is not known well enough, or without one of the classes.

        Within a bin, rows lie evenly: n rows whose probabilities rise by r have n (n − 1) r / 12 more pairs in the
        right order than half. In a bin that the reference does not have, they count as ties.
        """
        negative = self.rows - self.positive
        pairs = float(self.positive.sum() * negative.sum())
        if not pairs > 0.0 or self._undecided() > self.tolerance * pairs:
            return float("nan")
        above = np.cumsum(self.positive) - self.positive / 2.0
        within = self.spread * self.rise * self.rows * np.maximum(self.rows - 1.0, 0.0) / 12.0
        return float(((negative * above).sum() + within.sum()) / pairs)

    def precision(self) -> float:
        """Return the expected average precision; NaN where the ROC AUC is not known.

        The rows of a bin come one after the other: with N rows and T positive ones before, and p for each of n,
        Σ p (T + i p) / (N + i) = p (n p + (T − N p) L), L = ψ(N + n + 1) − ψ(N + 1). If p falls evenly by r, that adds
        r ((T − N p) ((½ + N / n) L − 1) + p / 2 (n / 2 + N − N (1 + N / n) L)) for many rows, and nothing for one.
        """
        negative = self.rows - self.positive
        pairs = float(self.positive.sum() * negative.sum())
        if not pairs > 0.0 or self._undecided() > self.tolerance * pairs:
            return float("nan")
        end = np.cumsum(self.rows)
        before, found = end - self.rows, np.cumsum(self.positive) - self.positive
        p = self.positive / self.rows
        steps = np.diff(digamma(np.append(0.0, end) + 1.0))
        ahead = found - before * p
        level = p * (self.positive + ahead * steps)
        part = before / self.rows
        tilt = ahead * ((0.5 + part) * steps - 1.0)
        tilt += p / 2.0 * (self.rows / 2.0 + before - before * (1.0 + part) * steps)
        many = np.maximum(1.0 - 1.0 / self.rows, 0.0)
        return float((level + self.spread * self.rise * many * tilt).sum() / self.positive.sum())

    def _undecided(self) -> float:
        """Return how many pairs the order of rows within bins can decide at most."""
        return float((self.rise * self.rows**2).sum() / 8.0)
