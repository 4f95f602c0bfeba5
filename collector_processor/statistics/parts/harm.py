"""How wrong the predictions are expected to be, from 0 to 1: for the alarm before labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.classes import NO_CLASS
from collector_processor.statistics.estimates import estimate_weights, estimates, positive_curve
from collector_processor.statistics.evaluated import evaluated_weights
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.fits.losses import LossTrees
from collector_processor.statistics.parts.adaptive import predicted_codes
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class HarmSums(Part):
    """``sums`` ``[3]``: number, Σ g and Σ g² of the rows that are evaluated, without weights; size 0 without estimates.

    g is the probability that the predicted class is wrong, or the expected absolute error as a share of the greatest
    one that is common in the reference, at most 1.
    """

    name: ClassVar[str] = "harm"
    of_positive: ClassVar[tuple[str, ...]] = ("sums",)

    sums: F64

    @classmethod
    def empty(cls, schema: Schema) -> HarmSums:
        """Return the sums of nothing."""
        return cls(np.zeros(3 if _has_estimates(schema) else 0))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the rows that are evaluated."""
        if not _has_estimates(schema):
            return
        expected = estimates(schema, rows.batch)
        if expected is None:
            return
        chosen = np.flatnonzero(~np.isnan(expected) & (_weights(schema, rows) > 0.0))
        g = expected[chosen]
        losses = schema.fit(LossTrees)
        if losses is not None:
            g = np.minimum(g / losses.scale, 1.0) if losses.scale > 0.0 else np.zeros(len(g))
        else:
            predicted = predicted_codes(schema, rows.batch.take(chosen))
            positive = predicted == schema.classes.find(0, schema.positive_class)
            g = np.where(positive, 1.0 - g, g)[predicted != NO_CLASS]
        self.sums = self.sums + np.array([len(g), g.sum(), (g**2).sum()])


def _has_estimates(schema: Schema) -> bool:
    return schema.fit(LossTrees) is not None or positive_curve(schema) is not None


def _weights(schema: Schema, rows: Rows) -> F64:
    """Return weights, 0 for rows that are not evaluated: of large batches a part, even if each row has an estimate."""
    curve = None if schema.fit(AdaptiveTrees) is not None else positive_curve(schema)
    if curve is None:
        return estimate_weights(schema, rows.batch)
    return evaluated_weights(rows.batch, curve, AdaptiveTrees.most)
