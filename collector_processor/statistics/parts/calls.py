"""How rows come in calls, and how alike the rows of a call are: many rows may be no more evidence than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64, U64, Column, PredictionBatch
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.calls import call_weights, calls_of
from collector_processor.statistics.cells import cells_of
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts

_PER_OCTAVE: Final = 8
_CLASSES: Final = 20 * _PER_OCTAVE + 1
SIZES: Final[F64] = 2.0 ** (np.arange(_CLASSES) / _PER_OCTAVE)
"""The largest weight of each class of calls, ``[S]``: 1, then 9 % more from class to class."""
SIZES.setflags(write=False)
_ALWAYS: Final = 32
"""From this many rows on, every call is compared; of smaller ones one in eight, so that it costs little."""
_PAIRS: Final = 8
"""Most pairs of rows of one call that are compared, once a pane has :data:`_ENOUGH`."""
_ENOUGH: Final = 2048
"""Pairs of a pane before which all rows of a call of :data:`_ALWAYS` or more are compared: a few pairs would not show
that the rows of one large call are independent, and all of it would count as one row."""


@dataclass(slots=True)
class Calls(Part):
    """Weights of rows and calls, and pairs of rows.

    - ``by_row`` and ``by_call`` ``[S]``: the weight of rows by the weight of the row, and by that of all rows of its
      call (:data:`SIZES`). A row that stands for ten (sampling) weighs 10.
    - ``pairs`` and ``alike`` ``[C]``: pairs of rows of one call, and how many had both rows in one coarse bin, one
      category, or missing. Labels have none.
    """

    by_row: F64
    by_call: F64
    pairs: F64
    alike: F64

    name: ClassVar[str] = "calls"

    @classmethod
    def empty(cls, schema: Schema) -> Calls:
        """Return the sums of nothing."""
        columns = len(schema.columns)
        return cls(np.zeros(_CLASSES), np.zeros(_CLASSES), np.zeros(columns), np.zeros(columns))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions."""
        batch = rows.batch
        calls = calls_of(batch)
        by_row = _by_size(batch.weights, batch.weights)
        self.by_row += by_row
        self.by_call += by_row if calls is None else _by_size(call_weights(batch), batch.weights)
        if calls is None:
            return
        if rows.failed is not None:
            done = ~rows.failed
            batch, calls = batch.take(done), calls[done]
        if len(calls):
            self._add_pairs(schema, batch, calls)

    def _add_pairs(self, schema: Schema, batch: PredictionBatch, calls: I64) -> None:
        first, second = _pairs(batch.ids[:, 0], calls, int(self.pairs.max(initial=0.0)))
        if not len(first):
            return
        ends = batch.take(np.concatenate((first, second)))
        for position, spec in enumerate(schema.columns):
            numeric = position < len(schema.numeric)
            column = None if spec.role == "label" else cells_of(schema, ends, spec, numeric=numeric)
            if column is not None:
                edges = schema.edges[position, schema.drift_edges[position]] if numeric else None
                code = _codes(column, edges)
                self.pairs[position] += len(first)
                self.alike[position] += np.count_nonzero(code[: len(first)] == code[len(first) :])


def _pairs(keys: U64, calls: I64, compared: int) -> tuple[I64, I64]:
    """Return the positions of rows to compare, after ``compared`` pairs: of each call the first rows of both halves.

    Not of calls whose rows count as independent. Calls are looked at one after the other, so that it is the same in
    whichever batches they come.
    """
    starts = np.flatnonzero(np.append([True], calls[1:] != calls[:-1]))
    sizes = np.diff(np.append(starts, len(calls)))
    chosen = (sizes >= 2) & ((sizes >= _ALWAYS) | (keys[starts] % np.uint64(8) == 0))
    starts, half = starts[chosen], sizes[chosen] // 2
    count = np.minimum(half, _PAIRS)
    for place, size in enumerate(half.tolist()):
        if compared > _ENOUGH - _ALWAYS // 2:
            break
        if 2 * size >= _ALWAYS and compared + size <= _ENOUGH:
            count[place] = size
        compared += int(count[place])
    first = np.repeat(starts, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return first, first + np.repeat(half, count)


def _codes(column: Column, edges: F64 | None) -> F64 | I64:
    """Return a number for each row's bin or category; −1 for missing and the wrong kind."""
    if edges is None:
        texts = as_texts(column)
        return np.full(len(column), -1) if texts.codes is None else texts.codes.astype(np.int64)
    if column.numbers is None:
        return np.full(len(column), -1)
    places = np.searchsorted(edges[: finite_edges(edges)], column.numbers, side="right")
    return np.where(np.isnan(column.numbers), -1, places)


def _by_size(sizes: F64, weights: F64) -> F64:
    """Return the weight of rows by the class of their size ``[S]``: the first whose size is at least theirs."""
    if (sizes == sizes[0]).all():
        found = np.zeros(_CLASSES)
        found[_class_of(sizes[:1])] = weights.sum()
        return found
    return np.bincount(_class_of(sizes), weights, _CLASSES).astype(np.float64, copy=False)


def _class_of(sizes: F64) -> I64:
    return np.minimum(np.searchsorted(SIZES, sizes * (1.0 - 1e-12)), _CLASSES - 1)
