"""What the adaptive estimate expects of the labels: counts of classes that have not come yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, Mask, PredictionBatch
from collector_processor.statistics.bins import bin_index
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import adaptive, adaptive_trees, estimate_weights
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.parts.losses import add_by_group
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class AdaptiveSums(Part):
    """Sums of rows with an adaptive estimate p̃; size 0 without trees.

    - ``by_class`` ``[G, 2, 2]``: weight and Σ p̃ of the rows predicted as negative, then as positive.
    - ``by_score`` ``[2, B]``: weight and Σ p̃ by the score's fine bin.
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
        if schema.fit(AdaptiveTrees) is None:
            return cls(np.zeros((0, 2, 2)), np.zeros((2, 0)), np.zeros(0), np.zeros(0))
        groups = len(schema.groups) + 1
        return cls(
            np.zeros((groups, 2, 2)), np.zeros((2, schema.edges.shape[1] + 1)), np.zeros(groups), np.zeros(groups)
        )

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the rows that are evaluated and have a predicted class."""
        trees = adaptive_trees(schema)
        found = None if trees is None else adaptive(schema, trees, rows.batch)
        if trees is None or found is None:
            return
        chosen = np.flatnonzero(~np.isnan(found[:, 0]))
        batch = rows.batch.take(chosen)
        predicted = predicted_codes(schema, batch)
        known = known_classes(predicted)
        chosen, predicted = chosen[known], predicted[known]
        p, apart = found[chosen].T
        weights = estimate_weights(schema, rows.batch)[chosen]
        groups = len(schema.groups) + 1
        self.by_class = grown(self.by_class, (groups, 2, 2))
        self.unsupported, self.evaluated = grown(self.unsupported, (groups,)), grown(self.evaluated, (groups,))
        terms = np.zeros((len(chosen), 2, 2))
        terms[np.arange(len(chosen)), (predicted == trees.slot).astype(np.intp)] = np.stack(
            (weights, weights * p), axis=1
        )
        add_by_group(self.by_class, rows, chosen, terms)
        add_by_group(self.unsupported, rows, chosen, weights * apart)
        add_by_group(self.evaluated, rows, chosen, np.ones(len(chosen)))
        self._add_scores(schema, batch, known, weights, p)

    def _add_scores(self, schema: Schema, batch: PredictionBatch, known: Mask, weights: F64, p: F64) -> None:
        column = next((place for place, spec in enumerate(schema.numeric) if spec.role == "score"), None)
        scores = score_cells(batch, schema.positive_class)
        if column is None or scores is None:
            return
        bins = bin_index(scores[known], schema.edges[column])
        for row, values in enumerate((weights, weights * p)):
            self.by_score[row] += np.bincount(bins, values, self.by_score.shape[1])
