"""What calibrated scores expect of each segment, by bins of the score: the ranking before labels come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64, PredictionBatch
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import (
    adaptive,
    adaptive_trees,
    calibrated,
    estimate_weights,
    positive_curve,
)
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

BINS: Final = 128
"""Most bins of the score in which a segment's rows are ranked."""


@dataclass(slots=True)
class GroupScores(Part):
    """Sums of the rows of each segment value by the bin of their score; size 0 without a calibration or segments.

    - ``by_score`` ``[G, 3, B]``: weight, Σ p and Σ p² of the calibrated probability p. The first group, all rows, is
      empty: the fine bins of the pane have it.
    - ``moved`` ``[G, B]``: Σ (p̃ − p) of the adaptive estimate p̃, as in :class:`.AdaptiveSums`; size 0 without trees.
    """

    name: ClassVar[str] = "group_scores"
    of_positive: ClassVar[tuple[str, ...]] = ("by_score", "moved")

    by_score: F64
    moved: F64

    @classmethod
    def empty(cls, schema: Schema) -> GroupScores:
        """Return the sums of nothing."""
        edges = group_edges(schema)
        groups, bins = (0, 0) if edges is None else (len(schema.groups) + 1, len(edges) + 1)
        with_trees = bins if adaptive_trees(schema) is not None else 0
        return cls(np.zeros((groups, 3, bins)), np.zeros((groups, with_trees)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions that have a calibrated probability and a predicted class."""
        edges, batch = group_edges(schema), rows.batch
        p = None if edges is None else calibrated(schema, batch)
        scores = None if p is None else score_cells(batch, schema.positive_class)
        if edges is None or p is None or scores is None:
            return
        groups, size = len(schema.groups) + 1, len(edges) + 1
        self.by_score = np.ascontiguousarray(grown(self.by_score, (groups, 3, size)))
        flat = self.by_score.reshape(-1)
        known = ~np.isnan(p) & known_classes(predicted_codes(schema, batch))
        bins = np.searchsorted(edges, scores, side="right")
        for group in rows.groups.T:
            member = np.flatnonzero(known & (group > 0))
            place = group[member] * np.int64(3 * size) + bins[member]
            weights, expected = batch.weights[member], p[member]
            weighted = weights * expected
            for offset, values in enumerate((weights, weighted, weighted * expected)):
                np.add.at(flat, place + offset * size, values)
        self._add_moved(schema, batch, rows, p, bins)

    def _add_moved(self, schema: Schema, batch: PredictionBatch, rows: Rows, p: F64, bins: I64) -> None:
        trees = adaptive_trees(schema)
        found = None if trees is None else adaptive(schema, trees, batch)
        if found is None:
            return
        self.moved = np.ascontiguousarray(grown(self.moved, (len(self.by_score), self.by_score.shape[2])))
        chosen = np.flatnonzero(~np.isnan(found[:, 0]) & known_classes(predicted_codes(schema, batch)))
        moved = estimate_weights(schema, batch)[chosen] * (found[chosen, 0] - p[chosen])
        for group in rows.groups[chosen].T:
            inside = np.flatnonzero(group > 0)
            place = group[inside] * np.int64(self.moved.shape[1]) + bins[chosen[inside]]
            np.add.at(self.moved.reshape(-1), place, moved[inside])


def group_edges(schema: Schema) -> F64 | None:
    """Return the edges of the score between which segments are ranked, some of the column's own; None without a use."""
    place = next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)
    if place is None or not schema.groups.columns or positive_curve(schema) is None:
        return None
    finite = schema.edges[place, : finite_edges(schema.edges[place])]
    return finite[:: -(-(len(finite) + 1) // BINS)]
