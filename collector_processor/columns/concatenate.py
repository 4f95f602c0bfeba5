"""Batches of one model behind one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from collector_processor.columns.batch import F64, Column, LabelBatch, PredictionBatch
from collector_processor.columns.column import concatenated, concatenated_numbers

_Cells = TypeVar("_Cells", F64, Column)


def concatenate(batches: Sequence[PredictionBatch]) -> PredictionBatch:
    """One batch of all rows in order, with the columns that any of them has; model, task and role are the first
    that are told.

    Raises :class:`ValueError` without a batch.

    >>> from collector_processor.columns.batch import ModelKey
    >>> def batch(feature):
    ...     column = {feature: Column(np.array([1.0]))}
    ...     return PredictionBatch(ModelKey("m"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1),
    ...                            np.ones(1), column)
    >>> both = concatenate([batch("a"), batch("b")])
    >>> len(both), both.features["a"].numbers.tolist(), both.features["b"].numbers.tolist()
    (2, [1.0, nan], [nan, 1.0])
    """
    if not batches:
        raise ValueError("concatenate needs at least one batch")
    if len(batches) == 1:
        return batches[0]
    lengths = [len(batch) for batch in batches]

    def columns(of: Callable[[PredictionBatch], Mapping[str, Column]]) -> Mapping[str, Column]:
        return _by_key([of(batch) for batch in batches], lambda parts: concatenated(parts, lengths))

    def numbers(of: Callable[[PredictionBatch], Mapping[str, F64]]) -> Mapping[str, F64]:
        return _by_key([of(batch) for batch in batches], lambda parts: concatenated_numbers(parts, lengths))

    return PredictionBatch(
        model=batches[0].model,
        time_ns=np.concatenate([batch.time_ns for batch in batches]),
        ids=np.concatenate([batch.ids for batch in batches]),
        weights=np.concatenate([batch.weights for batch in batches]),
        duration_s=np.concatenate([batch.duration_s for batch in batches]),
        features=columns(lambda batch: batch.features),
        prediction=concatenated([batch.prediction for batch in batches], lengths),
        score=concatenated_numbers([batch.score for batch in batches], lengths),
        value=concatenated_numbers([batch.value for batch in batches], lengths),
        scores=numbers(lambda batch: batch.scores),
        segments=columns(lambda batch: batch.segments),
        attributions=numbers(lambda batch: batch.attributions),
        error=concatenated([batch.error for batch in batches], lengths),
        task=next((batch.task for batch in batches if batch.task), ""),
        role=next((batch.role for batch in batches if batch.role), ""),
    )


def owned(batch: PredictionBatch) -> PredictionBatch:
    """The batch with its numbers in memory of their own, for whoever keeps it longer than the request.

    Numbers of an ``ml.batch`` may be views of the request's octets, which they then hold in memory as a whole. Such
    views are read-only, and may be unaligned.
    """

    def numbers(values: F64) -> F64:
        return values if values.flags.writeable else values.copy()

    def column(cells: Column) -> Column:
        return cells if cells.numbers is None else Column(numbers(cells.numbers), cells.codes, cells.categories)

    return replace(
        batch,
        features={key: column(cells) for key, cells in batch.features.items()},
        score=None if batch.score is None else numbers(batch.score),
        value=None if batch.value is None else numbers(batch.value),
        scores={key: numbers(values) for key, values in batch.scores.items()},
        attributions={key: numbers(values) for key, values in batch.attributions.items()},
    )


def concatenate_labels(batches: Sequence[LabelBatch]) -> LabelBatch:
    """One batch of all labels in order; the model's name is the first's. Raises :class:`ValueError` without a batch.

    >>> def batch(value):
    ...     return LabelBatch("m", np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), values=np.array([value]))
    >>> concatenate_labels([batch(1.0), batch(2.0)]).values.tolist()
    [1.0, 2.0]
    """
    if not batches:
        raise ValueError("concatenate_labels needs at least one batch")
    lengths = [len(batch) for batch in batches]
    return LabelBatch(
        batches[0].model_name,
        np.concatenate([batch.time_ns for batch in batches]),
        np.concatenate([batch.ids for batch in batches]),
        concatenated([batch.classes for batch in batches], lengths),
        concatenated_numbers([batch.values for batch in batches], lengths),
    )


def _by_key(
    mappings: Sequence[Mapping[str, _Cells]], join: Callable[[Sequence[_Cells | None]], _Cells | None]
) -> dict[str, _Cells]:
    joined: dict[str, _Cells] = {}
    for key in dict.fromkeys(key for mapping in mappings for key in mapping):
        part = join([mapping.get(key) for mapping in mappings])
        if part is not None:
            joined[key] = part
    return joined
