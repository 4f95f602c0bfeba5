"""The exemplars of a pane: traces of its predictions, and of its joined labels that a prediction missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from collector_processor.columns.batch import F64, I32, U64, PredictionBatch
from collector_processor.statistics.exemplars.cells import Counted, outcome_cells, row_cells
from collector_processor.statistics.exemplars.reservoir import ENTRY, NO_CELL, ROWS, Codes, Reservoir, look, may_look
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import Vectors


class Exemplars(Vectors):
    """Two reservoirs, ``predictions`` and ``errors``; they are put together like sums, but are not arrays of numbers.

    A label that replaces another takes the earlier error out if it is the exemplar of its cell.
    """

    def __init__(self, predictions: Reservoir | None = None, errors: Reservoir | None = None) -> None:
        self._predictions = Reservoir.empty() if predictions is None else predictions
        self.errors = Reservoir.empty() if errors is None else errors
        self._waiting: list[tuple[U64, Codes]] = []
        self._below = self._predictions.below

    @property
    def predictions(self) -> Reservoir:
        """The reservoir of predictions."""
        if self._below is not self._predictions.below:
            height = max((len(codes) for _, codes in self._waiting), default=0)
            entries = np.concatenate([np.zeros((0, ENTRY), np.uint64), *(each for each, _ in self._waiting)])
            codes = np.full((height, len(entries)), NO_CELL, np.uint32)
            start = 0
            for _, part in self._waiting:
                codes[: len(part), start : start + part.shape[1]] = part
                start += part.shape[1]
            self._set(self._predictions.with_rows(entries, codes, self._below))
        return self._predictions

    def _set(self, predictions: Reservoir) -> None:
        self._predictions, self._below, self._waiting = predictions, predictions.below, []

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.predictions.nbytes + self.errors.nbytes

    def add(self, other: Vectors) -> None:
        """Take in the exemplars of other rows."""
        theirs = cast("Exemplars", other)
        self._set(self.predictions.merged(theirs.predictions))
        self.errors = self.errors.merged(theirs.errors)

    def add_rows(self, schema: Schema, batch: PredictionBatch, groups: I32, counted: Counted) -> None:
        """Add predictions that have a trace, with their columns as they were counted."""
        if batch.traces is None:
            return
        near = may_look(self._below, batch.ids[:, 0])
        present = near[batch.traces.codes[near] >= 0]
        rows, self._below = look(self._below, batch.ids[present, 0])
        chosen = present[rows]
        if not len(chosen):
            return
        entries = np.column_stack((batch.ids[chosen, 0], batch.traces.rows(chosen)))
        self._waiting.append((entries, row_cells(schema, batch, chosen, groups, counted)))
        if sum(len(each) for each, _ in self._waiting) > ROWS:
            self._set(self.predictions)

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels whose prediction has a trace, or take some back (negative weights)."""
        if outcomes.traces is None:
            return
        traced = np.flatnonzero(outcomes.traces[:, 3] > 0)
        cells = outcome_cells(schema, outcomes.take(traced))
        missed, added = (cells != NO_CELL).any(axis=0), outcomes.weights[traced] > 0.0
        back, new = np.flatnonzero(missed & ~added), np.flatnonzero(missed & added)
        self.errors = self.errors.without(outcomes.traces[traced[back]], cells[:, back])
        rows, below = look(self.errors.below, outcomes.traces[traced[new], 0])
        new = new[rows]
        self.errors = self.errors.with_rows(outcomes.traces[traced[new]], cells[:, new], below)

    def copy(self) -> Exemplars:
        """Return an independent copy; the reservoirs never change."""
        return Exemplars(self.predictions, self.errors)

    def arrays(self, prefix: str = "") -> dict[str, F64]:
        """Return no arrays, because these do not add up."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, F64], prefix: str = "") -> Exemplars:  # noqa: ARG003  # there are none
        """Return no exemplars."""
        return cls()
