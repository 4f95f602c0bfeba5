"""How wrong the predictions are expected to be, from 0 to 1: for the alarm before labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.calls import calls_of
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import (
    class_curves,
    estimate_weights,
    estimates,
    has_estimates,
    positive_curve,
)
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.fits.losses import LossTrees
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.sample import evaluated_weights
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class HarmSums(Part):
    """Sums of the rows that are evaluated; size 0 without estimates.

    g is the probability that the predicted class is wrong, or the expected absolute error as a share of the greatest
    one that is common in the reference, at most 1. w is how many predictions the row stands for.

    - ``sums`` ``[6]``: number of rows, Σ w, Σ w g, Σ w², Σ w² g and Σ w² g².
    - ``calls`` ``[4]``, for how alike the rows of a call are: of neighbors a and b in one call their number,
      Σ g(a) g(b) and Σ (g(a) + g(b)) / 2; and the sum over calls of their number of rows, squared.
    """

    name: ClassVar[str] = "harm"
    of_positive: ClassVar[tuple[str, ...]] = ("sums", "calls")

    sums: F64
    calls: F64

    @classmethod
    def empty(cls, schema: Schema) -> HarmSums:
        """Return the sums of nothing."""
        known = has_estimates(schema)
        return cls(np.zeros(6 if known else 0), np.zeros(4 if known else 0))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the rows that are evaluated."""
        expected = estimates(schema, rows.batch) if has_estimates(schema) else None
        if expected is None:
            return
        weights = _weights(schema, rows)
        chosen = np.flatnonzero(weights > 0.0)
        chosen = chosen[~np.isnan(expected[chosen])]
        g = expected[chosen]
        losses = schema.fit(LossTrees)
        if losses is not None:
            g = np.minimum(g / losses.scale, 1.0) if losses.scale > 0.0 else np.zeros(len(g))
        elif class_curves(schema) is not None:
            g = 1.0 - g
        else:
            predicted = predicted_codes(schema, rows.batch)[chosen]
            known = known_classes(predicted)
            positive = predicted == schema.classes.find(0, schema.positive_class)
            chosen, g = chosen[known], np.where(positive, 1.0 - g, g)[known]
        calls = calls_of(rows.batch)
        self.sums = self.sums + harm_sums(g, weights[chosen])
        self.calls = self.calls + alike(g, None if calls is None else calls[chosen])


def harm_sums(g: F64, weights: F64) -> F64:
    """Return what rows add to ``sums``, ``[6]``.

    >>> harm_sums(np.array([0.5, 0.1]), np.array([1.0, 2.0])).round(2).tolist()
    [2.0, 3.0, 0.7, 5.0, 0.9, 0.29]
    """
    squares = weights**2
    return np.array([len(g), weights.sum(), weights @ g, squares.sum(), squares @ g, squares @ g**2])


def alike(g: F64, calls: I64 | None) -> F64:
    """Return what rows of these calls add to ``calls``, ``[4]``; None: each row came alone.

    >>> alike(np.array([0.5, 0.5, 0.1]), np.array([0, 0, 1])).tolist()
    [1.0, 0.25, 0.5, 5.0]
    """
    if calls is None or not len(g):
        return np.array([0.0, 0.0, 0.0, len(g)])
    same = calls[1:] == calls[:-1]
    before, after = g[:-1][same], g[1:][same]
    sizes = np.bincount(calls - calls.min())
    return np.array([len(before), before @ after, (before.sum() + after.sum()) / 2.0, float(sizes @ sizes)])


def _weights(schema: Schema, rows: Rows) -> F64:
    """Return weights, 0 for rows that are not evaluated: of many rows a part, even if each has an estimate."""
    curve = None if schema.fit(AdaptiveTrees) is not None else positive_curve(schema)
    if curve is None:
        return estimate_weights(schema, rows.batch)
    return evaluated_weights(rows.batch, curve, AdaptiveTrees.whole)
