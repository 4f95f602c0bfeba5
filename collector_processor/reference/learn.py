"""A reference learned while serving: the first rows of a model are kept, profiled, and given back to be counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from collector_processor.decode.batch import F64, I32, Column, PredictionBatch
from collector_processor.reference.build import (
    MAX_CATEGORIES,
    MAX_CLASSES,
    MAX_FEATURES,
    MAX_SEGMENT_VALUES,
    build_reference,
)
from collector_processor.reference.profile import Reference

DEFAULT_ROWS: Final = 5000
DEFAULT_BYTES: Final = 128 * 2**20


class Learner:
    """Buffers batches of one model until there are ``rows`` of them, or until they take ``max_bytes``.

    >>> learner = Learner(rows=100)
    >>> learner.ready, learner.rows
    (False, 0)
    """

    def __init__(self, rows: int = DEFAULT_ROWS, max_bytes: int = DEFAULT_BYTES) -> None:
        if rows < 1 or max_bytes < 1:
            raise ValueError(f"a reference needs rows and room to learn from, got rows={rows}, max_bytes={max_bytes}")
        self.wanted = rows
        self.max_bytes = max_bytes
        self.rows = 0
        self.nbytes = 0
        self.batches: list[PredictionBatch] = []

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return self.rows >= self.wanted or self.nbytes >= self.max_bytes

    def add(self, batch: PredictionBatch) -> bool:
        """Keeps a batch and says so; a learner that was :attr:`ready` before refuses it."""
        if self.ready:
            return False
        self.batches.append(batch)
        self.rows += len(batch)
        self.nbytes += batch_bytes(batch)
        return True

    def finish(
        self,
        model_name: str,
        *,
        task: str = "",
        positive_class: str = "",
        segments: Sequence[str] = (),
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        max_features: int = MAX_FEATURES,
        max_categories: int = MAX_CATEGORIES,
        max_classes: int = MAX_CLASSES,
        max_segment_values: int = MAX_SEGMENT_VALUES,
    ) -> Reference:
        """The reference of the first rows wanted; :attr:`batches` keeps all rows, for the caller to count.

        Where settings and rows contradict each other the rows win: serving must go on. Raises ``ValueError`` without
        rows.
        """
        batch = concat(self.batches)
        rows = min(len(batch), self.wanted)
        return build_reference(
            model_name,
            batch.take(slice(0, rows)),
            task=task,
            positive_class=positive_class,
            segments=segments,
            categorical=categorical,
            numeric=numeric,
            source=f"the first {rows} rows",
            max_features=max_features,
            max_categories=max_categories,
            max_classes=max_classes,
            max_segment_values=max_segment_values,
            strict=False,
        )


def concat(batches: Sequence[PredictionBatch]) -> PredictionBatch:
    """One batch of all rows in order, with every column that any batch has; cells of absent ones are missing.

    Model, task and role are the first ones told. Raises ``ValueError`` without batches.
    """
    if not batches:
        raise ValueError("no batches to put together")
    if len(batches) == 1:
        return batches[0]
    return PredictionBatch(
        model=batches[0].model,
        time_ns=np.concatenate([batch.time_ns for batch in batches]),
        ids=np.concatenate([batch.ids for batch in batches]),
        weights=np.concatenate([batch.weights for batch in batches]),
        duration_s=np.concatenate([batch.duration_s for batch in batches]),
        features=_columns(batches, lambda batch: batch.features),
        prediction=_column(batches, [batch.prediction for batch in batches]),
        score=_numbers(batches, [batch.score for batch in batches]),
        value=_numbers(batches, [batch.value for batch in batches]),
        scores=_number_columns(batches, lambda batch: batch.scores),
        segments=_columns(batches, lambda batch: batch.segments),
        attributions=_number_columns(batches, lambda batch: batch.attributions),
        error=_column(batches, [batch.error for batch in batches]),
        task=next((batch.task for batch in batches if batch.task), ""),
        role=next((batch.role for batch in batches if batch.role), ""),
    )


_Batches = Sequence[PredictionBatch]


def _columns(batches: _Batches, part: Callable[[PredictionBatch], Mapping[str, Column]]) -> dict[str, Column]:
    names = dict.fromkeys(name for batch in batches for name in part(batch))
    found = {name: _column(batches, [part(batch).get(name) for batch in batches]) for name in names}
    return {name: column for name, column in found.items() if column is not None}


def _number_columns(batches: _Batches, part: Callable[[PredictionBatch], Mapping[str, F64]]) -> dict[str, F64]:
    names = dict.fromkeys(name for batch in batches for name in part(batch))
    found = {name: _numbers(batches, [part(batch).get(name) for batch in batches]) for name in names}
    return {name: values for name, values in found.items() if values is not None}


def _numbers(batches: _Batches, parts: Sequence[F64 | None]) -> F64 | None:
    if all(part is None for part in parts):
        return None
    sized = zip(batches, parts, strict=True)
    return np.concatenate([np.full(len(batch), np.nan) if part is None else part for batch, part in sized])


def _column(batches: _Batches, columns: Sequence[Column | None]) -> Column | None:
    """The columns under one another, their categories in order of appearance; None where no batch has it."""
    if all(column is None for column in columns):
        return None
    numbers = _numbers(batches, [None if column is None else column.numbers for column in columns])
    known: dict[str, int] = {}
    codes: list[I32] = []
    for batch, column in zip(batches, columns, strict=True):
        if column is None or column.codes is None:
            codes.append(np.full(len(batch), -1, np.int32))
            continue
        translated = [known.setdefault(category, len(known)) for category in column.categories]
        codes.append(np.array([*translated, -1], np.int32)[column.codes])  # code −1 reads the last
    if all(column is None or column.codes is None for column in columns):
        return Column(numbers)
    return Column(numbers, np.concatenate(codes), tuple(known))


def batch_bytes(batch: PredictionBatch) -> int:
    """Roughly how many bytes a batch holds."""
    arrays: list[np.ndarray | None] = [
        batch.time_ns,
        batch.ids,
        batch.weights,
        batch.duration_s,
        batch.score,
        batch.value,
    ]
    arrays += [*batch.scores.values(), *batch.attributions.values()]
    columns = [*batch.features.values(), *batch.segments.values(), batch.prediction, batch.error]
    texts = 0
    for column in columns:
        if column is not None:
            arrays += [column.numbers, column.codes]
            texts += sum(64 + len(category) for category in column.categories)
    return texts + sum(values.nbytes for values in arrays if values is not None)
