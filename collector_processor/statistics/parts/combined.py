"""Few labels and the estimates of all rows: the sums of what both say together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.statistics import built
from collector_processor.statistics.classes import NO_CLASS, known_classes
from collector_processor.statistics.estimates import (
    estimate_weights,
    estimates,
    has_estimates,
    positive_curve,
)
from collector_processor.statistics.grouped import add_terms
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.losses import class_errors
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class CombinedSums(Part):
    """Sums of Y, whether a prediction was right, or its absolute error, and p, what was expected of Y.

    Size 0 without estimates. A square of weights has the sign of the weight, so that a retraction leaves nothing.

    - ``labeled`` ``[G, 4]`` of joined labels: Σ w, Σ w², Σ w Y and Σ w Y².
    - ``both`` ``[G, 6]`` of those that have an estimate: Σ w, Σ w², Σ w Y, Σ w p, Σ w Y p and Σ w p².
    - ``rows`` ``[G, 4]`` of predictions with an estimate: Σ w, Σ w², Σ w p and Σ w p².
    """

    name: ClassVar[str] = "combined"
    of_positive: ClassVar[tuple[str, ...]] = ("labeled", "both", "rows")

    labeled: F64
    both: F64
    rows: F64

    @classmethod
    def empty(cls, schema: Schema) -> CombinedSums:
        """Return the sums of nothing."""
        groups = len(schema.groups) + 1 if has_estimates(schema) else 0
        return cls(np.zeros((groups, 4)), np.zeros((groups, 6)), np.zeros((groups, 4)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the predictions that have an estimate."""
        expected = estimates(schema, rows.batch) if has_estimates(schema) else None
        if expected is None:
            return
        self._grow(schema)
        weights = estimate_weights(schema, rows.batch)
        if schema.task == "binary_classification":
            positive, predicted = _positive(schema), predicted_codes(schema, rows.batch)
            add = add_with_numpy if built.terms is None else built.terms.add_right
            add(np.ascontiguousarray(expected), predicted, weights, positive, rows.groups, self.rows)
            return
        if schema.task != "regression":
            expected = _right(schema, expected, predicted_codes(schema, rows.batch))
        _add_rows(self.rows, expected, weights, rows.groups)

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels of rows that have a prediction."""
        y = _realized(schema, outcomes) if has_estimates(schema) else None
        if y is None:
            return
        self._grow(schema)
        known = np.isfinite(y)
        y, weights = np.where(known, y, 0.0), np.where(known, outcomes.weights, 0.0)
        squares = weights * np.abs(weights)
        add_terms(self.labeled[:, None], outcomes.groups, (weights, squares, weights * y, weights * y * y))
        expected, predicted = outcomes.estimates, outcomes.predicted
        if expected is None:
            return
        p = expected
        if schema.task != "regression":
            p = np.full(len(y), np.nan) if predicted is None else _right(schema, expected, predicted)
        used = np.flatnonzero(known & np.isfinite(p))
        p, y, weights = p[used], y[used], weights[used]
        both = weights * y, weights * p, weights * y * p, weights * p * p
        add_terms(self.both[:, None], outcomes.groups[used], (weights, squares[used], *both))

    def _grow(self, schema: Schema) -> None:
        groups = len(schema.groups) + 1
        for name in ("labeled", "both", "rows"):
            values: F64 = getattr(self, name)
            setattr(self, name, np.ascontiguousarray(grown(values, (groups, values.shape[1]))))


def _right(schema: Schema, expected: F64, predicted: I32) -> F64:
    """Return the probability that each prediction is right ``[n]``; NaN without a class."""
    if positive_curve(schema) is not None:
        expected = np.where(predicted == _positive(schema), expected, 1.0 - expected)
    known = known_classes(predicted)
    return expected if known.all() else np.where(known, expected, np.nan)


def _realized(schema: Schema, outcomes: OutcomeBatch) -> F64 | None:
    """Return what came of each prediction ``[n]``: 1 if it was right, else 0, or its absolute error; NaN if unknown."""
    if schema.task != "regression":
        return None if outcomes.labels is None else 1.0 - class_errors(schema, outcomes)
    y, predicted = outcomes.label_values, outcomes.predicted_values
    if y is None or predicted is None:
        return None
    usable = (np.abs(y) <= VALUE_LIMIT) & (np.abs(predicted) <= VALUE_LIMIT)
    return np.abs(np.where(usable, predicted - y, np.nan))


def _positive(schema: Schema) -> int:
    """Return the slot of the positive class of a model that has estimates of it."""
    slot = schema.classes.find(0, schema.positive_class)
    return NO_CLASS if slot is None else slot


def add_with_numpy(p: F64, predicted: I32, weights: F64, positive: int, groups: I32, sums: F64) -> None:
    """Do what :func:`.terms.add_right` does if that is not built; sums may be rounded otherwise."""
    right = np.where(known_classes(predicted), np.where(predicted == positive, p, 1.0 - p), np.nan)
    _add_rows(sums, right, weights, groups)


def _add_rows(sums: F64, p: F64, weights: F64, groups: I32) -> None:
    used = np.flatnonzero(np.isfinite(p) & (weights > 0.0))
    p, weights = p[used], weights[used]
    weighted = weights * p
    add_terms(sums[:, None], groups[used], (weights, weights * weights, weighted, weighted * p))
