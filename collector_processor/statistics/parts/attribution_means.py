"""Sums of how large attributions are, as values from 0 to 1: what alarms on their means need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema


@dataclass(slots=True)
class AttributionMeans(Part):
    """Attributions φ as x = |φ| / cap, at most 1, with the caps of :class:`.AttributionBaseline`.

    - ``sums`` ``[K, 3]``: Σ w, Σ w x, Σ w x² of those that are numbers; of size 0 without caps. w is the weight of the
      row: each row that was explained counts, not the ones that the sender did not explain.
    """

    name: ClassVar[str] = "attribution_means"

    sums: F64

    @classmethod
    def empty(cls, schema: Schema) -> AttributionMeans:
        """Return the sums of nothing."""
        baseline = schema.fit(AttributionBaseline)
        return cls(np.zeros((0 if baseline is None or baseline.caps is None else len(baseline.names), 3)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the attributions that a batch has."""
        baseline, batch = schema.fit(AttributionBaseline), rows.batch
        if baseline is None or baseline.caps is None or not batch.attributions:
            return
        for place, (name, cap) in enumerate(zip(baseline.names, baseline.caps.tolist(), strict=True)):
            phi = batch.attributions.get(name)
            if phi is None:
                continue
            size, weights = np.abs(phi), batch.weights
            known = size <= VALUE_LIMIT
            if not known.all():
                size, weights = size[known], weights[known]
            x = np.minimum(size / cap, 1.0) if cap > 0.0 else np.sign(size)
            weighted = weights * x
            self.sums[place] += (weights.sum(), weighted.sum(), weighted @ x)
