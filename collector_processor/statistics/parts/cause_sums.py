"""The labeled rows of each cell and how wrong they were: what a change of performance is split by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.cause_cells import CauseCells, stand_for
from collector_processor.statistics.labeled import VALUE_LIMIT, Members
from collector_processor.statistics.losses import class_errors, value_errors
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class CauseSums(Part):
    """Weight, Σ loss and Σ loss² of the labeled rows that have a cell (:class:`.CauseCells`); size 0 without cells.

    The loss of a row is 1 for a wrong class and 0 for a right one, or in a regression |y − ŷ|.

    - ``cells`` ``[C, 3]``: of all rows, by cell.
    - ``leaves`` ``[G, L, 3]``: by leaf, of all rows and of each segment.
    - ``squares`` ``[1]``: Σ w k, k the rows that each stands for in a sample: 1 without one.
    """

    name: ClassVar[str] = "cause_sums"
    of_positive: ClassVar[tuple[str, ...]] = ("cells", "leaves", "squares")

    cells: F64
    leaves: F64
    squares: F64

    @property
    def worth(self) -> float:
        """How many rows that stand for one a row is worth, from 1 down: those that stand for others are worth less."""
        weight, squares = float(self.cells[:, 0].sum()), float(self.squares.sum())
        return min(weight / squares, 1.0) if weight > 0.0 and squares > 0.0 else 1.0

    @classmethod
    def empty(cls, schema: Schema) -> CauseSums:
        """Return the sums of nothing."""
        fit = schema.fit(CauseCells)
        if fit is None:
            return cls(np.zeros((0, 3)), np.zeros((0, 0, 3)), np.zeros(0))
        return cls(np.zeros((fit.count, 3)), np.zeros((len(schema.groups) + 1, fit.leaves, 3)), np.zeros(1))

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add the rows with a cell whose loss is known."""
        fit = schema.fit(CauseCells)
        if fit is None or outcomes.cells is None:
            return
        cells, each, loss = fit.decoded(outcomes.cells), stand_for(outcomes.cells), row_losses(schema, outcomes)
        used = (cells >= 0) & (loss <= VALUE_LIMIT)
        if not used.all():
            outcomes, cells, each, loss = outcomes.take(used), cells[used], each[used], loss[used]
        if not len(outcomes):
            return
        self.leaves = np.ascontiguousarray(grown(self.leaves, (len(schema.groups) + 1, fit.leaves, 3)))
        cell = cells.astype(np.int64)
        leaf, members = cell // fit.ranges, Members.of(outcomes)
        weights = outcomes.weights * each
        self.squares += weights @ each
        for place, values in enumerate((np.ones(len(loss)), loss, loss * loss)):
            weighted = weights * values
            self.cells[:, place] += np.bincount(cell, weighted, fit.count)
            members.add(self.leaves, 3 * leaf + place, weighted)


def row_losses(schema: Schema, outcomes: OutcomeBatch) -> F64:
    """Return how wrong each row was ``[n]``; NaN where that is not known."""
    return np.abs(value_errors(outcomes)) if schema.task == "regression" else class_errors(schema, outcomes)
