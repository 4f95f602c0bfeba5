"""The jobs of explaining one call: its attributions join it on its own span, which ends when they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span

from otel_ml.emit.emitter import Emitter
from otel_ml.encode.batch import Batch, BatchColumn
from otel_ml.encode.row import attribution_attributes
from otel_ml.explain.explains import Explains
from otel_ml.explain.queue import MAX_ROWS, Job
from otel_ml.explain.tables import kept, taken
from otel_ml.semconv import ATTRIBUTIONS_WEIGHT

MAX_BATCH_ROWS: Final = MAX_ROWS
"""Rows of one call that are explained; each then stands for more."""


class Explained(NamedTuple):
    """What explains a call: the sample and explainer, the fitted model, and what it was called with."""

    explains: Explains
    model: object
    table: object

    def width(self, row: Mapping[Any, object] | None) -> int:
        """Return how many attributes the explanation of a row takes, as far as is known."""
        return 1 + (self.explains.width or len(row or ()))

    def table_now(self) -> object:
        """Return a copy of what the model was called with."""
        return kept(self.table() if callable(self.table) else self.table)


def row_job(explained: Explained, emitter: Emitter, span: Span, end_ns: int, room: int) -> Job:
    """Return how one row is explained; its span has room for ``room`` more attributes."""
    explains, model, _ = explained
    table = explained.table_now()

    def explain() -> None:
        phi = {name: cells[0] for name, cells in explains(model, table).items()}
        attributes = attribution_attributes(phi, emitter.redaction.attributions, room - 1)
        span.set_attributes({**attributes, ATTRIBUTIONS_WEIGHT: float(explains.sample.one_in)})

    return Job(1, explain, lambda: span.end(end_ns), lambda why: emitter.measures.unexplained(1, why))


def batch_job(
    explained: Explained,
    emitter: Emitter,
    batch: Batch,
    ids: Callable[[], Iterable[str]],
    add: Callable[[Mapping[str, Any]], None],
    end: Callable[[], None],
) -> Job:
    """Return how some rows of many are explained; ``add`` takes columns of attributions, and ``end`` sends the rows."""
    explains, model, _ = explained
    expected = max(1, min(batch.rows // explains.sample.one_in, MAX_BATCH_ROWS))
    table = explained.table_now()
    # The rows leave later than the call ends, so they must not change any more.
    batch.columns[:] = [replace(column, cells=kept(column.cells)) for column in batch.columns]
    batch.scores.update({name: kept(cells) for name, cells in batch.scores.items()})

    def explain() -> None:
        rows, weight = explains.sample.first(ids(), MAX_BATCH_ROWS)
        if not rows:
            return
        found = explains(model, taken(table, rows))
        add({name: _spread(cells, rows, batch.rows) for name, cells in found.items()})
        batch.columns.append(
            BatchColumn(ATTRIBUTIONS_WEIGHT, _spread([weight] * len(rows), rows, batch.rows), "number")
        )

    return Job(expected, explain, end, lambda why: emitter.measures.unexplained(expected, why))


def _spread(cells: Iterable[Any], rows: list[int], count: int) -> list[float | None]:
    """Return a column with the cells in their rows, and nothing in the others."""
    column: list[float | None] = [None] * count
    for row, cell in zip(rows, cells, strict=True):
        column[row] = float(cell)
    return column
