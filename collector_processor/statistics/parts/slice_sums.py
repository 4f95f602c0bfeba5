"""Counts and errors of every slice of one or two cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics import built
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema

_BLOCK: Final = 2048
"""Rows whose pairs are counted at once, so that they stay in the cache."""


@dataclass(slots=True)
class SliceSums(Part):
    """Sums over labeled rows whose cells were kept (:class:`.SliceCells`, ``T`` cells of all features).

    - ``rows`` ``[3]``: Σ w, Σ w loss, Σ w |w|.
    - ``counts`` and ``losses`` ``[T (T + 1) / 2]``: Σ w and Σ w loss of the rows that have two cells, by
      :func:`place`; a cell with itself is the slice of that cell alone.
    """

    name: ClassVar[str] = "slice_sums"

    rows: F64
    counts: F64
    losses: F64

    @classmethod
    def empty(cls, schema: Schema) -> SliceSums:
        """Return the sums of nothing; of size 0 for a model without cells."""
        fit = schema.fit(SliceCells)
        cells = 0 if fit is None else int(fit.starts[-1])
        size = cells * (cells + 1) // 2
        return cls(np.zeros(3 if cells else 0), np.zeros(size), np.zeros(size))

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add the rows whose cells were kept, each for those that it stands for."""
        fit = schema.fit(SliceCells)
        if fit is None or outcomes.slices is None:
            return
        loss = losses(schema, outcomes, fit.scale)
        used = np.flatnonzero(outcomes.slices[:, 0] > 0)
        used = used[np.isfinite(loss[used])]
        if not len(used):
            return
        loss = loss[used]
        weights = outcomes.weights[used] * np.exp2(outcomes.slices[used, 0].astype(np.float64) - 1.0)
        self.rows += (weights.sum(), weights @ loss, weights @ np.abs(weights))
        cells = outcomes.slices[used, 1:] + fit.starts[:-1]
        add = add_with_numpy if built.sums is None else built.sums.add_pairs
        add(cells, weights, weights * loss, int(fit.starts[-1]), self.counts, self.losses)


def add_with_numpy(cells: I64, weights: F64, losses: F64, total: int, counts: F64, sums: F64) -> None:
    """Do what :func:`.sums.add_pairs` does if that is not built; sums of fractions may be rounded otherwise."""
    one, other = _pairs(cells.shape[1])
    for start in range(0, len(cells), _BLOCK):
        block = slice(start, start + _BLOCK)
        at = place(cells[block][:, one], cells[block][:, other], total).ravel()
        counts += np.bincount(at, np.repeat(weights[block], len(one)), len(counts))
        sums += np.bincount(at, np.repeat(losses[block], len(one)), len(sums))


def place(one: I64, other: I64, cells: int) -> I64:
    """Return where the pair of cells ``one`` ≤ ``other`` is in the vectors.

    >>> place(np.array([0, 0, 1, 1, 2]), np.array([0, 2, 1, 2, 2]), 3).tolist()
    [0, 2, 3, 4, 5]
    """
    return one * (2 * cells - one - 1) // 2 + other


@cache
def _pairs(features: int) -> tuple[I64, I64]:
    return np.triu_indices(features)


def losses(schema: Schema, outcomes: OutcomeBatch, scale: float) -> F64:
    """Return the error of each row from 0 to 1, ``[n]``: wrong class or not, or |y − ŷ| / scale; NaN where unknown."""
    if schema.task == "regression":
        if outcomes.label_values is None or outcomes.predicted_values is None:
            return np.full(len(outcomes), np.nan)
        return np.minimum(np.abs(outcomes.label_values - outcomes.predicted_values) / scale, 1.0)
    if outcomes.labels is None or outcomes.predicted is None:
        return np.full(len(outcomes), np.nan)
    known = known_classes(outcomes.labels) & known_classes(outcomes.predicted)
    return np.where(known, (outcomes.labels != outcomes.predicted).astype(np.float64), np.nan)
