"""Sums of how far rows are from what the principal components of the reference explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.reconstruction import Reconstruction
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.sample import sampled
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class ReconstructionSums(Part):
    """Sums over rows, or a sample of them (:mod:`.sample`), of size 0 without components.

    - ``rows`` ``[4]``: Σ w, Σ w², how many rows were looked at, and how many came.
    - ``errors`` ``[2]``: Σ w e and Σ w e²; e is the length of a row's residuals.
    - ``squares`` ``[K]``: Σ w r² of the residual r of each feature.
    """

    name: ClassVar[str] = "reconstruction_sums"

    rows: F64
    errors: F64
    squares: F64

    @classmethod
    def empty(cls, schema: Schema) -> ReconstructionSums:
        """Return the sums of nothing."""
        fit = schema.fit(Reconstruction)
        if fit is None:
            return cls(np.zeros(0), np.zeros(0), np.zeros(0))
        return cls(np.zeros(4), np.zeros(2), np.zeros(len(fit.positions)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the residuals of rows."""
        fit, batch = schema.fit(Reconstruction), rows.batch
        if fit is None:
            return
        looked, weights = batch, batch.weights
        if not fit.whole:
            looked, _, weights, _ = sampled(batch)
        self.rows += (weights.sum(), (weights * weights).sum(), len(weights), len(batch))
        if not len(weights):
            return
        squares = np.square(fit.residuals(schema, looked))
        total = squares.sum(axis=0)
        self.errors += (weights @ np.sqrt(total), weights @ total)
        self.squares += squares @ weights
