"""The sums from which each pair of features has its correlation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.pair_scores import PairScores
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.sample import sampled
from collector_processor.statistics.schema import Schema

_ONE_THREAD: Final = 2**17
"""Multiplications of one matrix product that OpenBLAS does not divide between threads."""


@dataclass(slots=True)
class PairMoments(Part):
    """Sums over a sample of rows (:mod:`.sample`) of the scores s of ``K`` features (:class:`.PairScores`).

    - ``rows`` ``[4]``: Σ w, Σ w², how many rows were looked at, and how many came.
    - ``firsts`` ``[K]``: Σ w s of the cells that are not missing.
    - ``products`` and ``present`` ``[K (K + 1) / 2]``: Σ w s s′ and Σ w of the rows that have both cells, by
      :func:`numpy.triu_indices`.
    """

    name: ClassVar[str] = "pair_moments"

    rows: F64
    firsts: F64
    products: F64
    present: F64

    @classmethod
    def empty(cls, schema: Schema) -> PairMoments:
        """Return the sums of nothing; of size 0 for a model without pairs."""
        fit = schema.fit(PairScores)
        size = 0 if fit is None else len(fit.scores.positions)
        pairs = size * (size + 1) // 2
        return cls(np.zeros(4 if size else 0), np.zeros(size), np.zeros(pairs), np.zeros(pairs))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the scores of a sample of the rows."""
        fit = schema.fit(PairScores)
        if fit is None:
            return
        sample = sampled(rows.batch)
        weights = sample.weights
        self.rows += (weights.sum(), (weights * weights).sum(), len(weights), len(rows.batch))
        if not len(weights):
            return
        firsts, products, present = pair_sums(fit.scores.of(schema, sample.batch), weights)
        self.firsts += firsts
        self.products += products
        self.present += present


def pair_sums(scores: F64, weights: F64) -> tuple[F64, F64, F64]:
    """Return ``firsts``, ``products`` and ``present`` of scores ``[K, n]``; NaN is missing."""
    upper = _upper(len(scores))
    absent = np.isnan(scores)
    if not absent.any():
        weighted = scores * weights
        return weighted.sum(axis=1), products(weighted, scores)[upper], np.full(len(upper[0]), weights.sum())
    scores = np.where(absent, 0.0, scores)
    weighted, there = scores * weights, (~absent).astype(np.float64)
    return weighted.sum(axis=1), products(weighted, scores)[upper], products(there * weights, there)[upper]


def products(one: F64, other: F64) -> F64:
    """Return ``one @ other.T``, on this thread alone: the library starts others for large products."""
    total = np.zeros((len(one), len(other)))
    step = max(1, _ONE_THREAD // max(total.size, 1))
    for start in range(0, one.shape[1], step):
        total += one[:, start : start + step] @ other[:, start : start + step].T
    return total


_upper = cache(np.triu_indices)


def correlations(part: PairMoments) -> tuple[F64, F64]:
    """Return the correlation of each pair ``[K, K]``, and the independent rows that have both cells; NaN without any.

    Means and variances are those of all cells of a feature, products those of the rows that have both.
    """
    size = len(part.firsts)
    upper = _upper(size)
    squares, present = np.zeros((size, size)), np.zeros((size, size))
    squares[upper], present[upper] = part.products, part.present
    squares, present = _both(squares), _both(present)
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = np.diag(present)
        mean = part.firsts / cells
        variance = np.diag(squares) / cells - mean**2
        spread = np.sqrt(np.where(variance > 1e-9, variance, np.nan))
        correlation = (squares / present - np.outer(mean, mean)) / np.outer(spread, spread)
        return np.clip(correlation, -1.0, 1.0), present * part.rows[0] / part.rows[1]


def _both(upper: F64) -> F64:
    """Return the symmetric matrix of an upper triangle."""
    return upper + np.triu(upper, 1).T
