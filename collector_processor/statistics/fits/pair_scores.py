"""Normal scores of cells: what each bin or category stands for, so that correlations are robust and have no unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64, I32, I64, Column, PredictionBatch
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts


@dataclass(frozen=True, slots=True)
class Scores:
    """A number for every fine bin and every category of some features.

    - ``positions`` int32 ``[K]``: the features in ``schema.columns``, ascending.
    - ``bins`` ``[k, B + 1]``: of the numeric ones, the number of each fine bin; the last is NaN, for a missing cell.
    - ``categories``: of the others, the number of each category in the order of ``schema.categories.names``.
    - ``named``: the same by category.
    - ``other``: the number of a newer category.
    """

    positions: I32
    bins: F64
    categories: tuple[F64, ...]
    named: tuple[Mapping[str, float], ...]
    other: float = 0.0

    @classmethod
    def stacked(cls, schema: Schema, positions: I32, scores: Sequence[F64], other: float = 0.0) -> Scores:
        """Return the scores of a list with one array for each feature."""
        numbers = int(np.searchsorted(positions, len(schema.numeric)))
        bins = np.full((numbers, schema.edges.shape[1] + 2), np.nan)
        for row, one in enumerate(scores[:numbers]):
            bins[row, : len(one)] = one
        others, names = tuple(scores[numbers:]), schema.categories.names
        columns: list[int] = (positions[numbers:] - len(schema.numeric)).tolist()
        named = [
            dict(zip(names(column), one.tolist(), strict=False)) for column, one in zip(columns, others, strict=True)
        ]
        return cls(positions, bins, others, tuple(named), other)

    def of(self, schema: Schema, batch: PredictionBatch) -> F64:
        """Return the score of the cells of a batch, ``[K, n]``; NaN for a missing one."""
        found = np.empty((len(self.positions), len(batch)))
        numbers = len(self.bins)
        positions: I64 = self.positions[:numbers].astype(np.int64)
        columns = [batch.features.get(schema.numeric[place].name) for place in positions.tolist()]
        bins = fine_bins(schema, positions, columns, len(batch))
        # A missing cell is bin −1: the last of the row above, which is NaN, too.
        places = bins + self.bins.shape[1] * np.arange(numbers)[:, None]
        found[:numbers] = self.bins.ravel().take(places, mode="wrap")
        for row, named in enumerate(self.named, numbers):
            position = int(self.positions[row]) - len(schema.numeric)
            column = batch.features.get(schema.categorical[position].name)
            found[row] = np.nan if column is None else self._of_texts(column, named)
        return found

    def _of_texts(self, column: Column, named: Mapping[str, float]) -> F64:
        texts = as_texts(column)
        if texts.codes is None:
            return np.full(len(texts), np.nan)
        names, codes = texts.categories, texts.codes
        if len(names) > len(codes):  # of many categories, few occur
            used, codes = np.unique(codes, return_inverse=True)
            return np.array([named.get(names[code], self.other) if code >= 0 else np.nan for code in used.tolist()])[
                codes
            ]
        return np.array([*(named.get(name, self.other) for name in names), np.nan])[codes]


@dataclass(frozen=True, slots=True)
class PairScores:
    """Normal scores of ``K`` features, and how their pairs are correlated in the reference.

    - ``scores``: standardized normal scores; a newer category has 0.
    - ``correlation`` ``[K, K]``: of the scores of each pair; symmetric, 1 on the diagonal.
    - ``variance``, ``skew``, ``kurtosis`` ``[K, K]``: of one row's contribution to the correlation.
    - ``rows`` ``[K, K]``: how many independent rows of the reference have both cells.
    """

    scores: Scores
    correlation: F64
    variance: F64
    skew: F64
    kurtosis: F64
    rows: F64
