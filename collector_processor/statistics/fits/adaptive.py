"""The adaptive estimate: a calibrated probability, corrected by trees that look at the features too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Mask, PredictionBatch
from collector_processor.statistics.fits.inputs import UNSEEN, Inputs
from collector_processor.statistics.fits.trees import Trees

CLIP: Final = 1e-6
"""Calibrated probabilities are clipped to [1e-6, 1 − 1e-6] before their logit."""
SUPPORT_TREES: Final = 3
"""Rows that share their leaf in each of the first three trees are alike."""
THIN: Final = 30.0
"""An estimate is not supported by fewer reference rows that are alike."""


def logit(p: F64) -> F64:
    """Return the logarithm of the odds, of probabilities clipped to within [1e-6, 1 − 1e-6].

    >>> logit(np.array([0.5, 0.0, 1.0])).round(3).tolist()
    [0.0, -13.816, 13.816]
    """
    clipped = np.clip(p, CLIP, 1.0 - CLIP)
    return np.log(clipped / (1.0 - clipped))


def probability(log_odds: F64) -> F64:
    """Return the probability of log odds.

    >>> probability(np.array([0.0, 800.0, -800.0])).tolist()
    [0.5, 1.0, 0.0]
    """
    return 0.5 + 0.5 * np.tanh(0.5 * log_odds)


@dataclass(frozen=True, slots=True)
class AdaptiveTrees:
    """Trees on features and calibrated log odds, whose sum is added to these log odds.

    - ``slot``: the class that was positive when they were fitted. ``inputs``: the features that they look at; the last
      input of the trees is the log odds.
    - ``low`` and ``high`` float64 ``[numeric]``: the range of each in the reference. ``unseen`` float64
      ``[categorical]``: the reference rows with a category that is not listed because it is rare.
    - ``cells`` int32, ascending, and ``rows`` float64 ``[k]``: the reference rows in each cell. A cell is a leaf of
      each of the first :data:`SUPPORT_TREES` trees.
    """

    whole: ClassVar[int] = 2048
    """Rows of a minute that are all evaluated: 60 trees cost about 1 µs a row, and their inputs half as much."""

    slot: int
    inputs: Inputs
    trees: Trees
    low: F64
    high: F64
    unseen: F64
    cells: I32
    rows: F64

    def evaluate(self, batch: PredictionBatch, calibrated: F64) -> tuple[F64, Mask]:
        """Return the probability of each row ``[n]`` and whether the reference has few rows or none like it.

        That is: fewer than :data:`THIN` in its cell or of its category, or a number outside of the reference's range.
        NaN stays NaN.
        """
        log_odds = logit(calibrated)
        matrix = self.inputs.matrix(batch, [log_odds])
        leaves = np.empty((len(batch), min(SUPPORT_TREES, len(self.trees.roots))), np.int32)
        corrected = probability(log_odds + self.trees.sums(matrix, leaves))
        return corrected, self._alone(cells_of(leaves, len(self.trees.values))) | self._strange(matrix)

    def _alone(self, cells: I32) -> Mask:
        """Return the rows in cells with few rows of the reference."""
        place = np.minimum(np.searchsorted(self.cells, cells), len(self.cells) - 1)
        return (self.cells[place] != cells) | (self.rows[place] < THIN)

    def _strange(self, matrix: F64) -> Mask:
        """Return the rows with a category or a number that is not in the reference."""
        numeric = len(self.inputs.numeric)
        numbers, codes = matrix[:, :numeric], matrix[:, numeric : len(self.inputs.names)]
        beyond = ((numbers < self.low) | (numbers > self.high)).any(axis=1)
        return beyond | ((codes == UNSEEN) & (self.unseen < THIN)).any(axis=1)


def cells_of(leaves: I32, count: int) -> I32:
    """Return one number for a row's leaves in three trees, int32 ``[n]``; there are ``count`` leaves, fewer than 1290.

    >>> cells_of(np.array([[1, 5], [1, 6]], np.int32), 8).tolist()
    [13, 14]
    """
    cells = np.zeros(len(leaves), np.int32)
    for column in leaves.T:
        cells = cells * np.int32(count) + column
    return cells
