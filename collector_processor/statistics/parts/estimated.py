"""What calibrated scores expect of the labels: the confusion of classes that have no labels yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Mask
from collector_processor.statistics import built
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import calibrated, class_curves, positive_curve
from collector_processor.statistics.grouped import add_terms
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

COARSE: Final = 2.0**22
FINE: Final = 2.0**44
"""Σ p is kept as two sums of multiples of 2⁻²² and 2⁻⁴⁴. Both are exact up to 2³¹ rows, so that any split of the rows
gives the same bits; a probability is off by at most 3e-14."""


@dataclass(slots=True)
class EstimatedSums(Part):
    """Sums of rows with a calibrated probability p of the positive class; size 0 without a calibration.

    Of a multiclass model only ``divergence``; its other sums are :class:`.ClassEstimates`.

    - ``by_class`` ``[G, 2, 3]`` of the rows predicted as negative, then as positive: weight, and Σ p in two parts.
    - ``without`` ``[G]``: weight of the rows that lack a score, a probability or a predicted class.
    - ``divergence`` ``[G, 3]`` of joined labels: weight, Σ d and Σ d², d = (1 if right, else 0) − P(right).
    """

    name: ClassVar[str] = "estimated"
    of_positive: ClassVar[tuple[str, ...]] = ("by_class", "without", "divergence")

    by_class: F64
    without: F64
    divergence: F64

    @classmethod
    def empty(cls, schema: Schema) -> EstimatedSums:
        """Return the sums of nothing."""
        groups = 0 if positive_curve(schema) is None else len(schema.groups) + 1
        joined = groups if class_curves(schema) is None else len(schema.groups) + 1
        return cls(np.zeros((groups, 2, 3)), np.zeros(groups), np.zeros((joined, 3)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions, without failed ones."""
        positive = None if positive_curve(schema) is None else schema.classes.find(0, schema.positive_class)
        if positive is None:
            return
        batch, groups = rows.batch, len(schema.groups) + 1
        self.by_class, self.without = grown(self.by_class, (groups, 2, 3)), grown(self.without, (groups,))
        p, predicted = calibrated(schema, batch), predicted_codes(schema, batch)
        p = np.full(len(batch), np.nan) if p is None else p
        add = add_with_numpy if built.terms is None else built.terms.add_estimated
        if add(p, predicted, batch.weights, positive, rows.groups, self.by_class, COARSE, FINE):
            absent = _without(p, predicted)
            if rows.failed is not None:
                absent &= ~rows.failed
            add_terms(self.without[:, None, None], rows.groups, [np.where(absent, batch.weights, 0.0)])

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels whose rows have an estimate."""
        p, labels, predicted = outcomes.estimates, outcomes.labels, outcomes.predicted
        binary = positive_curve(schema) is not None
        if not (binary or class_curves(schema)) or p is None or labels is None or predicted is None:
            return
        self.divergence = grown(self.divergence, (len(schema.groups) + 1, 3))
        known: Mask = ~np.isnan(p) & known_classes(labels) & known_classes(predicted)
        expected, right = p, labels == predicted
        if binary:
            slot = schema.classes.find(0, schema.positive_class)
            expected = np.where(predicted == slot, p, 1.0 - p)
            right = (labels == slot) == (predicted == slot)
        difference = np.where(known, right - expected, 0.0)
        weights = np.where(known, outcomes.weights, 0.0)
        terms = weights, weights * difference, weights * difference**2
        add_terms(self.divergence[:, None], outcomes.groups, terms)


def add_with_numpy(
    p: F64, predicted: I32, weights: F64, positive: int, groups: I32, sums: F64, coarse_units: float, fine_units: float
) -> int:
    """Do what :func:`.terms.add_estimated` does, to the last digit where weights are 1, if that is not built."""
    absent = _without(p, predicted)
    p, weights = np.where(absent, 0.0, p), np.where(absent, 0.0, weights)
    coarse = np.rint(p * coarse_units) * (1.0 / coarse_units)
    fine = np.rint((p - coarse) * fine_units) * (1.0 / fine_units)
    add_terms(sums, groups, (weights, weights * coarse, weights * fine), (predicted == positive).astype(np.int64))
    return int(np.count_nonzero(absent))


def _without(p: F64, predicted: I32) -> Mask:
    return np.isnan(p) | ~known_classes(predicted)
