"""Sums of how large attributions are, as values from 0 to 1: what alarms on their means need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema

_CELLS: Final = 65_536
"""Attributions that are looked at together."""


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

    @np.errstate(over="ignore")  # what is far beyond a cap is at it
    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the attributions that a batch has."""
        baseline, batch = schema.fit(AttributionBaseline), rows.batch
        if baseline is None or baseline.caps is None or not batch.attributions or not len(batch):
            return
        step, absent = max(_CELLS // len(batch), 1), np.full(len(batch), np.nan)
        for first in range(0, len(baseline.names), step):
            part = slice(first, first + step)
            size = np.abs([batch.attributions.get(name, absent) for name in baseline.names[part]])
            known, caps = size <= VALUE_LIMIT, baseline.caps[part, None]
            x = np.minimum(np.divide(size, caps, out=np.sign(size), where=caps > 0.0), 1.0)
            x = np.where(known, x, 0.0)
            self.sums[part] += np.stack([each @ batch.weights for each in (known, x, x * x)], axis=1)
