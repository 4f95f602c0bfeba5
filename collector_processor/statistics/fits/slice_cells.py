"""The coarse cells by which predictions are cut into slices: a few ranges or categories of each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64, PredictionBatch
from collector_processor.statistics.fits.pair_scores import Scores
from collector_processor.statistics.schema import Schema

MISSING: Final = 0
"""The code of a missing cell."""
Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SliceCells:
    """The cells of ``C`` features.

    - ``positions`` int32 ``[C]``: the features in ``schema.columns``, ascending.
    - ``cuts``: of a numeric feature, the fine bins with which its second and each later range begins; of a categorical
      one, one number: how many of its categories have a separate cell. The others share one.
    - ``scale``: the error that counts as 1 in a regression, and 1 for classes.
    - ``codes``: the code of each bin and category, from 1 on.
    - ``key``: a checksum of what the codes mean.
    """

    positions: I32
    cuts: tuple[tuple[int, ...], ...]
    scale: float
    codes: Scores
    key: int

    @classmethod
    def of_cuts(cls, schema: Schema, positions: I32, cuts: Sequence[tuple[int, ...]], scale: float) -> SliceCells:
        """Return the cells that have these cuts."""
        scores: list[F64] = []
        for position, cut in zip(positions.tolist(), cuts, strict=True):
            if position < len(schema.numeric):
                bins = np.arange(schema.edges.shape[1] + 1)
                scores.append(1.0 + np.searchsorted(np.array(cut), bins, side="right"))
            else:
                names = len(schema.categories.names(position - len(schema.numeric)))
                scores.append(1.0 + np.minimum(np.arange(names), cut[0]))
        meaning = repr((schema.columns, schema.categories.pairs(), positions.tolist(), [*cuts])).encode()
        key = crc32(schema.edges.tobytes(), crc32(meaning))
        return cls(positions, tuple(cuts), scale, Scores.stacked(schema, positions, scores, np.inf), key)

    @property
    def sizes(self) -> list[int]:
        """How many codes each feature has, the missing one included."""
        numbers = len(self.codes.bins)
        return [len(cut) + 2 if row < numbers else cut[0] + 2 for row, cut in enumerate(self.cuts)]

    @property
    def starts(self) -> I64:
        """The first cell of each feature among those of all, ``[C + 1]``."""
        return np.append(0, np.cumsum(self.sizes))

    def of(self, schema: Schema, batch: PredictionBatch) -> Codes:
        """Return the code of each cell, ``[n, C]``."""
        codes = np.nan_to_num(self.codes.of(schema, batch), nan=MISSING)
        return np.minimum(codes, np.array(self.sizes)[:, None] - 1).astype(np.uint8).T
