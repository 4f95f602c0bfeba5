"""Fit the normal scores of features, and how the correlation of each pair varies by chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64, I32, PredictionBatch
from collector_processor.reference.document import Json, Node
from collector_processor.reference.fits.base import FitRows
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.fits.pair_scores import PairScores, Scores
from collector_processor.statistics.labeled import EPSILON
from collector_processor.statistics.parts.pair_moments import PairMoments, correlations, pair_sums
from collector_processor.statistics.schema import Schema

MOST: Final = 64
"""Features whose pairs are watched: 2,016 pairs. Of more, those with the strongest correlations are."""
LEAST_ROWS: Final = 100
"""Rows that the reference needs: with fewer, chance alone changes any correlation."""
_LOOKED_AT: Final = 50_000
"""Most rows that the correlations are computed from, evenly spread over the reference."""
_MOMENTS: Final = 20_000
"""Most rows that higher moments are computed from."""
_CHOSEN_BY: Final = 2_000
"""Rows that choose the features."""
_DIGITS: Final = 4


class PairScoresFitter:
    """Score bins and categories by their rank in the reference, and correlate every two features."""

    name: ClassVar[str] = "pair_scores"
    kind: type[PairScores] = PairScores
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> PairScores | None:
        """Return the scores; None for fewer than two features that vary."""
        schema = rows.schema
        if len(rows.batch) < LEAST_ROWS:
            return None
        positions = np.array([i for i, spec in enumerate(schema.columns) if spec.role == "feature"], np.int32)
        if len(positions) > MOST:
            positions = _strongest(*_scored(schema, spread(rows.batch, _CHOSEN_BY), positions))
        batch = spread(rows.batch, _LOOKED_AT)
        scores, cells = _scored(schema, batch, positions)
        if len(scores.positions) < 2:
            return None
        correlation, rows_of_pairs = _correlation(cells, batch.weights)
        step = -(-len(batch) // _MOMENTS)
        variance, skew, kurtosis = contributions(cells[:, ::step], batch.weights[::step], correlation)
        return PairScores(scores, correlation, variance, skew, kurtosis, rows_of_pairs)

    def written(self, fit: PairScores) -> Mapping[str, Json]:
        """Return positions, scores by feature, and the upper triangles of the matrices."""
        positions = fit.scores.positions
        upper = np.triu_indices(len(positions), 1)
        rows = [row[~np.isnan(row)] for row in fit.scores.bins] + [*fit.scores.categories]
        return {
            "positions": positions.tolist(),
            "scores": {str(place): row.tolist() for place, row in zip(positions.tolist(), rows, strict=True)},
            **{name: np.asarray(getattr(fit, name))[upper].tolist() for name in _MATRICES},
        }

    def read(self, node: Node, schema: Schema) -> PairScores:
        """Return the fit, checked against the schema."""
        positions = node["positions"].integers(0, max(len(schema.columns) - 1, 0))
        if not 2 <= len(positions) <= MOST or (np.diff(positions) <= 0).any():
            node["positions"].fail(f"must be 2 to {MOST} ascending positions")
        if any(schema.columns[place].role != "feature" for place in positions.tolist()):
            node["positions"].fail("must be positions of features")
        scores = tuple(node["scores"][str(place)].numbers() for place in positions.tolist())
        for place, one, size in zip(positions.tolist(), scores, _sizes(schema, positions), strict=True):
            # Categories may have come since the fit.
            if len(one) > size or (len(one) < size and place < len(schema.numeric)):
                node["scores"][str(place)].fail(f"must have {size} numbers")
        size = len(positions)
        matrices: dict[str, F64] = {}
        for name in _MATRICES:
            values = node[name].numbers()
            if len(values) != size * (size - 1) // 2:
                node[name].fail(f"must have {size * (size - 1) // 2} numbers")
            matrix = np.zeros((size, size))
            matrix[np.triu_indices(size, 1)] = values
            matrices[name] = matrix + matrix.T
        np.fill_diagonal(matrices["correlation"], 1.0)
        return PairScores(Scores.stacked(schema, positions, scores), **matrices)


_MATRICES: Final = ("correlation", "variance", "skew", "kurtosis", "rows")


def contributions(cells: F64, weights: F64, correlation: F64) -> tuple[F64, F64, F64]:
    """Return variance, skewness and excess kurtosis of one row's contribution to the correlation of each pair.

    With standardized cells z, a row moves the correlation r by ψ / n, ψ = z z′ − r (z² + z′²) / 2.
    """
    size = len(cells)
    variance, skew, kurtosis = (np.zeros((size, size)) for _ in range(3))
    for row in range(size - 1):
        others = slice(row + 1, size)
        one, rest = cells[row], cells[others]
        r = correlation[row, others, None]
        psi = one * rest - r / 2.0 * (one * one + rest * rest)
        there = ~np.isnan(psi)
        share = np.where(there, weights, 0.0)
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
        psi = np.where(there, psi, 0.0)
        psi = np.where(there, psi - (share * psi).sum(axis=1, keepdims=True), 0.0)
        square = psi * psi
        second = np.maximum((share * square).sum(axis=1), 1e-12)
        variance[row, others] = second
        skew[row, others] = (share * square * psi).sum(axis=1) / second**1.5
        kurtosis[row, others] = (share * square * square).sum(axis=1) / second**2 - 3.0
    return _both(variance), _both(skew), _both(kurtosis)


def _both(upper: F64) -> F64:
    return np.round(upper + upper.T, 9)


def spread(batch: PredictionBatch, most: int) -> PredictionBatch:
    """Return at most ``most`` rows, evenly spread over the batch."""
    return batch if len(batch) <= most else batch.take(slice(None, None, -(-len(batch) // most)))


def _scored(schema: Schema, batch: PredictionBatch, positions: I32) -> tuple[Scores, F64]:
    """Return the normal scores of the features that vary, and the score of each cell."""
    sizes = _sizes(schema, positions)
    own = Scores.stacked(schema, positions, [np.arange(float(size)) for size in sizes], np.nan)
    found = [_normal(cells, batch.weights, size) for cells, size in zip(own.of(schema, batch), sizes, strict=True)]
    varying = positions[[place for place, one in enumerate(found) if one is not None]]
    scores = Scores.stacked(schema, varying, [one for one in found if one is not None])
    return scores, scores.of(schema, batch)


def _sizes(schema: Schema, positions: I32) -> list[int]:
    """Return how many bins or categories each column has."""
    edges = schema.edges
    return [
        finite_edges(edges[place]) + 1
        if place < len(schema.numeric)
        else len(schema.categories.names(place - len(schema.numeric)))
        for place in positions.tolist()
    ]


def _normal(cells: F64, weights: F64, size: int) -> F64 | None:
    """Return the normal score of each bin or category by its rank, with mean 0 and variance 1; None for a constant.

    Categories are ranked in the order of the table, the most frequent first.
    """
    present = ~np.isnan(cells)
    counts = np.bincount(cells[present].astype(np.int64), weights[present], size)[:size]
    total = counts.sum()
    if np.count_nonzero(counts > 0.0) < 2:
        return None
    # A bin beyond the range has the rank 0 or 1, and so has one whose rows weigh nothing beside the others.
    scores = ndtri(np.clip((np.cumsum(counts) - counts / 2.0) / total, EPSILON, 1.0 - EPSILON))
    inside = np.flatnonzero(counts > 0.0)
    scores = np.clip(scores, scores[inside[0]], scores[inside[-1]])
    mean = (scores * counts).sum() / total
    spread = np.sqrt(((scores - mean) ** 2 * counts).sum() / total)
    if not spread > 0.0:
        return None
    return np.round((scores - mean) / spread, _DIGITS)


def _correlation(cells: F64, weights: F64) -> tuple[F64, F64]:
    """Return the correlation of each pair, and how many independent rows have both cells."""
    sums = pair_sums(cells, weights)
    rows = np.array([weights.sum(), (weights * weights).sum(), 0.0, 0.0])
    correlation, present = correlations(PairMoments(rows, *sums))
    return np.round(np.nan_to_num(correlation), 9), np.round(present, 6)


def _strongest(scores: Scores, cells: F64) -> I32:
    """Return the features with the strongest correlations."""
    matrix = np.abs(np.nan_to_num(np.corrcoef(np.nan_to_num(cells))))
    np.fill_diagonal(matrix, 0.0)
    return np.sort(scores.positions[np.argsort(-matrix.max(axis=1, initial=0.0), kind="stable")[:MOST]])
