"""Bin the numeric columns of a reference; those of a score also where its calibration bends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.reference.columns import Source
from collector_processor.statistics.accumulate import SCORE_COLUMN
from collector_processor.statistics.bins import EDGES_LIMIT, Bins, fine_edges
from collector_processor.statistics.compat import Compat
from collector_processor.statistics.estimates import positive_curve
from collector_processor.statistics.schema import Schema

_TAIL: Final = 2.0 ** -np.arange(9, 21)
_TAILS: Final = np.concatenate((_TAIL, 1.0 - _TAIL))
_CELLS: Final = np.linspace(0.0, 1.0, 257)
MAX_CORNERS: Final = 512
"""Most edges at which a calibration bends: some hundreds, even of millions of rows."""
Progress = Callable[[int, int, str], None]
"""Called with (done, total, current step)."""


def ranged(
    sources: Sequence[Source],
    weights: F64,
    threshold: float | None,
    progress: Progress | None,
    others: Compat | None = None,
) -> tuple[list[Bins], F64]:
    """Return the bins and the standard deviation of every numeric column; ``others`` are edges to have, too."""
    edges = _decided(threshold)
    bins: list[Bins] = []
    spread = np.zeros(len(sources))
    even = bool(weights[0] > 0.0 and (weights == weights[0]).all())
    for position, source in enumerate(sources):
        if progress is not None:
            progress(position, len(sources), f"binning {source.spec.name}")
        values, cell_weights = source.numbers(weights)
        score = source.spec == SCORE_COLUMN
        include = (*(edges if score else ()), *_further(others, position))
        fine = fine_edges(values, None if even else cell_weights, include=include, half=not score)
        bins.append(ranked(fine) if score else fine)
        spread[position] = _spread(values, cell_weights, even=even)
    return bins, spread


def with_corners(schema: Schema, sources: Sequence[Source], bins: Sequence[Bins], weights: F64) -> Schema:
    """Return the schema with edges where the calibration of its score bends, so that it is linear within each bin."""
    curve = positive_curve(schema)
    place = next((place for place, source in enumerate(sources) if source.spec == SCORE_COLUMN), None)
    if curve is None or place is None:
        return schema
    values, cell_weights = sources[place].numbers(weights)
    starts, ends = (_thinned(knots, MAX_CORNERS // 2) for knots in curve.corners())
    decided = (*_decided(schema.threshold), *_further(schema.fit(Compat), place))
    limit = EDGES_LIMIT + len(starts) + len(ends)
    fine = fine_edges(values, cell_weights, include=decided, starts=starts, ends=ends, limit=limit, half=False)
    edges, drift_edges = padded([*bins[:place], ranked(fine), *bins[place + 1 :]])
    return replace(schema, edges=edges, drift_edges=drift_edges)


def _further(others: Compat | None, position: int) -> list[float]:
    """Return the edges of another tool's bins within the range of a column."""
    grids = {} if others is None else others.grids.get(position, {})
    return [edge for grid in grids.values() for edge in grid[1:-1].tolist()]


def _thinned(knots: F64, most: int) -> F64:
    """Return at most ``most`` knots, evenly spread among them."""
    return knots if len(knots) <= most else knots[np.linspace(0, len(knots) - 1, most).astype(np.int64)]


def _decided(threshold: float | None) -> tuple[float]:
    """Return where a binary decision is made, usually one half: as an edge, counts of any window are exact there."""
    return (0.5,) if threshold is None or not math.isfinite(threshold) else (threshold,)


def ranked(bins: Bins) -> Bins:
    """Return the bins of a probability with edges on all of 0 to 1, and none wider than 1/256.

    Scores that the reference lacks are ranked too: its first rows may all be negative, and the scores of positive ones
    are then above its range.

    >>> ranked(fine_edges(np.array([0.1, 0.2]))).edges[[0, -1]].tolist(), len(ranked(fine_edges(np.array([7.0]))).edges)
    ([0.0, 1.0], 4)
    """
    edges = bins.edges
    if not (bins.low >= 0.0 and bins.high <= 1.0):
        return bins
    beyond = _TAILS[(edges[0] > _TAILS) | (edges[-1] < _TAILS)]
    place = np.searchsorted(edges, _CELLS)
    width = np.append(edges, np.inf)[place] - np.append(-np.inf, edges)[place]
    every = np.unique(np.concatenate((edges, beyond, _CELLS[width > _CELLS[1]])))
    return bins._replace(edges=every, drift=np.searchsorted(every, edges[bins.drift]).astype(np.int32))


def _spread(values: F64, weights: F64, *, even: bool = False) -> float:
    """Weighted standard deviation (ddof 0) of the finite values, 0 without any; scaled so that no square overflows.

    ``even``: all weights are the same positive number.
    """
    if not (even and len(values) and np.isfinite(values.min()) and np.isfinite(values.max())):
        finite = np.isfinite(values) & (weights > 0.0)
        values, weights = values[finite], weights[finite]
    if not len(values) or (low := values.min()) == (high := values.max()):
        return 0.0
    exponent = int(np.frexp(max(-low, high))[1])
    scaled, share = _scaled(values, -exponent), (weights[0] if even else weights) / weights.sum()
    # All steps reuse two arrays: with new memory for each step, allocation would take most of the time.
    product = scaled * share
    centered = np.subtract(scaled, product.sum(), out=scaled)
    shift = np.multiply(centered, share, out=product).sum()
    np.multiply(centered, centered, out=product)
    product *= share
    variance = product.sum() - shift**2
    return float(np.ldexp(np.sqrt(max(variance, 0.0)), exponent))


def _scaled(values: F64, exponent: int) -> F64:
    """Multiply values by a power of two, which loses no digits; a product is faster if a float can hold the power."""
    return values * 2.0**exponent if abs(exponent) < 1000 else np.ldexp(values, exponent)


def padded(bins: Sequence[Bins]) -> tuple[F64, I32]:
    """Return edges padded with ``+inf``, and coarse positions padded with their last, as :class:`.Schema` requires."""
    edges = np.full((len(bins), max([1, *(len(column.edges) for column in bins)])), np.inf)
    drift = np.zeros((len(bins), max([1, *(len(column.drift) for column in bins)])), np.int32)
    for row, column in enumerate(bins):
        edges[row, : len(column.edges)] = column.edges
        drift[row] = column.drift[-1]
        drift[row, : len(column.drift)] = column.drift
    return edges, drift
