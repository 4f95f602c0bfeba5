"""Which rows of a batch came together in one call: they may be alike, and are not independent."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask, PredictionBatch

LARGEST_CALL: Final = 1000
"""Rows of a call that may be alike. A larger call is a batch job, whose rows count as independent."""


def call_starts(batch: PredictionBatch) -> Mask:
    """Return which rows begin a call ``[n]``: one with a duration, or with another event time than the row before it.

    Without any duration, as in a table, each row is its own call.

    >>> from collector_processor.columns.batch import ModelKey
    >>> duration_s = np.array([0.1, np.nan, np.nan, 0.2])
    >>> ids, times = np.zeros((4, 2), np.uint64), np.array([5, 5, 7, 7])
    >>> call_starts(PredictionBatch(ModelKey("fraud"), times, ids, np.ones(4), duration_s)).tolist()
    [True, False, True, True]
    """
    begins = np.isfinite(batch.duration_s)
    if not begins.any():
        return ~begins
    begins[0] = True
    begins[1:] |= batch.time_ns[1:] != batch.time_ns[:-1]
    return begins


def calls_of(batch: PredictionBatch) -> I64 | None:
    """Return the number of each row's call ``[n]``; None if every row is its own (:func:`call_starts`).

    In calls of more than :data:`LARGEST_CALL` rows, each row counts as its own call, too. Derive it before a batch is
    cut into panes: a call may be cut, too.
    """
    return batch.once("calls", None, lambda: _calls_of(batch))


def _calls_of(batch: PredictionBatch) -> I64 | None:
    starts = np.flatnonzero(call_starts(batch))
    sizes = np.diff(np.append(starts, len(batch)))
    alone = sizes > LARGEST_CALL
    if (alone | (sizes == 1)).all():
        return None
    call = np.repeat(np.arange(len(starts)), sizes)
    if alone.any():
        rows = np.flatnonzero(np.repeat(alone, sizes))
        call[rows] = len(starts) + np.arange(len(rows))
    return call


def call_weights(batch: PredictionBatch) -> F64:
    """Return the weight of all rows of each row's call, ``[n]``; derive it before a batch is cut, as the calls."""
    return batch.once("call_weights", None, lambda: _call_weights(batch))


def _call_weights(batch: PredictionBatch) -> F64:
    calls = calls_of(batch)
    if calls is None:
        return batch.weights
    return np.bincount(calls, batch.weights).astype(np.float64, copy=False)[calls]
