"""What a change of a column may look like, and the evidence of a pane's counts for each of these alternatives.

A column is counted in cells: bins or categories, and one for missing values. The null is that each row falls into
cell k with probability p_k. An alternative q is held against it by the likelihood ratio q/p of every row. Three kinds:

- *tilts*, for bins in order: ``q ∝ p·e^{θu}`` with u the standardized normal score of the bin (the mean moves), and
  ``q ∝ p·e^{θ(u² − 1)}`` (the spread moves);
- *gains* of one cell: the ratio of two Bernoulli probabilities, above the share that the cell may have;
- *losses* of one cell: the same below.

p is not known: the reference is a sample, and a season within the tolerance does not count as a change. So every ratio
is made an e-value for *all* p within the reference's doubt, and within ``tolerance`` in total variation of that:

- a gain is held against the upper confidence limit of the cell's share (Clopper and Pearson) plus the tolerance, a loss
  against the lower one minus the tolerance. Both are exact;
- a tilt is divided by a bound of its mean over these p: ``1 + z·sd/√n + z²·max/(3n) + tolerance·(max − min)`` of the
  ratio q/p̂.

Source of the tolerance: A. Saha and A. Ramdas, "Huber-robust likelihood ratio tests for composite nulls and
alternatives", arXiv 2408.14015, 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import betaincinv, ndtri

from collector_processor.columns.batch import F64, Mask
from collector_processor.detectors.dependence import Tempering

Shape = Literal["mean_up", "mean_down", "spread_up", "spread_down", "gain", "loss"]

_FAR: Final = 300.0
"""Log ratios between cells go no further apart: e to that power is a number."""
_LEAST_RANK: Final = float(np.finfo(np.float64).eps)
"""Nearest that a rank comes to 0 and 1, whose normal scores are infinite: rows may weigh nothing beside others."""
TILTS: Final = (0.06, 0.12, 0.25, 0.6)
SPREADS: Final = (0.07, 0.17, 0.4)
GAINS: Final = (0.01, 0.08)
LOSS: Final = 0.5
"""Tilts θ of the mean and the spread, in both directions; gains as shares of the rows that were elsewhere; the share
that a losing cell keeps."""
_FULL: Final = 1.0 - 1e-6
_BOUNDS: Final = (np.inf, 1.0, 0.6)
_PARTS: Final = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2)
_DENSE: Final[tuple[tuple[Shape, float], ...]] = (
    *(("mean_up", theta) for theta in TILTS),
    *(("mean_down", -theta) for theta in TILTS),
    *(("spread_up", theta) for theta in SPREADS),
    *(("spread_down", -theta) for theta in SPREADS),
)
_SINGLE: Final[tuple[tuple[Shape, float], ...]] = (*(("gain", gain) for gain in GAINS), ("loss", LOSS))


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The alternatives of ``C`` columns of ``K`` cells: ``D`` tilts, then ``E`` for each cell; ``A = D + K · E``.

    ``dense`` ``[C, D, K]`` are the log ratios of tilts. A cell's alternative has the log ratio ``base`` ``[C, K, E]``
    in all cells, and ``step`` more in its own. ``highest`` ``[C, A]`` is the largest log ratio of any cell. ``valid``
    ``[C, A]`` says which alternatives a column has, ``share`` ``[C, A]`` is 1 over their number for each of them.
    """

    dense: F64
    base: F64
    step: F64
    highest: F64
    valid: Mask
    share: F64

    @property
    def size(self) -> int:
        """The number of alternatives of each column, valid or not."""
        return self.valid.shape[1]

    def increments(self, cells: F64, tempering: Tempering) -> F64:
        """Return the log of the e-values of a pane's cells ``[C, K]``, ``[C, A]``."""
        columns, tilts, kinds = len(cells), self.dense.shape[1], self.step.shape[2]
        found = np.empty(self.valid.shape)
        np.einsum("cdk,ck->cd", self.dense, cells, out=found[:, :tilts])
        single = found[:, tilts:]
        np.multiply(self.step.reshape(columns, -1), np.repeat(cells, kinds, axis=1), out=single)
        single += self.base.reshape(columns, -1) * cells.sum(axis=1)[:, None]
        excess, divisor = np.reshape(tempering.excess, (-1, 1)), np.reshape(tempering.divisor, (-1, 1))
        if excess.any():
            found -= excess * np.maximum(self.highest, 0.0)
        if (divisor != 1.0).any():
            found /= divisor
        return found

    def shape_of(self, alternative: int) -> tuple[Shape, int | None]:
        """Return what an alternative is, and its cell; None for a tilt."""
        tilts = self.dense.shape[1]
        if alternative < tilts:
            return _DENSE[alternative][0], None
        cell, kind = divmod(alternative - tilts, len(_SINGLE))
        return _SINGLE[kind][0], cell


def dictionary(cells: F64, real: Mask, ordered: int, tolerance: float, doubt: float) -> Dictionary:
    """Return the alternatives to a reference's cells ``[C, K]``, in rows that are worth as much as independent ones.

    ``real`` ``[C, K]`` are cells that can have rows; the others are padding. The first ``ordered`` cells are bins in
    order, 0 for categories. ``doubt`` is the probability that all limits of the reference together may be wrong.

    >>> reference = np.full((1, 10), 5000.0)
    >>> of_bins = dictionary(reference, np.ones((1, 10), np.bool_), 10, 0.0, 0.01)
    >>> pane = np.full((1, 10), 20.0)
    >>> pane[0, -1] += 40  # 60 rows in the last decile instead of 20
    >>> of_bins.shape_of(int(of_bins.increments(pane, Tempering())[0].argmax()))
    ('gain', 9)
    """
    columns, width = cells.shape
    tilts = len(_DENSE) if ordered else 0
    doubt = doubt / max(columns * (tilts + width * 2), 1)
    n = np.maximum(cells.sum(axis=1, keepdims=True), 1e-9)
    base, step, of_cell = _of_cells(cells, n, real, tolerance, doubt)
    highest = np.maximum(base, base + step).reshape(columns, -1)
    valid = of_cell.reshape(columns, -1)
    if not tilts:
        return Dictionary(np.zeros((columns, 0, width)), base, step, highest, valid, _share(valid))
    dense, of_tilt = _of_tilts(cells, n, real, ordered, tolerance, doubt)
    valid = np.concatenate((of_tilt, valid), axis=1)
    return Dictionary(
        dense,
        base,
        step,
        np.concatenate((np.where(real[:, None, :], dense, -np.inf).max(axis=2), highest), axis=1),
        valid,
        _share(valid),
    )


def _share(valid: Mask) -> F64:
    return valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)


def _of_cells(cells: F64, n: F64, real: Mask, tolerance: float, doubt: float) -> tuple[F64, F64, Mask]:
    """Return base, step and validity of gains and losses, ``[C, K, E]``."""
    rest = np.maximum(n - cells, 0.0)
    high = np.where(rest > 0.0, betaincinv(cells + 1.0, np.maximum(rest, 1e-9), 1.0 - doubt), 1.0)
    low = np.where(cells > 0.0, betaincinv(np.maximum(cells, 1e-9), rest + 1.0, doubt), 0.0)
    high, low = high + tolerance, low - tolerance
    gains, losses = real & (high < _FULL), real & (low > 0.0)
    high, low = np.where(gains, high, 0.5)[..., None], np.where(losses, low, 0.5)[..., None]
    gain = np.array(GAINS)
    above = np.broadcast_to(np.log1p(-gain), (*cells.shape, len(GAINS)))
    above_step = np.log((high + gain * (1.0 - high)) / high) - above
    below = np.log((1.0 - LOSS * low) / (1.0 - low))
    below_step = np.log(LOSS) - below
    return (
        np.concatenate((above, below), axis=2),
        np.concatenate((above_step, below_step), axis=2),
        np.stack((*(gains for _ in GAINS), losses), axis=2),
    )


def _of_tilts(cells: F64, n: F64, real: Mask, ordered: int, tolerance: float, doubt: float) -> tuple[F64, Mask]:
    """Return the log ratios of tilts ``[C, D, K]`` and their validity ``[C, D]``.

    The ratio that grows fastest under an alternative is a weaker tilt, with a bounded score: the nearest null is on the
    way to the alternative, and the tolerance counts where the ratio is extreme (Huber). The best of a few is taken.
    """
    bins = _Bins.of(cells, n, real, ordered)
    dense, valid = list[F64](), list[Mask]()
    distinct = ((cells > 0.0) & real)[:, :ordered].sum(axis=1)
    for shape, theta in _DENSE:
        spread = shape in ("spread_up", "spread_down")
        alternative = bins.share * bins.ratio(bins.exponent(spread, np.inf) * theta)
        best, most = np.zeros_like(cells), np.zeros(len(cells))
        for bound in _BOUNDS:
            for part in _PARTS:
                ratio = bins.ratio(bins.exponent(spread, bound) * (theta * part))
                log_ratio = np.log(ratio / bins.mean_bound(ratio, tolerance, doubt))
                growth = (alternative * log_ratio).sum(axis=1)
                better = growth > most
                best[better], most[better] = log_ratio[better], growth[better]
        dense.append(best)
        valid.append((distinct >= (3 if spread else 2)) & (most > 0.0))
    return np.stack(dense, axis=1), np.stack(valid, axis=1)


@dataclass(frozen=True, slots=True)
class _Bins:
    """The reference's shares ``[C, K]``, rows ``[C, 1]`` and normal scores; the first cells are bins in order."""

    share: F64
    rows: F64
    real: Mask
    ordered: Mask
    scores: F64

    @classmethod
    def of(cls, cells: F64, n: F64, real: Mask, ordered: int) -> _Bins:
        scores = np.zeros_like(cells)
        scores[:, :ordered] = _normal_scores(cells[:, :ordered])
        return cls(cells / n, n, real, np.arange(cells.shape[1]) < ordered, scores)

    def exponent(self, spread: bool, bound: float) -> F64:
        """Return the score whose multiple is the log ratio, before it is normalized."""
        scores = np.clip(self.scores, -bound, bound)
        return scores**2 - 1.0 if spread else scores

    def ratio(self, exponent: F64) -> F64:
        """Return q/p of ``q ∝ p·e^exponent`` within the bins; 1 in other cells, whose share stays."""
        share = np.where(self.ordered, self.share, 0.0)
        # Of a bin that holds next to nothing, the score is huge: only differences matter, so none overflows.
        exponent = exponent - np.where(self.ordered, exponent, -np.inf).max(axis=1, keepdims=True, initial=-_FAR)
        total, tilted = share.sum(axis=1, keepdims=True), np.exp(np.maximum(exponent, -_FAR))
        level = (share * tilted).sum(axis=1, keepdims=True)
        return np.where(self.ordered & (level > 0.0), tilted * total / np.where(level > 0.0, level, 1.0), 1.0)

    def mean_bound(self, ratio: F64, tolerance: float, doubt: float) -> F64:
        """Return the bound ``[C, 1]`` of the mean of a ratio whose mean under the reference's shares is 1."""
        highest = np.where(self.real, ratio, -np.inf).max(axis=1, keepdims=True, initial=0.0)
        lowest = np.where(self.real, ratio, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        deviation = np.sqrt(np.maximum((self.share * ratio**2).sum(axis=1, keepdims=True) - 1.0, 0.0))
        z = -float(ndtri(doubt))
        doubtful = z * deviation / np.sqrt(self.rows) + z**2 * highest / (3.0 * self.rows)
        return 1.0 + doubtful + tolerance * np.maximum(highest - lowest, 0.0)


def _normal_scores(counts: F64) -> F64:
    """Return the standardized normal score of the middle of each bin; those beyond the reference have the nearest's."""
    n = np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    share = counts / n
    filled = counts > 0.0
    middle = np.clip(np.cumsum(share, axis=1) - share / 2.0, _LEAST_RANK, 1.0 - _LEAST_RANK)
    first = np.where(filled, middle, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    last = np.where(filled, middle, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    known = np.isfinite(first)
    scores = ndtri(np.clip(middle, np.where(known, first, 0.5), np.where(known, last, 0.5)))
    mean = (share * scores).sum(axis=1, keepdims=True)
    deviation = np.sqrt((share * (scores - mean) ** 2).sum(axis=1, keepdims=True))
    return (scores - mean) / np.where(deviation > 0.0, deviation, 1.0)
