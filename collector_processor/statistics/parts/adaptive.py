"""How the adaptive estimate differs from the calibrated one, whose sums are of all rows (:mod:`.estimated`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, Mask, PredictionBatch
from collector_processor.statistics.bins import bin_index
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import adaptive, adaptive_trees, calibrated, estimate_weights
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.parts.losses import add_by_group
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class AdaptiveSums(Part):
    """Sums of rows with an adaptive estimate p̃, p the calibrated one; size 0 without trees.

    Differences are kept, because of much traffic only some rows are evaluated: Σ p of all rows plus Σ (p̃ − p) of some
    is nearly as exact as Σ p̃ of all.

    - ``by_class`` ``[G, 2, 2]``: weight and Σ (p̃ − p) of the rows predicted as negative, then as positive.
    - ``by_score`` ``[B]``: Σ (p̃ − p) by the score's fine bin.
    - ``unsupported`` ``[G]``: weight of the rows that have few like them in the reference. ``evaluated`` ``[G]``: the
      number of rows.
    """

    name: ClassVar[str] = "adaptive"
    of_positive: ClassVar[tuple[str, ...]] = ("by_class", "by_score", "unsupported", "evaluated")

    by_class: F64
    by_score: F64
    unsupported: F64
    evaluated: F64

    @classmethod
    def empty(cls, schema: Schema) -> AdaptiveSums:
        """Return the sums of nothing."""
        known = schema.fit(AdaptiveTrees) is not None
        groups, bins = (len(schema.groups) + 1, schema.edges.shape[1] + 1) if known else (0, 0)
        return cls(np.zeros((groups, 2, 2)), np.zeros(bins), np.zeros(groups), np.zeros(groups))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the rows that are evaluated and have a predicted class."""
        trees, calibration = adaptive_trees(schema), calibrated(schema, rows.batch)
        found = None if trees is None else adaptive(schema, trees, rows.batch)
        if trees is None or found is None or calibration is None:
            return
        chosen = np.flatnonzero(~np.isnan(found[:, 0]))
        batch = rows.batch.take(chosen)
        predicted = predicted_codes(schema, batch)
        known = known_classes(predicted)
        chosen, predicted = chosen[known], predicted[known]
        apart = found[chosen, 1]
        weights = estimate_weights(schema, rows.batch)[chosen]
        moved = weights * (found[chosen, 0] - calibration[chosen])
        groups = len(schema.groups) + 1
        self.by_class = grown(self.by_class, (groups, 2, 2))
        self.unsupported, self.evaluated = grown(self.unsupported, (groups,)), grown(self.evaluated, (groups,))
        terms = np.zeros((len(chosen), 2, 2))
        terms[np.arange(len(chosen)), (predicted == trees.slot).astype(np.intp)] = np.stack((weights, moved), axis=1)
        add_by_group(self.by_class, rows, chosen, terms)
        add_by_group(self.unsupported, rows, chosen, weights * apart)
        add_by_group(self.evaluated, rows, chosen, np.ones(len(chosen)))
        self._add_scores(schema, batch, known, moved)

    def _add_scores(self, schema: Schema, batch: PredictionBatch, known: Mask, moved: F64) -> None:
        column = next((place for place, spec in enumerate(schema.numeric) if spec.role == "score"), None)
        scores = score_cells(batch, schema.positive_class)
        if column is not None and scores is not None:
            bins = bin_index(scores[known], schema.edges[column])
            self.by_score += np.bincount(bins, moved, len(self.by_score))
