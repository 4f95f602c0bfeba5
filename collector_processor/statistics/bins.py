"""Bins fixed by the reference: fine ones for exact distances, deciles for the binned drift scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics.distinct import LARGEST, Distinct

FINE_BINS: Final = 1024
"""A fine bin holds at most this fraction (1 / 1024) of the reference, unless a single value holds more."""
GAP_BINS: Final = 128
"""A fine bin covers at most this fraction (1 / 128) of the reference's mean distance from its median."""
EDGES_LIMIT: Final = 1100 + GAP_BINS
"""Maximum number of edges of a column, which bounds the memory of every pane."""
DECILES: Final = tuple(step / 10 for step in range(1, 10))


class Bins(NamedTuple):
    """Ascending finite edges ``[E]``, positions of the coarse ones ``[D]``, and the range of the reference."""

    edges: F64
    drift: I32
    low: float
    high: float


def fine_edges(
    values: F64,
    weights: F64 | None = None,
    *,
    bins: int = FINE_BINS,
    limit: int = EDGES_LIMIT,
    include: Sequence[float] = (),
    starts: Sequence[float] | F64 = (),
    ends: Sequence[float] | F64 = (),
    half: bool = True,
) -> Bins:
    """Return the edges of one numeric column from its reference values; NaN and infinite ones are left out.

    No edge lies on a reference value: all are in the gaps between them (:mod:`.distinct`), so that a value that comes
    rounded to float32 falls into the bin of its reference value, and between coarse edges also one that is rounded to
    float16, if ``half``. One edge is below the minimum and one above the maximum. The coarse edges are the deciles,
    those of ``numpy.quantile`` unless they lie on or too near a value, equal ones once. There are also quantiles that
    thin out by halves toward both tails, ``include`` within the range, as it is, and edges as near as rounding allows
    below the reference values ``starts`` and above ``ends``. The others cut the reference so that

    - no bin holds more than about ``1 / bins`` of it, except a single value that does: its bin extends only as far as
      rounding reaches. If that takes too many edges, the lightest such bins extend to the next edge (at most
      ``2 / bins`` each).
    - in no bin is ∫ min(F, 1 − F) dx more than its 128th part, which bounds the error of the Wasserstein distance.

    A column whose deciles are all one value has a separate coarse bin for that value. Without finite values there are
    no edges and the range is NaN.

    >>> bins = fine_edges(np.arange(11.0))
    >>> bins.edges[bins.drift].tolist(), bins.low, bins.high
    ([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5], 0.0, 10.0)
    >>> constant = fine_edges(np.full(100, 1024.0))
    >>> constant.edges.round(4).tolist(), constant.drift.tolist()
    ([1023.0, 1023.9998, 1024.0002, 1025.0], [0, 3])
    """
    ordered, mass = _ordered(values, weights)
    if not len(ordered):
        return Bins(np.empty(0), np.zeros(1, np.int32), np.nan, np.nan)
    distinct = Distinct.of(ordered, mass, half=half)
    low, high = float(ordered[0]) + 0.0, float(ordered[-1]) + 0.0
    levels = distinct.near(_quantiles(ordered, mass))
    inside = [x for x in include if low < x <= high]
    fixed = [distinct.tight_below([0], 0.0), distinct.tight_above([-1], 0.0), levels, inside]
    if len(starts) or len(ends):
        first, last = (np.searchsorted(distinct.first, values_at, "right") - 1 for values_at in (starts, ends))
        fixed += [distinct.tight_below(first), distinct.tight_above(last)]
    coarse = np.unique(levels[: len(DECILES)])
    if len(coarse) == 1:
        heaviest = np.searchsorted(distinct.first, coarse)
        coarse = np.concatenate((distinct.tight_below(heaviest), distinct.tight_above(heaviest)))
        fixed.append(coarse)
    most = distinct.deviation() / GAP_BINS
    edges = _finite(np.concatenate([*fixed, *_cuts(distinct, bins, limit - GAP_BINS, fixed, most)]))
    edges = _finite(np.concatenate((edges, _gap_cuts(distinct, edges, most))))
    return Bins(edges, np.searchsorted(edges, _finite(coarse)).astype(np.int32), low, high)


def _ordered(values: F64, weights: F64 | None) -> tuple[F64, F64 | None]:
    """Return finite values of positive weight in ascending order, with their weights; None if all weights are equal."""
    if weights is not None:
        used = np.isfinite(values) & (weights > 0.0)
        values, weights = values[used], weights[used]
        if len(weights) and not (weights == weights[0]).all():
            order = np.argsort(values, kind="stable")
            return values[order], weights[order]
    ordered = np.sort(values)  # NaN last
    return ordered[np.searchsorted(ordered, -np.inf, "right") : np.searchsorted(ordered, np.inf)], None


def _quantiles(ordered: F64, mass: F64 | None) -> F64:
    """Return the deciles, then levels 2⁻ʲ and 1 − 2⁻ʲ, j = 11, 12, …, as long as two rows lie beyond."""
    tails = [2.0**-j for j in range(11, 64) if len(ordered) * 2.0**-j >= 2.0]
    levels = np.array([*DECILES, *tails, *(1.0 - tail for tail in tails)])
    if mass is not None:
        cumulative = np.cumsum(mass)
        return ordered[np.minimum(np.searchsorted(cumulative, levels * cumulative[-1]), len(ordered) - 1)]
    if ordered[-1] / 4.0 - ordered[0] / 4.0 > LARGEST / 4.0:  # interpolation would overflow
        return _interpolated(ordered / 4.0, levels) * 4.0
    return _interpolated(ordered, levels)


def _interpolated(ordered: F64, levels: F64) -> F64:
    """Return what ``numpy.quantile`` gives, to the last digit, without partitioning values that are in order."""
    place = (len(ordered) - 1) * levels
    below = np.floor(place)
    share = place - below
    lower = ordered[below.astype(np.int64)]
    upper = ordered[np.minimum(below.astype(np.int64) + 1, len(ordered) - 1)]
    step = upper - lower
    return np.where(share >= 0.5, upper - step * (1.0 - share), lower + step * share)


def _cuts(
    distinct: Distinct, bins: int, limit: int, fixed: Sequence[F64 | list[float]], most: float
) -> tuple[F64, F64]:
    """Return the edges at which a new bin must start, and the upper edges to add while ``limit`` allows.

    Every value starts in one of ``bins`` cells of equal mass. The first of each cell starts a bin, and so does a value
    that is heavier than a cell. Two cases may still be too heavy: such a value together with the gap behind it, and a
    cell whose last value reaches far into the next cell. Both get one more edge, the heaviest first.
    """
    weight = distinct.weight
    share = weight.sum() / bins
    lightest = weight.min()
    heavy = weight > share
    if lightest == weight.max() == 1.0 and bins <= len(weight):
        starts = _even_starts(len(weight), bins)
    else:
        cell = _cell(np.cumsum(weight) - weight, share)
        starts = np.flatnonzero(np.concatenate(([True], cell[1:] != cell[:-1])) | heavy)
    in_bin = np.add.reduceat(weight, starts)
    last = np.append(starts[1:], len(weight)) - 1
    split = (in_bin > share + lightest) & ~heavy[starts]
    extra = np.concatenate((distinct.tight_above(np.flatnonzero(heavy), most), distinct.below(last[split])))
    extra = extra[np.argsort(-np.concatenate((weight[heavy], in_bin[split])), kind="stable")]
    edges = np.where(heavy[starts], distinct.tight_below(starts, most), distinct.below(starts))
    room = limit - len(np.unique(np.concatenate([*fixed, edges])))
    if room < 0 and bins > 1:
        return _cuts(distinct, bins // 2, limit, fixed, most)
    return edges, extra[: max(room, 0)]


def _gap_cuts(distinct: Distinct, edges: F64, most: float) -> F64:
    """Return the edges to add so that no bin has more than about ``most`` of ∫ min(F, 1 − F) dx.

    The integral grows in the gaps between values only, where F is constant.
    """
    if most <= 0.0:
        return np.empty(0)
    share = np.cumsum(distinct.weight)[:-1] / distinct.weight.sum()
    places = np.column_stack((distinct.first, distinct.last)).ravel()
    grown = np.zeros(len(places))
    grown[2::2] = (distinct.first[1:] - distinct.last[:-1]) * np.minimum(share, 1.0 - share)
    grown = np.cumsum(grown)
    at_edges = np.interp(edges, places, grown)
    parts = np.ceil(np.diff(at_edges) / most * (1.0 - 1e-9))
    targets = [
        np.linspace(at_edges[place], at_edges[place + 1], int(parts[place]) + 1)[1:-1]
        for place in np.flatnonzero(parts > 1.0).tolist()
    ]
    return distinct.near(np.interp(np.concatenate([np.empty(0), *targets]), grown, places), most)


def _cell(before: F64, share: float) -> F64:
    """Return the cell in which a value starts, given the mass before it."""
    return np.floor(before / share * (1.0 + 1e-12))


def _even_starts(rows: int, bins: int) -> I64:
    """Return where cells start among ``rows`` values of weight 1, at least one for each cell.

    Only the values near each expected start need to be checked.
    """
    cells = np.arange(bins)
    near = np.ceil(cells * (rows / bins))[:, None] + np.array([-1.0, 0.0, 1.0])
    near = np.clip(near, 0.0, rows - 1.0)
    reached = np.argmax(_cell(near, rows / bins) >= cells[:, None], axis=1)
    return np.unique(near[cells, reached].astype(np.int64))


def _finite(edges: F64) -> F64:
    """Return the distinct finite edges in order: the float above the largest one is infinite, like the padding."""
    return np.unique(edges[np.isfinite(edges)])


def bin_index(values: F64, edges: F64) -> I64:
    """Return the fine bin of each value, int64 ``[n]``: 0 below ``edges[0]``, ``b`` in ``[edges[b-1], edges[b])``.

    ``edges`` ``[E]`` may be padded with ``+inf``; all values above the last finite edge, +∞ too, share one bin. NaN
    gets that bin as well, so leave NaN out beforehand.

    >>> bin_index(np.array([-1.0, 0.0, 0.5, 1.0, np.inf]), np.array([0.0, 1.0, np.inf])).tolist()
    [0, 1, 1, 2, 2]
    """
    return np.searchsorted(edges[: finite_edges(edges)], values, side="right")


def finite_edges(edges: F64) -> int:
    """Return how many of a column's edges are not padding."""
    return int(np.searchsorted(edges, np.inf))


def coarse(counts: F64, drift_edges: I32) -> F64:
    """Return fine counts ``[F, B]`` summed between the coarse edges, ``[F, D + 1]``.

    >>> coarse(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0, 2, 2]], np.int32)).tolist()
    [[1.0, 5.0, 0.0, 4.0]]
    """
    columns, bins = counts.shape
    firsts = np.zeros((columns, drift_edges.shape[1] + 1), np.int64)
    firsts[:, 1:] = drift_edges + 1
    starts = (firsts + bins * np.arange(columns)[:, None]).ravel()
    if not len(starts):
        return np.zeros(firsts.shape)
    sums = np.add.reduceat(counts.ravel(), starts)
    sums[:-1][starts[1:] <= starts[:-1]] = 0.0  # padding: reduceat gives the first cell of an empty part
    return sums.reshape(firsts.shape)


def merge_light(reference: F64, current: F64, light: float = 1e-4) -> tuple[F64, F64]:
    """Return both counts ``[F, K]`` with stray bins merged into a neighbor, so that an outlier does not count as drift.

    A bin is stray if the reference has nothing in it and the current rows less than the share ``light``: the square
    root in Jensen–Shannon and Hellinger would exaggerate it. Its rows go into the nearest lower bin that the reference
    has, else into the nearest higher one. The stray bin stays, empty on both sides, which adds nothing to any score.

    >>> merge_light(np.array([[0.0, 9.0, 0.0]]), np.array([[1.0, 99_998.0, 20.0]]))[1].tolist()
    [[0.0, 99999.0, 20.0]]
    """
    filled = reference > 0.0
    total = current.sum(axis=1, keepdims=True)
    stray = ~filled & (current > 0.0) & (current < light * total) & filled.any(axis=1, keepdims=True)
    if not stray.any():
        return reference, current
    bins = np.broadcast_to(np.arange(reference.shape[1]), reference.shape)
    lower = np.maximum.accumulate(np.where(filled, bins, -1), axis=1)
    target = np.where(lower >= 0, lower, np.argmax(filled, axis=1)[:, None])
    rows, columns = np.nonzero(stray)
    merged = np.where(stray, 0.0, current)
    np.add.at(merged, (rows, target[rows, columns]), current[rows, columns])
    return reference, merged
