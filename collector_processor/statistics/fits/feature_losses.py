"""How wrong the model is, on average, in each range and category of a feature of the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema


@dataclass(frozen=True, slots=True)
class FeatureLosses:
    """Mean losses of ``K`` features: the share of wrong classes, or the mean absolute error.

    - ``positions`` int32 ``[K]``: the features in ``schema.columns``, ascending.
    - ``losses``: of a numeric one, for each of its drift bins and for missing cells; of a categorical one, for the
      categories that are counted together, for each in the order of ``schema.categories.names``, and for missing cells.
      The last number is for categories that are newer: the mean of all rows.
    """

    positions: I32
    losses: tuple[F64, ...]

    def cells(self, schema: Schema, pane: Pane) -> Iterator[F64]:
        """Yield the weight of the rows in each cell of each feature."""
        missing = pane.missing + pane.wrong_type
        for losses, place in zip(self.losses, self.positions.tolist(), strict=True):
            if place < len(schema.numeric):
                below = np.cumsum(pane.counts[place])
                bins = np.diff(below[drift_bins(schema, place)], prepend=0.0, append=below[-1])
                yield np.concatenate((bins, missing[place : place + 1], [0.0]))
                continue
            slots = schema.categories.column_slots(place - len(schema.numeric))
            counts = np.append(pane.category_counts, 0.0).take(slots, mode="clip")
            known = len(losses) - 2
            yield np.concatenate((counts[:known], missing[place : place + 1], [counts[known:].sum()]))


def drift_bins(schema: Schema, place: int) -> I32:
    """Return the last fine bin of each drift bin of a numeric column but of the last one."""
    return np.unique(schema.drift_edges[place])
