"""Cells that senders counted themselves, by the coarse bins and categories of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema

BESIDE: int = 3
"""Bins of a column beside those between its coarse edges: two for what is out of range, one for the last."""


@dataclass(slots=True)
class Observed(Part):
    """The counts of rows that did not come as rows. They are apart, because most monitors need more than they show.

    - ``rows`` ``[2]``: predictions, and those of them that failed.
    - ``counts`` ``[F, D + 3]``: cells between the edges of :func:`.observed_edges`.
    - ``category_counts`` ``[S]``, ``missing`` and ``wrong_type`` ``[C]``: as in a pane.
    """

    rows: F64
    counts: F64
    category_counts: F64
    missing: F64
    wrong_type: F64

    name: ClassVar[str] = "observed"

    @classmethod
    def empty(cls, schema: Schema) -> Observed:
        """Return the sums of nothing."""
        columns = len(schema.columns)
        return cls(
            rows=np.zeros(2),
            counts=np.zeros((len(schema.numeric), schema.drift_edges.shape[1] + BESIDE)),
            category_counts=np.zeros(len(schema.categories)),
            missing=np.zeros(columns),
            wrong_type=np.zeros(columns),
        )

    def any(self) -> bool:
        """Return whether anything was counted."""
        return any(bool(values.any()) for values in self.arrays().values())

    def numeric(self) -> Mask:
        """Return which numeric columns have cells, ``[F]``."""
        return self.counts.sum(axis=1) > 0.0
