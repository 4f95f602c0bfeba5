"""What calibrated scores expect of each segment, by bins of the score: the ranking before labels come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, PredictionBatch
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import (
    adaptive,
    adaptive_trees,
    calibrated,
    estimate_weights,
    positive_curve,
)
from collector_processor.statistics.grouped import add_segments
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
        place = _score_place(schema)
        if edges is None or place is None or p is None or scores is None:
            return
        groups, size = len(schema.groups) + 1, len(edges) + 1
        self.by_score = np.ascontiguousarray(grown(self.by_score, (groups, 3, size)))
        known = ~np.isnan(p) & known_classes(predicted_codes(schema, batch))
        bins, expected, weights = _bins(schema, place, scores), p, batch.weights
        if not known.all():
            expected, weights = np.where(known, p, 0.0), np.where(known, weights, 0.0)
        weighted = weights * expected
        add_segments(self.by_score.transpose(0, 2, 1), rows.groups, (weights, weighted, weighted * expected), bins)
        self._add_moved(schema, batch, rows, p, bins)

    def _add_moved(self, schema: Schema, batch: PredictionBatch, rows: Rows, p: F64, bins: I64) -> None:
        trees = adaptive_trees(schema)
        found = None if trees is None else adaptive(schema, trees, batch)
        if found is None:
            return
        self.moved = np.ascontiguousarray(grown(self.moved, (len(self.by_score), self.by_score.shape[2])))
        chosen = np.flatnonzero(~np.isnan(found[:, 0]) & known_classes(predicted_codes(schema, batch)))
        moved = estimate_weights(schema, batch)[chosen] * (found[chosen, 0] - p[chosen])
        add_segments(self.moved[:, :, None], rows.groups[chosen], [moved], bins[chosen])


def group_edges(schema: Schema) -> F64 | None:
    """Return the edges of the score between which segments are ranked, some of the column's own; None without a use."""
    place = _score_place(schema)
    if place is None or not schema.groups.columns or positive_curve(schema) is None:
        return None
    finite = schema.edges[place, : finite_edges(schema.edges[place])]
    return finite[:: _every(len(finite))]


def _score_place(schema: Schema) -> int | None:
    return next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)


def _every(edges: int) -> int:
    """Return how many of the column's own bins are one of these at most."""
    return -(-(edges + 1) // BINS)


def _bins(schema: Schema, place: int, scores: F64) -> I64:
    """Return the bin of each score between :func:`group_edges`, int64 ``[n]``; 0 for a missing one."""
    fine = fine_bins(schema, np.array([place]), [Column(scores)], len(scores))[0].astype(np.int64)
    # The edge before fine bin b is one of these if b − 1 is a multiple.
    every = _every(finite_edges(schema.edges[place]))
    return np.maximum((fine + (every - 1)) // every, 0)
