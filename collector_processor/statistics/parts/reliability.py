"""How often outcomes were as expected, by what was expected of them: the sums of calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.classes import NO_CLASS, known_classes
from collector_processor.statistics.losses import class_errors
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema

BINS: Final = 64
"""Bins of the expected probability, equally wide in its logit."""
REACH: Final = 7.0
"""Logit of the last edge: beyond it, probabilities are below .001 or above .999."""
_EDGES: Final[F64] = 1.0 / (1.0 + np.exp(-np.linspace(-REACH, REACH, BINS - 1)))


@dataclass(slots=True)
class Reliability(Part):
    """The joined labels of a classifier by their expected probability.

    - ``table`` ``[3, BINS]``: rows with an estimate, those of them with the positive class (multiclass: that were
      right), Σ expected probability.
    - ``errors`` ``[2]``: rows with a predicted class, and those whose class was wrong.

    A row counts once, whatever its sampling weight, because it is one piece of evidence; a retracted one counts −1.
    Empty for other tasks.
    """

    table: F64
    errors: F64

    name: ClassVar[str] = "reliability"
    of_positive: ClassVar[tuple[str, ...]] = ("table", "errors")

    @classmethod
    def empty(cls, schema: Schema) -> Reliability:
        """Return the sums of nothing."""
        used = schema.task.endswith("_classification")
        return cls(np.zeros((3, BINS if used else 0)), np.zeros(2 if used else 0))

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels."""
        labels, sign = outcomes.labels, np.sign(outcomes.weights)
        if labels is None or not self.errors.size:
            return
        wrong = class_errors(schema, outcomes)
        known = np.isfinite(wrong)
        self.errors += (sign[known].sum(), sign[known] @ wrong[known])
        expected = outcomes.estimates
        if expected is None:
            return
        hits = 1.0 - wrong
        if schema.task == "binary_classification":
            slot = schema.classes.find(0, schema.positive_class)
            hits = np.where(known_classes(labels), labels == (NO_CLASS if slot is None else slot), np.nan)
        known = np.isfinite(expected) & np.isfinite(hits)
        self.table += by_expectation(expected[known], hits[known], sign[known])


def by_expectation(expected: F64, hits: F64, weights: F64) -> F64:
    """Return the table ``[3, BINS]`` of rows with these expected probabilities, 0/1 outcomes and weights."""
    bins = np.searchsorted(_EDGES, expected, side="right")
    return np.stack(
        [np.bincount(bins, values, BINS).astype(np.float64) for values in (weights, weights * hits, weights * expected)]
    )


def middles() -> F64:
    """Return the probability in the middle of each bin, in its logit, ``[BINS]``; of the outer ones, just beyond."""
    step = 2.0 * REACH / (BINS - 2)
    return 1.0 / (1.0 + np.exp(-(np.arange(BINS) * step - REACH - step / 2.0)))
