"""Wasserstein distance in standard deviations of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64
from collector_processor.drift.method import ColumnKind, Comparison, Fine
from collector_processor.drift.proportions import fine_of, inverse_sizes

LARGEST = float(np.finfo(np.float64).max)
CONSTANT = 4e-16
"""Spread, as a fraction of the largest magnitude in range, up to which a reference counts as constant: rounding."""
CONSTANT_SPREAD = 1e-3
"""Divisor of the distance from a constant reference, as a fraction of that magnitude."""


def last_edges(edges: F64) -> F64:
    """Return the last finite edge of each column of edges ``[F, E]``, ``[F]``; 0 for a column without one.

    >>> last_edges(np.array([[0.0, 3.0, np.inf], [np.inf, np.inf, np.inf]])).tolist()
    [3.0, 0.0]
    """
    finite = np.isfinite(edges).sum(axis=1)
    last = np.zeros(len(edges))
    last[finite > 0] = edges[finite > 0, finite[finite > 0] - 1]
    return last


def bin_widths(edges: F64) -> F64:
    """Return the width of each bin of edges ``[F, E]``, ``[F, E + 1]``; 0 for the two tails and the padding.

    >>> bin_widths(np.array([[0.0, 1.0, 3.0, np.inf]])).tolist()
    [[0.0, 1.0, 2.0, 0.0, 0.0]]
    """
    capped = np.minimum(edges, last_edges(edges)[:, None])
    widths = np.zeros((edges.shape[0], edges.shape[1] + 1))
    with np.errstate(over="ignore"):
        np.subtract(capped[:, 1:], capped[:, :-1], out=widths[:, 1:-1])
    return np.minimum(widths, LARGEST, out=widths)


def wasserstein_distance(fine: Fine) -> F64:
    """Return W₁ = ∫ |F − G| dx in the column's own unit, ``[F]``; NaN if a side is empty, symmetric.

    In a bin [l, r) with the share p of a side's cells below r and the mean excess e = Σ (x − l) / n of those inside,
    ∫ F dx = (r − l) · p − e exactly; in the tails, ∫ F or ∫ (1 − F) follows from the excess alone. So each bin gives
    |∫ (F − G) dx| without error, which is ∫ |F − G| dx unless F and G can cross inside it. Where they can, each side's
    cells of the bin are taken to lie at their mean: exact if each side has one value in the bin, as discrete columns
    have.

    The error is at most Σ 2 (r − l) · a · b / (a + b) over the bins in which both a = F(r) − G(l) and b = G(r) − F(l)
    are above 0. As the edges are placed (:func:`.bins.fine_edges`), (r − l) · min(F, 1 − F) is at most σ / 128 in every
    bin, so that a bin costs at most σ / 64: the score is wrong by .016 for one bin with everything in it, whatever the
    columns are. For this distance, infinite cells lie on the nearest edge of the range.

    Source: S. Vallender, Theory of Probability and its Applications 18, 1973; compare
    ``scipy.stats.wasserstein_distance``.

    >>> fine = Fine(np.array([[0.0, 10.0]]), np.array([[0.0, 2.0, 0.0]]), np.array([[0.0, 1.0, 1.0]]),
    ...             np.array([[0.0, 6.0, 0.0]]), np.array([[0.0, 4.0, 2.0]]), np.array([1.0]))
    >>> wasserstein_distance(fine).tolist()  # 3 and 3 against 4 and 12
    [5.0]
    """
    n, m = fine.reference_counts.sum(axis=1), fine.current_counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        widths = bin_widths(fine.edges)
        areas = fine.gap * widths
        areas -= fine.reference_excess / n[:, None]
        areas += fine.current_excess / m[:, None]
        np.abs(areas, out=areas)
        _cross(fine, widths, n, m, areas)
        distance = areas.sum(axis=1)
    return np.where((n > 0) & (m > 0), np.nan_to_num(distance, nan=LARGEST, posinf=LARGEST), np.nan)


def _cross(fine: Fine, widths: F64, n: F64, m: F64, areas: F64) -> None:
    """Replace the areas ``[F, B]`` of bins in which F and G can cross by ∫ |F − G| dx of cells at their means."""
    share = fine.reference_counts / n[:, None]
    possible = fine.gap < share  # G(l) < F(r)
    np.divide(fine.current_counts, m[:, None], out=share)
    possible &= fine.gap > np.negative(share, out=share)
    possible &= widths > 0.0
    place = np.flatnonzero(possible)
    row = place // widths.shape[1]
    after, width = fine.gap.ravel()[place], widths.ravel()[place]
    rise = np.maximum(fine.reference_counts.ravel()[place] / n[row], 0.0)
    other = np.maximum(fine.current_counts.ravel()[place] / m[row], 0.0)
    before = after - rise + other
    mean = _offset(fine.reference_excess.ravel()[place] / n[row], rise, width)
    other_mean = _offset(fine.current_excess.ravel()[place] / m[row], other, width)
    mean, other_mean = np.where(rise > 0.0, mean, other_mean), np.where(other > 0.0, other_mean, mean)
    first, last = np.minimum(mean, other_mean), np.maximum(mean, other_mean)
    between = np.where(mean < other_mean, before + rise, before - other)
    split = np.abs(before) * first + np.abs(between) * (last - first) + np.abs(after) * (width - last)
    flat = areas.reshape(-1)
    flat[place] = np.maximum(flat[place], split)


def _offset(excess: F64, share: F64, width: F64) -> F64:
    """Return how far the mean of a bin's cells is from its lower edge; 0 for none."""
    return np.clip(np.divide(excess, share, out=np.zeros_like(share), where=share > 0.0), 0.0, width)


def bridge(edges: F64, counts: F64, excess: F64) -> F64:
    """Return ∫ √(F(1 − F)) dx of binned columns with edges ``[F, E]``, counts and excess ``[F, E + 1]``; ``[F]``.

    The size of a Brownian bridge in the column's unit, which is how far samples stray from F. In a bin, F is taken at
    its mean: that can only enlarge the integral, by little in fine bins. Infinite if the range is nearly infinite.

    >>> bridge(np.array([[0.0, 4.0]]), np.array([[1.0, 0.0, 1.0]]), np.zeros((1, 3))).round(9).tolist()  # F is ½
    [2.0]
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        n = counts.sum(axis=1, keepdims=True)
        widths = bin_widths(edges)
        below = np.cumsum(counts / n, axis=1)
        below *= widths
        below -= excess / n
        np.clip(below, 0.0, widths, out=below)  # now ∫ F dx of each bin
        size = np.sqrt(below)
        size *= np.sqrt(widths - below)
        return size.sum(axis=1)


def unit_spread(fine: Fine) -> F64:
    """Return the size of one unit of the score, ``[F]``: the reference's standard deviation.

    A reference that is constant up to rounding has none; then it is 0.001 of the largest magnitude in its range (of
    1 if that is 0), so that a constant column is in breach once it moves by 0.0001 of its value on average.

    >>> edges = np.array([[1.0, 9.0], [50.0, 50.1], [0.0, 1e-300]])
    >>> none = np.zeros((3, 3))
    >>> unit_spread(Fine(edges, none, none, none, none, np.array([2.0, 0.0, 0.0]))).round(4).tolist()
    [2.0, 0.0501, 0.001]
    """
    last = last_edges(fine.edges)
    magnitude = np.maximum(np.abs(np.minimum(fine.edges[:, 0], last)), np.abs(last))
    constant = ~(fine.spread > CONSTANT * magnitude)
    return np.where(constant, CONSTANT_SPREAD * np.where(magnitude > 1e-200, magnitude, 1.0), fine.spread)


@dataclass(frozen=True, slots=True)
class Wasserstein:
    """Wasserstein distance W₁ over fine bins, divided by the reference's standard deviation."""

    name: str = "wasserstein"
    kinds: tuple[ColumnKind, ...] = ("numeric",)
    threshold: float = 0.1

    def score(self, comparison: Comparison) -> F64:
        """Return the distance in reference standard deviations, ``[F]``."""
        fine = fine_of(comparison, self.name)
        with np.errstate(over="ignore"):
            return np.minimum(wasserstein_distance(fine) / unit_spread(fine), LARGEST)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> None:
        """None: the distance is judged by its size."""

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return √(1/n + 1/m) · (√(2/π) ∫ √(F(1 − F)) dx / σ + z(1 − α)) with the reference's F and σ, ``[F]``.

        √(nm / (n + m)) · W₁ tends to ∫ |B(F(x))| dx for a Brownian bridge B (E. del Barrio, E. Giné and C. Matrán,
        Annals of Probability 27, 1999). Its mean is the first term. It is a norm of a Gaussian process whose widest
        projection, ∫ B(F(x)) dx, has the variance σ² (Hoeffding); by the isoperimetric inequality such a norm exceeds
        its median, which is not above its mean, by z·σ with probability at most 1 − Φ(z). About a quarter too high for
        smooth distributions; too low if the variance is infinite or a value makes up less than ten cells.
        """
        fine = fine_of(comparison, self.name)
        integral = (
            bridge(fine.edges, fine.reference_counts, fine.reference_excess) if fine.bridge is None else fine.bridge
        )
        with np.errstate(over="ignore", invalid="ignore"):
            limit = (sqrt(2.0 / pi) * integral - ndtri(alpha) * fine.spread) / unit_spread(fine)
            limit = np.nan_to_num(limit, nan=LARGEST, posinf=LARGEST)  # absurd ranges: no score can stand out
            sizes = inverse_sizes(comparison.reference, comparison.current)
            return np.minimum(np.sqrt(sizes) * limit, LARGEST)
