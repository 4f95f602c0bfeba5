"""From the scores of all classes to their probabilities, as the labels of the reference show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.statistics.fits.calibration import Curve

CELLS: Final = 16_384
"""Scores of one minute that are all calibrated: of more, a sample of the rows."""


@dataclass(frozen=True, slots=True)
class ClassCurves:
    """The calibration of each class of a multiclass model.

    ``slots`` int32 ``[K]`` of the classes in ``schema.classes``, ascending; the ``curves`` of their scores; and the
    ``edges`` ``[K, E]`` of the bins in which rows are ranked by the score of each class, padded with ``+inf``.
    """

    slots: I32
    curves: tuple[Curve, ...]
    edges: F64

    @property
    def whole(self) -> int:
        """The rows of a minute that are all calibrated."""
        return max(CELLS // len(self.curves), 1)

    def probabilities(self, scores: F64) -> F64:
        """Return the probability of each class ``[n, K]``: calibrated, and divided by their sum.

        Uniform where all of them are 0. NaN in a row that lacks a score, or has one that its curve is not about.
        """
        found = np.stack([curve.at(scores[:, place]) for place, curve in enumerate(self.curves)], axis=1)
        total = found.sum(axis=1, keepdims=True)
        return np.where(total == 0.0, 1.0 / len(self.curves), found / np.where(total == 0.0, 1.0, total))

    def places(self, codes: I32) -> I32:
        """Return the column of each class code, int32 ``[n]``; −1 for a class without a curve."""
        place = np.minimum(np.searchsorted(self.slots, codes), len(self.slots) - 1)
        return np.where(self.slots[place] == codes, place, -1).astype(np.int32)
