"""Cuts the rows of one call into spans: in each, one Arrow stream whose columns are named like the attributes.

The wire has few types: numbers, truth values and texts. A missing cell is null, or NaN. Texts that repeat are codes
with a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from otel_ml.encode import stream
from otel_ml.encode.batch import Batch, BatchColumn, PayloadLimits
from otel_ml.encode.columns import columns_of
from otel_ml.encode.preview import preview
from otel_ml.encode.row import Attributes
from otel_ml.encode.wire import Coded, Column, Texts
from otel_ml.semconv import BATCH, PREDICTION_ID, PREDICTION_ROWS, PREDICTION_SCORES

_COLUMN_BYTES: Final = 56
"""What a column adds to each record batch besides its cells: a node, two buffers, padding."""
_DICTIONARIES: Final = 4
"""Dictionaries, which each span repeats, take at most this fraction (1 / 4) of it."""


def payloads(batch: Batch, limits: PayloadLimits) -> Iterator[Attributes]:
    """Yield the attributes of each span that the batch needs; each stream has at most ``limits.max_bytes``.

    Each has ``ml.prediction.rows``, the number of rows in that span; a row keeps the id of its position in the whole
    call.
    """
    table, budget = _Table(), limits.max_bytes // _DICTIONARIES
    for item in _items(batch):
        for column in columns_of(item, batch.rows, limits.max_chars):
            budget -= table.add(item.attribute, column, budget)
    spelled = PREDICTION_ID in table.names or (batch.own_ids and bool(table.columns))
    if not spelled:
        table.add(PREDICTION_ID, Texts(_default_ids(batch.base_id, 0, batch.rows)), 0)
    yield from _cut(batch, table, limits.max_bytes)


def _items(batch: Batch) -> Iterator[BatchColumn]:
    yield from batch.columns
    for name, values in batch.scores.items():
        yield BatchColumn(f"{PREDICTION_SCORES}.{name}", values, "number")


@dataclass(slots=True)
class _Table:
    """The columns of a call, and what never changes from one of its spans to the next."""

    names: list[str] = field(default_factory=list[str])
    columns: list[Column] = field(default_factory=list[Column])
    dictionaries: list[bytes] = field(default_factory=list[bytes])

    def add(self, name: str, column: Column, budget: int) -> int:
        """Add a column, with a dictionary only if it is within budget; return the bytes of that."""
        size = 0
        if isinstance(column, Coded):
            dictionary = stream.dictionary(len(self.names), column.dictionary(), len(column.texts))
            if len(dictionary) <= budget:
                size = len(dictionary)
                self.dictionaries.append(dictionary)
            else:
                column = column.plain()
        self.names.append(name)
        self.columns.append(column)
        return size

    def stream(self, start: int, stop: int, ids: Texts | None) -> bytes:
        """Return the stream of some rows, with default ids beside the columns if they have to be spelled out."""
        fields, parts = self._fields(), [column.part(start, stop) for column in self.columns]
        if ids is not None:
            fields, parts = (*fields, (PREDICTION_ID, ids.kind)), [*parts, ids.part(0, stop - start)]
        return b"".join((stream.schema(fields), *self.dictionaries, *stream.records(stop - start, parts), stream.END))

    def _fields(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, column.kind) for name, column in zip(self.names, self.columns, strict=True))

    def fixed_bytes(self) -> int:
        """Return the bytes of a stream besides the cells."""
        return len(stream.schema(self._fields())) + sum(map(len, self.dictionaries)) + _COLUMN_BYTES * len(self.names)


def _cut(batch: Batch, table: _Table, max_bytes: int) -> Iterator[Attributes]:
    implied = PREDICTION_ID not in table.names
    row_bytes = sum(column.nbytes for column in table.columns) / max(batch.rows, 1)
    if implied:
        row_bytes += len(batch.base_id) + 12
    step = max(1, int((max_bytes - table.fixed_bytes()) / max(row_bytes, 1)))
    pending = [(start, min(start + step, batch.rows)) for start in range(0, batch.rows, step)][::-1]
    while pending:
        start, stop = pending.pop()
        # A decoder takes a span of one row for a call of one row, whose default id has no ":0".
        spelled = implied and (start or stop == 1)
        octets = table.stream(start, stop, Texts(_default_ids(batch.base_id, start, stop)) if spelled else None)
        if len(octets) > max_bytes and stop - start > 1:  # texts of uneven length: halve until it fits
            middle = (start + stop) // 2
            pending += [(middle, stop), (start, middle)]
            continue
        shown = preview(list(zip(table.names, table.columns, strict=True)), start, stop)
        yield {BATCH: octets, PREDICTION_ROWS: stop - start, **shown}


def _default_ids(base: str, start: int, stop: int) -> list[str | None]:
    return [f"{base}:{row}" for row in range(start, stop)]
