"""The joined labels of many classes by the scores of each class: how well the scores rank them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.bins import bin_index
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import class_curves
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class ClassRanks(Part):
    """Sums over joined labels of all rows; size 0 unless the reference has curves of all classes.

    - ``by_score`` ``[K, 2, B]``: weight by the bin of a class's score, of rows of other classes, then of the class.
    """

    name: ClassVar[str] = "class_ranks"

    by_score: F64

    @classmethod
    def empty(cls, schema: Schema) -> ClassRanks:
        """Return the sums of nothing."""
        fit = class_curves(schema)
        classes, edges = (0, 0) if fit is None else fit.edges.shape
        return cls(np.zeros((classes, 2, edges + 1 if classes else 0)))

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels of rows that have the scores of all classes."""
        fit, scores, labels = class_curves(schema), outcomes.class_scores, outcomes.labels
        if fit is None or scores is None or labels is None:
            return
        used = np.flatnonzero(np.isfinite(scores).all(axis=1) & known_classes(labels))
        truth, weights, bins = fit.places(labels[used]), outcomes.weights[used], self.by_score.shape[2]
        for place, edges in enumerate(fit.edges):
            cells = (truth == place) * np.int64(bins) + bin_index(scores[used, place], edges)
            self.by_score[place] += np.bincount(cells, weights, 2 * bins).reshape(2, bins)
