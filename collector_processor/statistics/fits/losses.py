"""Direct loss estimation: trees that say how wrong a regression's prediction is expected to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, PredictionBatch
from collector_processor.statistics.fits.inputs import Inputs
from collector_processor.statistics.fits.trees import Trees

LOSSES: Final = ("absolute", "squared", "relative", "squared_log")
"""``|y − ŷ|``, ``(y − ŷ)²``, ``|y − ŷ| / |y|`` and ``(ln(1 + y) − ln(1 + ŷ))²``."""


@dataclass(frozen=True, slots=True)
class LossTrees:
    """The trees of each loss of :data:`LOSSES` that could be fitted; their last input is the prediction.

    ``scale``: nearly all expected absolute errors of the reference are below it.
    """

    whole: ClassVar[int] = 512
    """Rows of a minute that are all evaluated: 400 trees cost about 14 µs a row."""

    scale: float
    inputs: Inputs
    trees: Mapping[str, Trees]

    def evaluate(self, batch: PredictionBatch) -> F64:
        """Return the expected losses of each row, float64 ``[n, 4]`` in the order of :data:`LOSSES`.

        An estimate below 0 is 0. NaN for a loss without trees, and for a row without a prediction; a negative one has
        no logarithm.
        """
        expected = np.full((len(batch), len(LOSSES)), np.nan)
        if batch.value is None:
            return expected
        matrix = self.inputs.matrix(batch, [batch.value])
        for place, name in enumerate(LOSSES):
            trees = self.trees.get(name)
            if trees is not None:
                expected[:, place] = np.maximum(trees.sums(matrix), 0.0)
        expected[np.isnan(batch.value)] = np.nan
        expected[batch.value < 0.0, LOSSES.index("squared_log")] = np.nan
        return expected
