"""How far rows are from the space in which most of the reference's rows lie: principal components, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, PredictionBatch
from collector_processor.statistics.fits.pair_scores import Scores
from collector_processor.statistics.schema import Schema

FARTHEST: Final = 1e6
"""A cell counts as at most this many standard deviations from its mean, so that sums stay finite."""
SIGMAS: Final = 3.0
_ONE_THREAD: Final = 2**17
"""Multiplications of one matrix product that OpenBLAS does not divide between threads."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """The errors of the reference: mean and standard deviation of the means of its chunks, rows of a chunk, and the
    standard deviation of one row's error.
    """

    mean: float
    spread: float
    rows: float
    of_row: float

    def limits(self, rows: float) -> tuple[float, float]:
        """Return the lower and the upper limit of the mean of ``rows`` rows, at a chunk's size or more NannyML's:
        mean ± 3 σ, NaN for a lower one that is not above 0. Fewer rows vary more by chance.

        >>> Chunks(1.0, 0.1, 100.0, 2.0).limits(100.0)
        (0.7, 1.3)
        >>> [round(limit, 2) for limit in Chunks(1.0, 0.1, 100.0, 2.0).limits(50.0)]
        [0.33, 1.67]
        """
        more = self.of_row**2 * max(1.0 / rows - 1.0 / self.rows, 0.0)
        reach = SIGMAS * sqrt(self.spread**2 + more)
        return self.mean - reach if self.mean > reach else nan, self.mean + reach


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Principal components of ``K`` features of which each has mean 0 and variance 1.

    - ``positions`` int32 ``[K]``: the features in ``schema.columns``, ascending.
    - ``shares``: the number of each category of the categorical ones: its share of the reference, 0 of a newer one.
    - ``fill``, ``mean``, ``scale`` ``[K]``: what a missing cell stands for, and how numbers are standardized.
    - ``components`` ``[C, K]``: orthonormal.
    - ``squares`` ``[K]``: the mean squared residual of each feature in the reference.
    - ``whole``: whether all rows are looked at, not a sample of them; then limits are NannyML's at any size.
    """

    positions: I32
    shares: Scores
    fill: F64
    mean: F64
    scale: F64
    components: F64
    squares: F64
    chunks: Chunks
    whole: bool

    def residuals(self, schema: Schema, batch: PredictionBatch) -> F64:
        """Return what the components do not explain of each cell, ``[K, n]``."""
        cells = filled(encoded(schema, self.positions, self.shares, batch), self.fill)
        return unexplained(self.components, standardized(cells, self.mean, self.scale))

    def limits(self, rows: float) -> tuple[float, float]:
        """Return the limits of a mean of that many independent rows; NaN without a lower one."""
        return self.chunks.limits(max(rows, self.chunks.rows) if self.whole else rows)


def encoded(schema: Schema, positions: I32, shares: Scores, batch: PredictionBatch) -> F64:
    """Return numbers as they are and categories as their shares, ``[K, n]``; a missing cell is not finite."""
    numbers = len(positions) - len(shares.positions)
    found = np.full((len(positions), len(batch)), np.nan)
    for row, position in enumerate(positions[:numbers].tolist()):
        column = batch.features.get(schema.numeric[position].name)
        if column is not None and column.numbers is not None:
            found[row] = column.numbers
    if numbers < len(positions):
        found[numbers:] = shares.of(schema, batch)
    return found


def filled(cells: F64, fill: F64) -> F64:
    """Return cells ``[K, m]`` with the feature's ``fill`` instead of what is not finite."""
    return np.where(np.isfinite(cells), cells, fill[:, None])


def standardized(cells: F64, mean: F64, scale: F64) -> F64:
    """Return cells in standard deviations from the mean of their feature."""
    with np.errstate(over="ignore"):
        return np.clip((cells - mean[:, None]) / scale[:, None], -FARTHEST, FARTHEST)


def unexplained(components: F64, cells: F64) -> F64:
    """Return cells ``[K, m]`` minus their projection on the components, on this thread alone."""
    residual = np.empty_like(cells)
    step = max(1, _ONE_THREAD // max(components.size, 1))
    for start in range(0, cells.shape[1], step):
        part = cells[:, start : start + step]
        residual[:, start : start + step] = part - components.T @ (components @ part)
    return residual
