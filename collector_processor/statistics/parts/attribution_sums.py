"""Sums of attributions: how much each feature contributed to the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, PredictionBatch
from collector_processor.statistics.fits.attribution_baseline import BINS, AttributionBaseline
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema

MAX_WEIGHT: Final = 2.0**56
"""Predictions that one explained row may stand for, as many as a sampled span."""


@dataclass(slots=True)
class AttributionSums(Part):
    """The attributions φ of ``K`` features (:func:`attributed`).

    - ``sums`` ``[K, 5]``: Σ w, Σ w², Σ w φ, Σ w |φ|, Σ w φ² of those that are numbers within
      :data:`.VALUE_LIMIT`, w as :func:`row_weights` has it.
    - ``bins`` ``[K, BINS]``: their weighted counts; of size 0 without a baseline.
    """

    name: ClassVar[str] = "attribution_sums"

    sums: F64
    bins: F64

    @classmethod
    def empty(cls, schema: Schema) -> AttributionSums:
        """Return the sums of nothing."""
        size = len(attributed(schema))
        return cls(np.zeros((size, 5)), np.zeros((0 if schema.fit(AttributionBaseline) is None else size, BINS)))

    @np.errstate(over="ignore")  # an absurd sum is infinite; the monitor leaves it out
    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the attributions that a batch has."""
        batch = rows.batch
        if not batch.attributions:
            return
        baseline, rows_weights = schema.fit(AttributionBaseline), row_weights(batch)
        for place, name in enumerate(attributed(schema)):
            phi = batch.attributions.get(name)
            if phi is None:
                continue
            known = np.abs(phi) <= VALUE_LIMIT
            weights = rows_weights
            if not known.all():
                phi, weights = phi[known], weights[known]
            size, weighted = np.abs(phi), weights * phi
            self.sums[place] += (weights.sum(), weights @ weights, weighted.sum(), weights @ size, weighted @ phi)
            if baseline is not None:
                bins = np.searchsorted(baseline.edges[place], phi, side="right")
                self.bins[place] += np.bincount(bins, weights, BINS)


def row_weights(batch: PredictionBatch) -> F64:
    """Return how many predictions the attributions of each row stand for, ``[n]``.

    A sender that explains one prediction in 100 says so (``ml.attributions.weight``), so that it counts beside one that
    explains them all as much as it has traffic. A number that cannot be a weight counts as 1.
    """
    said = batch.attribution_weights
    if said is None:
        return batch.weights
    return batch.weights * np.where((said >= 1.0) & (said <= MAX_WEIGHT), said, 1.0)


def attributed(schema: Schema) -> tuple[str, ...]:
    """Return the features whose attributions are added up: those of the baseline, else the schema's."""
    baseline = schema.fit(AttributionBaseline)
    if baseline is not None:
        return baseline.names
    return tuple(column.name for column in schema.columns if column.role == "feature")


def mean_abs(sums: F64) -> F64:
    """Return the mean absolute attribution of each feature, ``[K]``; NaN without any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[:, 0] > 0.0, sums[:, 3] / sums[:, 0], np.nan)
