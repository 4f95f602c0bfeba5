"""The labels of one model in one request, before they become batches."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import I64, LabelBatch
from collector_processor.columns.concatenate import concatenate
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cell_columns import column_of
from collector_processor.decode.rules.cells import Scalar
from collector_processor.decode.rules.ids import hash_ids
from collector_processor.decode.rules.row_table import RowTable
from otel_ml import semconv

_TOO_LATE: Final = 2.0**63


class LabelRows:
    """Collects single labels and whole tables of one model in order, and turns them into one batch."""

    def __init__(self, model_name: str, tally: Tally) -> None:
        self._model_name = model_name
        self._tally = tally
        self._ids: list[str] = []
        self._times: list[int] = []
        self._classes: list[Scalar | None] = []
        self._values: list[Scalar | None] = []
        self._parts: list[LabelBatch] = []

    def add(self, prediction_id: str, time_ns: int, label_class: Scalar | None, value: Scalar | None) -> None:
        """Add one label, which has a class or a value; drop it if it exceeds the limit."""
        if not self._tally.take_rows(1):
            return
        self._ids.append(prediction_id)
        self._times.append(time_ns)
        self._classes.append(label_class)
        self._values.append(value)

    def add_table(self, table: RowTable, time_ns: int) -> None:
        """Add the labels of one table; rows without an id or a label are counted as dropped."""
        if not self._tally.take_rows(table.rows) or not self._tally.take_cells(table.rows, 2):
            return
        self._flush()
        classes = table.column(semconv.LABEL_CLASS, "text", self._tally)
        values = table.column(semconv.LABEL_VALUE, "number", self._tally)
        ids, named = table.ids(None)
        labeled = np.zeros(table.rows, np.bool_)
        for column in (classes, values):
            if column is not None:
                labeled |= ~column.missing()
        self._tally.drop("label_without_id", int((~named).sum()))
        self._tally.drop("label_without_value", int((named & ~labeled).sum()))
        keep = np.flatnonzero(named & labeled)
        self._parts.append(
            LabelBatch(
                self._model_name,
                _times_ns(table, time_ns, self._tally)[keep],
                ids[keep],
                None if classes is None else classes.take(keep),
                None if values is None or values.numbers is None else values.numbers[keep],
            )
        )

    def add_batch(self, batch: LabelBatch) -> None:
        """Add labels that came as columns, each with its id; drop them if they exceed the limit."""
        if self._tally.take_rows(len(batch)) and self._tally.take_cells(len(batch), 2):
            self._flush()
            self._parts.append(batch)

    def finish(self) -> list[LabelBatch]:
        """Return everything that was added as one batch; no batch without rows."""
        self._flush()
        parts = [part for part in self._parts if len(part)]
        return [concatenate(parts)] if parts else []

    def _flush(self) -> None:
        """Turn the collected single labels into a batch."""
        if not self._ids:
            return
        values = column_of(self._values, "number", self._tally)
        self._parts.append(
            LabelBatch(
                self._model_name,
                np.array(self._times, np.int64),
                hash_ids(self._ids),
                column_of(self._classes, "text", self._tally),
                None if values is None else values.numbers,
            )
        )
        self._ids, self._times, self._classes, self._values = [], [], [], []


def _times_ns(table: RowTable, time_ns: int, tally: Tally) -> I64:
    """Return when the truth of each row was known; that of the span or record where no possible time is given."""
    times = np.full(table.rows, time_ns, np.int64)
    known = table.column(semconv.LABEL_TIME, "number", tally) if semconv.LABEL_TIME in table.arrays else None
    if known is not None and known.numbers is not None:
        possible = (known.numbers >= 1) & (known.numbers < _TOO_LATE)
        times[possible] = known.numbers[possible].astype(np.int64)
    return times
