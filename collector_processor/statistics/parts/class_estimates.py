"""What calibrated scores of many classes expect of the labels that have not come yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics.bins import bin_index, finite_edges
from collector_processor.statistics.estimates import class_curves, class_probabilities, class_scores, estimate_weights
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.grouped import add_terms
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.parts.estimated import COARSE, FINE
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class ClassEstimates(Part):
    """Sums of rows with calibrated probabilities p of all classes; size 0 without such a calibration.

    - ``by_class`` ``[G, K, 5]``: weight of the rows predicted as a class, Σ p of the class over these rows, and Σ p
      over all rows; each Σ p in two parts (:class:`.EstimatedSums`).
    - ``without`` ``[G]``: weight of the rows that lack a score, a probability or a predicted class.
    - ``calibrated`` ``[2]``: number and weight of the rows that were calibrated.
    - ``by_score`` ``[K, 5, B]`` by the bin of a class's score: weight, Σ p, Σ u, Σ u², Σ p u, with the place u of a row
      in its bin, from 0 to 1.
    """

    name: ClassVar[str] = "class_estimates"

    by_class: F64
    without: F64
    calibrated: F64
    by_score: F64

    @classmethod
    def empty(cls, schema: Schema) -> ClassEstimates:
        """Return the sums of nothing."""
        fit = class_curves(schema)
        classes, edges = (0, 0) if fit is None else fit.edges.shape
        groups, bins = (len(schema.groups) + 1, edges + 1) if classes else (0, 0)
        return cls(
            np.zeros((groups, classes, 5)),
            np.zeros(groups),
            np.zeros(2 if classes else 0),
            np.zeros((classes, 5, bins)),
        )

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the rows that are calibrated, without failed ones."""
        fit = class_curves(schema)
        if fit is None:
            return
        batch, groups = rows.batch, len(schema.groups) + 1
        self.by_class = grown(self.by_class, (groups, len(fit.curves), 5))
        self.without = grown(self.without, (groups,))
        weights = estimate_weights(schema, batch)
        looked = weights != 0.0 if rows.failed is None else (weights != 0.0) & ~rows.failed
        chosen = np.flatnonzero(looked)
        p = class_probabilities(schema, batch)
        place = fit.places(predicted_codes(schema, batch))
        known = looked & (place >= 0) & (False if p is None else ~np.isnan(p[:, 0]))
        lost = chosen[~known[chosen]]
        add_terms(self.without[:, None, None], rows.groups[lost], [weights[lost]])
        if p is None or not known.any():
            return
        used = np.flatnonzero(known)
        p, place, weights, segments = p[used], place[used].astype(np.int64), weights[used], rows.groups[used]
        self.calibrated += (len(used), weights.sum())
        self._add_classes(p, place, weights, segments)
        scores = class_scores(schema, fit, batch)
        if scores is not None:
            self._add_scores(fit, scores[used], p, weights)

    def _add_classes(self, p: F64, place: I64, weights: F64, segments: I32) -> None:
        coarse = np.rint(p * COARSE) / COARSE
        fine = np.rint((p - coarse) * FINE) / FINE
        row, first = np.arange(len(p)), place * 5
        own = np.stack((weights, weights * coarse[row, place], weights * fine[row, place]), axis=1)
        values = np.concatenate((own, weights[:, None] * coarse, weights[:, None] * fine), axis=1)
        every = np.broadcast_to(np.arange(p.shape[1]) * 5 + 3, p.shape)
        cells = np.concatenate((np.stack((first, first + 1, first + 2), axis=1), every, every + 1), axis=1)
        flat = self.by_class.reshape(len(self.by_class), -1)
        flat[0] += np.bincount(cells.ravel(), values.ravel(), flat.shape[1])
        for group in segments.T:
            member = group > 0
            within = cells[member] + group[member, None].astype(np.int64) * flat.shape[1]
            flat += np.bincount(within.ravel(), values[member].ravel(), flat.size).reshape(flat.shape)

    def _add_scores(self, fit: ClassCurves, scores: F64, p: F64, weights: F64) -> None:
        bins = self.by_score.shape[2]
        for column, edges in enumerate(fit.edges):
            finite = edges[: finite_edges(edges)]
            score = scores[:, column]
            index = bin_index(score, finite)
            lower = np.append(finite[:1] - 1.0, finite)[index]
            upper = np.append(finite, finite[-1:] + 1.0)[index]
            u = (score - lower) / (upper - lower)
            weighted = weights * p[:, column]
            for row, values in enumerate((weights, weighted, weights * u, weights * u**2, weighted * u)):
                self.by_score[column, row] += np.bincount(index, values, bins)
