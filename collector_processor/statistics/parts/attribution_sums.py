"""Sums of attributions: how much each feature contributed to the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.attribution_baseline import BINS, AttributionBaseline
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class AttributionSums(Part):
    """The attributions φ of ``K`` features (:func:`attributed`).

    - ``sums`` ``[K, 5]``: Σ w, Σ w², Σ w φ, Σ w |φ|, Σ w φ² of the finite ones.
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

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the attributions that a batch has."""
        batch = rows.batch
        if not batch.attributions:
            return
        baseline = schema.fit(AttributionBaseline)
        for place, name in enumerate(attributed(schema)):
            phi = batch.attributions.get(name)
            if phi is None:
                continue
            known = np.isfinite(phi)
            weights = batch.weights
            if not known.all():
                phi, weights = phi[known], weights[known]
            size, weighted = np.abs(phi), weights * phi
            self.sums[place] += (weights.sum(), weights @ weights, weighted.sum(), weights @ size, weighted @ phi)
            if baseline is not None:
                bins = np.searchsorted(baseline.edges[place], phi, side="right")
                self.bins[place] += np.bincount(bins, weights, BINS)


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
