"""Which rows the dearer sums look at: all of the first ones of a pane, then fewer and fewer, by prediction id.

A row that is looked at stands for those that are not, so it has their weight, and sums are right whatever the share.
The choice depends on the id and on how many rows came before, never on what is in the row. The share halves whenever
the rows of a pane have doubled: so no row weighs much more than the others, and a sum of n rows is worth about 6,000
equal ones once they are more than that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I64, PredictionBatch

WHOLE: Final = 4096
"""How many rows of a pane are looked at before sampling begins."""
LEVELS: Final = 6
"""How often the share halves: at last, one row in 64 is looked at."""


class Chosen(NamedTuple):
    """Rows of a batch, None for all, the weight of each, ``[m]``, and which of the :data:`LEVELS` chose it."""

    rows: I64 | None
    weights: F64
    levels: NDArray[np.uint8]


def chosen(batch: PredictionBatch, came: float) -> Chosen:
    """Return the rows to look at, if ``came`` rows of the pane came before.

    >>> from collector_processor.columns.batch import ModelKey
    >>> ids = np.arange(1, 17, dtype=np.uint64).repeat(2).reshape(16, 2)
    >>> batch = PredictionBatch(ModelKey("fraud"), np.zeros(16, np.int64), ids, np.ones(16), np.ones(16))
    >>> [*chosen(batch, WHOLE - 3)[:2]]
    [array([ 0,  1,  2,  3,  5,  7,  9, 11, 13, 15]), array([1., 1., 1., 2., 2., 2., 2., 2., 2., 2.])]
    """
    end = int(came) + len(batch)
    if end <= WHOLE:
        return Chosen(None, batch.weights, np.zeros(len(batch), np.uint8))
    keys = batch.ids[:, 0]
    if not keys.all():  # rows without an id, such as those of a table
        keys = np.where(keys == 0, np.arange(len(batch), dtype=np.uint64), keys)
    rows: list[I64] = []
    levels: list[NDArray[np.uint8]] = []
    for level in range(min(LEVELS, (int(came) // WHOLE).bit_length()), LEVELS + 1):
        start = max(0, (WHOLE << (level - 1)) - int(came)) if level else 0
        stop = len(batch) if level == LEVELS else min(len(batch), (WHOLE << level) - int(came))
        if start < stop:
            taken = start + np.flatnonzero(keys[start:stop] & np.uint64((1 << level) - 1) == 0)
            rows.append(taken)
            levels.append(np.full(len(taken), level, np.uint8))
        if stop == len(batch):
            break
    taken, chosen_by = np.concatenate(rows), np.concatenate(levels)
    return Chosen(taken, batch.weights[taken] * np.exp2(chosen_by.astype(np.float64)), chosen_by)
