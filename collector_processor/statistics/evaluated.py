"""Which rows trees look at: all rows of a small batch, and a part of a large one, which stands for all of it.

Trees cost more per row than counting does. A row belongs to the part by its prediction id, whatever else is in it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, U64, Mask, PredictionBatch

_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def evaluated_weights(batch: PredictionBatch, by: object, most: int) -> F64:
    """Return how many predictions each row stands for in estimates, float64 ``[n]``; 0 for rows that are not evaluated.

    Of more than ``most`` rows, between half of ``most`` and ``most`` are evaluated on average, and the weights of the
    batch are theirs. Derived once for each batch and ``by``: who asks first, with the whole batch, decides.
    """
    return batch.once("evaluated_weights", by, lambda: _weights(batch, most))


def evaluated_evenly(batch: PredictionBatch, by: object, most: int) -> None:
    """Choose at most ``most`` rows of a batch by their place: the rows of a table have no ids, and need no haste."""
    step = max(-(-len(batch) // most), 1)
    batch.once("evaluated_weights", by, lambda: _scaled(batch, np.arange(len(batch)) % step == 0))


def _weights(batch: PredictionBatch, most: int) -> F64:
    halvings = max(len(batch) - 1, 0).bit_length() - (most.bit_length() - 1)
    if halvings <= 0:
        return batch.weights
    return _scaled(batch, _mixed(batch.ids[:, 0]) >> np.uint64(64 - halvings) == 0)


def _scaled(batch: PredictionBatch, chosen: Mask) -> F64:
    total = batch.weights[chosen].sum()
    return np.where(chosen, batch.weights * (batch.weights.sum() / total if total > 0.0 else 0.0), 0.0)


def _mixed(ids: U64) -> U64:
    """Return other numbers for ids, equal for equal ones, whose highest bits are even: those of an id may not be."""
    first, second = _MIX
    mixed = (ids ^ (ids >> np.uint64(30))) * first
    mixed = (mixed ^ (mixed >> np.uint64(27))) * second
    return mixed ^ (mixed >> np.uint64(31))
