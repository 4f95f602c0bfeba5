"""The predictions of one model in one request, before they become batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, I64, U64, Column, ModelKey, PredictionBatch
from collector_processor.columns.concatenate import concatenate
from collector_processor.columns.traces import Traces, shared_trace, traces_of
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.calls import Calls, calls_of
from collector_processor.decode.rules.cell_columns import column_of
from collector_processor.decode.rules.cells import PER_CALL, Place, Scalar, place_of, text_of
from collector_processor.decode.rules.identity import Identity
from collector_processor.decode.rules.ids import hash_ids
from collector_processor.decode.rules.row_table import ColumnQuota, RowTable
from otel_ml import semconv

BLOCK_ROWS: Final = 16_384
"""Number of single rows that become columns at a time; smaller batches are merged up to this size."""
LONG_ROWS: Final = 1024
"""Number of rows that are enough for a separate batch: code that counts several together copies them again anyway."""
Row = Mapping[str, Scalar | None]
"""Attributes of one span by name; those that are not cells of a batch are ignored."""

_FREE_CELLS: Final = 65_536
_CELLS_PER_ATTRIBUTE: Final = 4


class CallHeader(NamedTuple):
    """One call of the model, as its span describes it, without the cells."""

    time_ns: int
    weight: float
    duration_s: float
    default_id: str
    error: str | None
    trace: tuple[int, int, int] | None = None


class PredictionRows:
    """Collects single rows and whole tables of one model in order, and turns them into batches in the same order.

    Batches are cut so that their memory stays in proportion to the bytes that came: rows × columns is at most
    4 × the attributes seen in a batch + 65,536. Where exactly they are cut is not part of the contract.
    """

    def __init__(self, identity: Identity, tally: Tally) -> None:
        self.identity = identity
        self._tally = tally
        self._quota = ColumnQuota(tally)
        self._calls: list[CallHeader] = []
        self._rows: list[Row] = []
        self._parts: list[tuple[PredictionBatch, int]] = []

    def add(self, row: Row, call: CallHeader) -> None:
        """Add one row as its attributes by name, which need not all be cells; drop it if it exceeds the limit."""
        if not self._tally.take_rows(1):
            return
        self._rows.append(row)
        self._calls.append(call)
        if len(self._rows) >= BLOCK_ROWS:
            self._flush()

    def add_table(self, table: RowTable, call: CallHeader) -> None:
        """Add the rows of one call: all of them, or none if they exceed a limit."""
        columns = len(table.places())
        if not table.rows or not self._tally.take_rows(table.rows) or not self._tally.take_cells(table.rows, columns):
            return
        self._flush()
        durations = np.full(table.rows, np.nan)
        durations[0] = call.duration_s
        error = column_of([call.error], "text", self._tally)
        calls = Calls(
            np.full(table.rows, call.time_ns, np.int64),
            durations,
            None if error is None else error.take(np.zeros(table.rows, np.int64)),
            shared_trace(call.trace, table.rows),
        )
        if not PER_CALL.isdisjoint(table.arrays):
            calls = calls_of(dict(table.arrays), calls, self._tally)
        batch = self._batch(
            table,
            calls.times,
            table.ids(call.default_id)[0],
            np.full(table.rows, call.weight),
            calls.durations,
            calls.error,
            calls.traces,
        )
        self._parts.append((batch, table.rows * columns))

    def admits(self, place: Place, column: Column) -> bool:
        """Return whether a column is kept within the limits."""
        return self._quota.admits(place, column)

    def add_batch(self, batch: PredictionBatch, columns: int, attributes: int) -> None:
        """Add rows that came as ``columns`` columns from ``attributes`` attributes; drop them if over a limit."""
        if self._tally.take_rows(len(batch)) and self._tally.take_cells(len(batch), columns):
            self._flush()
            self._parts.append((batch, attributes))

    def finish(self) -> list[PredictionBatch]:
        """Return everything that was added as batches."""
        self._flush()
        return [concatenate(group) for group in _grouped(self._parts)]

    def _flush(self) -> None:
        """Turn the collected single rows into batches."""
        rows, calls = self._rows, self._calls
        self._rows, self._calls = [], []
        for begin, end, attributes in _dense_runs(rows):
            self._add_rows(rows[begin:end], calls[begin:end], attributes)

    def _add_rows(self, rows: list[Row], calls: list[CallHeader], attributes: int) -> None:
        names: Row = {}
        for row in rows:
            names.update(row)
        ours = [name for name in names if place_of(name) is not None]
        if not self._tally.take_cells(len(rows), len(ours)):
            return
        times, weights, durations, defaults, errors, traces = zip(*calls, strict=True)
        ids = [text_of(row.get(semconv.PREDICTION_ID)) or default for row, default in zip(rows, defaults, strict=True)]
        batch = self._batch(
            RowTable(len(rows), lists={name: [row.get(name) for row in rows] for name in ours}),
            np.array(times, np.int64),
            hash_ids(ids),
            np.array(weights, np.float64),
            np.array(durations, np.float64),
            column_of(errors, "text", self._tally),
            traces_of(traces),
        )
        self._parts.append((batch, attributes))

    def _batch(
        self,
        table: RowTable,
        times: I64,
        ids: U64,
        weights: F64,
        durations: F64,
        error: Column | None,
        traces: Traces | None,
    ) -> PredictionBatch:
        columns = self._quota.columns(table)
        return prediction_batch(self.identity, columns, times, ids, weights, durations, error, traces)


def prediction_batch(
    identity: Identity,
    columns: Iterable[tuple[Place, Column]],
    times: I64,
    ids: U64,
    weights: F64,
    durations: F64,
    error: Column | None,
    traces: Traces | None,
) -> PredictionBatch:
    """Make a batch, with each column in its place."""
    parts: dict[str, dict[str, Column]] = {}
    for place, column in columns:
        parts.setdefault(place.part, {})[place.key] = column
    return PredictionBatch(
        model=ModelKey(identity.name, identity.version),
        time_ns=times,
        ids=ids,
        weights=weights,
        duration_s=durations,
        features=parts.get("feature", {}),
        prediction=parts.get("class", {}).get(""),
        score=_numbers(parts.get("score", {})).get(""),
        value=_numbers(parts.get("value", {})).get(""),
        scores=_numbers(parts.get("scores", {})),
        segments=parts.get("segment", {}),
        attributions=_numbers(parts.get("attribution", {})),
        attribution_weights=_numbers(parts.get("attribution_weight", {})).get(""),
        error=error,
        task=identity.task,
        role=identity.role,
        positive_class=identity.positive_class,
        withheld=identity.withheld,
        threshold=float(identity.threshold) if identity.threshold else None,
        traces=traces,
    )


def _numbers(columns: Mapping[str, Column]) -> dict[str, F64]:
    return {key: column.numbers for key, column in columns.items() if column.numbers is not None}


def _dense_runs(rows: Sequence[Row]) -> Iterator[tuple[int, int, int]]:
    """Cut rows into runs (first, end, attributes) whose combined columns are dense enough."""
    if not rows:
        return
    names: set[str] = set().union(*rows)
    attributes = sum(map(len, rows))
    if _is_dense(len(rows), len(names), attributes):
        yield 0, len(rows), attributes
        return
    begin, names, attributes = 0, set(), 0
    for index, row in enumerate(rows):
        wider = names.union(row)
        if index > begin and not _is_dense(index - begin + 1, len(wider), attributes + len(row)):
            yield begin, index, attributes
            begin, wider, attributes = index, set(row), 0
        names = wider
        attributes += len(row)
    yield begin, len(rows), attributes


def _is_dense(rows: int, columns: int, attributes: int) -> bool:
    return rows * columns <= _CELLS_PER_ATTRIBUTE * attributes + _FREE_CELLS


def _grouped(parts: Sequence[tuple[PredictionBatch, int]]) -> Iterator[list[PredictionBatch]]:
    """Yield groups of neighboring batches that are together small and dense enough to become one."""
    group: list[PredictionBatch] = []
    rows, names, cells = 0, set[tuple[str, str]](), 0
    for batch, size in parts:
        wider = names | _names(batch)
        fits = (
            rows < LONG_ROWS
            and rows + len(batch) <= BLOCK_ROWS
            and _is_dense(rows + len(batch), len(wider), cells + size)
        )
        if group and not fits:
            yield group
            group, rows, wider, cells = [], 0, _names(batch), 0
        group.append(batch)
        rows, names, cells = rows + len(batch), wider, cells + size
    if group:
        yield group


def _names(batch: PredictionBatch) -> set[tuple[str, str]]:
    parts = {"f": batch.features, "s": batch.scores, "g": batch.segments, "a": batch.attributions}
    return {(part, key) for part, columns in parts.items() for key in columns}
