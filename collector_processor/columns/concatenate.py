"""Concatenate batches of one model, and copy batches to keep them."""

from __future__ import annotations

from collections.abc import Sequence

from collector_processor.columns.parts import Array, B, mapped, parts_of


def concatenate(batches: Sequence[B]) -> B:
    """Return one batch of all rows in order, with every column that any batch has.

    The model is that of the first batch; task and role are the first that a batch has. Raises ``ValueError`` without a
    batch.

    >>> import numpy as np
    >>> from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
    >>> def batch(feature):
    ...     column = {feature: Column(np.array([1.0]))}
    ...     return PredictionBatch(ModelKey("m"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1),
    ...                            np.ones(1), column)
    >>> both = concatenate([batch("a"), batch("b")])
    >>> len(both), both.features["a"].numbers.tolist(), both.features["b"].numbers.tolist()
    (2, [1.0, nan], [nan, 1.0])
    >>> def labels(value):
    ...     return LabelBatch("m", np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), values=np.array([value]))
    >>> concatenate([labels(1.0), labels(2.0)]).values.tolist()
    [1.0, 2.0]
    """
    if not batches:
        raise ValueError("concatenate needs at least one batch")
    if len(batches) == 1:
        return batches[0]
    lengths = [len(batch) for batch in batches]
    batch_type = type(batches[0])
    return batch_type(**{
        name: kind.concatenated([getattr(batch, name) for batch in batches], lengths)
        for name, kind in parts_of(batch_type)
    })  # fmt: skip


def owned(batch: B) -> B:
    """Return the batch with its arrays in separate memory, to keep it longer than the request.

    Numbers of an ``ml.batch`` may be views of the request's octets, all of which they then keep in memory. Such views
    are read-only, and may be unaligned.
    """
    return mapped(batch, _owned)


def _owned(values: Array) -> Array:
    return values if values.flags.writeable else values.copy()
