"""Which rows of a batch came together in one call: they may be alike, and are not independent."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import I64, Mask, PredictionBatch

LARGEST_CALL: Final = 1000
"""Rows of a call that may be alike. A larger call is a batch job, whose rows count as independent."""


def calls_of(batch: PredictionBatch) -> I64 | None:
    """Return the number of each row's call ``[n]``; None if every row is its own.

    A call begins with a row that has a duration, or another event time than the row before it. Without any duration, as
    in a table, and in calls of more than :data:`LARGEST_CALL` rows, each row counts as its own call.
    """
    begins = _begins(batch)
    if begins is None:
        return None
    call = np.cumsum(begins) - 1
    large = np.bincount(call) > LARGEST_CALL
    if large.any():
        alone = np.flatnonzero(large[call])
        call[alone] = call[-1] + 1 + np.arange(len(alone))
    return call


def _begins(batch: PredictionBatch) -> Mask | None:
    begins = np.isfinite(batch.duration_s)
    if not begins.any():
        return None
    begins[0] = True
    begins[1:] |= batch.time_ns[1:] != batch.time_ns[:-1]
    return None if begins.all() else begins
