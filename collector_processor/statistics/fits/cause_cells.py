"""Cells of like predictions: the leaf of a small tree that looks at features, and the tenth that the score is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, Mask, PredictionBatch
from collector_processor.statistics.cells import likeliest_score, score_cells
from collector_processor.statistics.fits.inputs import UNSEEN, Inputs
from collector_processor.statistics.fits.trees import Trees
from collector_processor.statistics.sample import Levels
from collector_processor.statistics.schema import Schema

LEAVES: Final = 24
RANGES: Final = 10
THIN: Final = 30.0
"""A category with fewer rows in the reference is a new one."""
NO_CELL: Final = -1
_SIZE: Final = 300
"""More than all cells: 25 leaves, each with ten ranges and one for a missing score."""
_KEYS: Final = 109
"""How many partitions a number can be of, so that it fits into 16 bits."""
_LEVEL: Final = 2**16
"""The bits above are those of the row's level in a sample (:mod:`.sample`)."""


@dataclass(frozen=True)
class CauseCells:
    """A partition of all predictions; cell = leaf · ranges + range of the score.

    - ``inputs`` and ``trees``: one tree, and the features that it or the next field looks at.
    - ``low`` and ``high`` float64 ``[numeric]``: the range of each in the reference. ``unseen`` float64
      ``[categorical]``: its rows with a category that is not listed because it is rare. A row with a number or a
      category that the reference lacks is in the last leaf.
    - ``cuts`` float64, ascending: where the ranges of the score, or of the value of a regression, meet. The last range
      is that of rows without a score.
    """

    inputs: Inputs
    trees: Trees
    low: F64
    high: F64
    unseen: F64
    cuts: F64

    @property
    def leaves(self) -> int:
        """Number of leaves, with the one of rows that the reference has none like."""
        return len(self.trees.values) + 1

    @property
    def ranges(self) -> int:
        """Number of ranges of the score, with the one of rows without a score."""
        return len(self.cuts) + 2

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.leaves * self.ranges

    @cached_property
    def key(self) -> int:
        """A number that another partition most likely does not have."""
        trees = self.trees
        arrays = (
            self.low, self.high, self.unseen, self.cuts, trees.roots, trees.feature, trees.threshold, trees.left,
            trees.right, trees.missing_left, trees.sets, trees.set_starts, trees.set_codes,
        )  # fmt: skip
        meaning = repr((self.inputs.places, self.inputs.codes)).encode()
        return crc32(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays), crc32(meaning)) % _KEYS

    def of(self, schema: Schema, batch: PredictionBatch) -> I32:
        """Return the cell of each row together with :attr:`key`, int32 ``[n]``; it fits into 16 bits."""
        cells = np.full(len(batch), self.ranges - 1 + _SIZE * self.key, np.int32)
        scores = ranked(schema, batch)
        if scores is not None:
            # Counting comparisons takes less than half of the time that searching does, for this few cuts.
            below = np.add.reduce(scores >= self.cuts[:, None], axis=0, dtype=np.int32)
            cells -= np.where(np.isnan(scores), np.int32(0), np.int32(self.ranges - 1) - below)
        if self.inputs.names:
            matrix = self.inputs.matrix(batch)
            leaf = np.empty((len(batch), 1), np.int32)
            self.trees.sums(matrix, leaf)
            outside = self._outside(matrix)
            found = leaf[:, 0] if outside is None else np.where(outside, np.int32(self.leaves - 1), leaf[:, 0])
            cells += np.int32(self.ranges) * found
        return cells

    def decoded(self, cells: I32) -> I32:
        """Return the cells of rows, :data:`NO_CELL` for a row without one, or with one of another partition."""
        cell = (cells & np.int32(_LEVEL - 1)) - np.int32(_SIZE * self.key)
        return np.where((cell >= 0) & (cell < self.count), cell, np.int32(NO_CELL))

    def _outside(self, matrix: F64) -> Mask | None:
        """Return the rows with a number or a category that the reference lacks, None for none."""
        low, high = self._limits
        columns = np.ascontiguousarray(matrix.T)
        least, most = np.fmin.reduce(columns, axis=1, initial=np.inf), np.fmax.reduce(columns, axis=1, initial=-np.inf)
        beyond = (least < low) | (most > high)
        if not beyond.any():
            return None
        columns, low, high = columns[beyond], low[beyond, None], high[beyond, None]
        outside: Mask = np.logical_or.reduce((columns < low) | (columns > high), axis=0)
        return outside

    @cached_property
    def _limits(self) -> tuple[F64, F64]:
        """The least and the greatest value of each input that the reference has."""
        least_code = np.where(self.unseen < THIN, UNSEEN + 1.0, -np.inf)
        return np.append(self.low, least_code), np.append(self.high, np.full(len(least_code), np.inf))


def with_level(cells: NDArray[Any], levels: Levels) -> I32:
    """Return cells with the level of each row in a sample, int32 ``[n]``."""
    return np.where(levels > 0, cells + np.int32(_LEVEL) * (levels.astype(np.int32) - 1), NO_CELL).astype(np.int32)


def stand_for(cells: I32) -> F64:
    """Return how many rows each row with a cell stands for, ``[n]``.

    >>> stand_for(with_level(np.array([7, 7, 7]), np.array([1, 2, 3], np.uint8))).tolist()
    [1.0, 2.0, 4.0]
    """
    return np.exp2(cells // np.int32(_LEVEL))


def ranked(schema: Schema, batch: PredictionBatch) -> F64 | None:
    """Return what the ranges are of ``[n]``: the score of the positive class, the greatest, or a regression's value.

    None without any.
    """
    if schema.task == "regression":
        return batch.value
    scores = score_cells(batch, schema.positive_class)
    return likeliest_score(batch, scores) if schema.task == "multiclass_classification" else scores
