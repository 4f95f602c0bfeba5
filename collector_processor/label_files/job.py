"""Sends the labels of a table, chunk by chunk, and notes after each how far the service has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from collector_processor.label_files.cells import Counts, LabelReader
from collector_processor.label_files.checkpoint import Checkpoint, Position
from collector_processor.label_files.columns import LabelColumns
from collector_processor.label_files.courier import Courier
from collector_processor.label_files.requests import LabelSpan, spans
from collector_processor.label_files.table import Table, UnreadableRowError

REQUEST_SPANS = 100
"""Most spans, and so models, of one request."""
_REQUEST_BYTES = 3 * 1024 * 1024
"""Below gRPC's 4 MiB."""


class LabelJob:
    """One run over a table; ``counts`` are those of everything acknowledged, by earlier runs too."""

    def __init__(
        self,
        table: Table,
        columns: LabelColumns,
        model: str,
        courier: Courier,
        checkpoint: Checkpoint | None,
        position: Position | None,
    ) -> None:
        self.counts = Counts() if position is None else position.counts
        self.kind = "" if position is None else position.kind
        self.example = ""
        self.resumable = checkpoint is not None
        self._table, self._columns, self._model = table, columns, model
        self._courier, self._checkpoint = courier, checkpoint

    def run(self, progress: Callable[[Counts], object]) -> None:
        """Send everything that is not acknowledged yet.

        Raises :class:`.UnreadableRowError` and :class:`.UndeliveredError`; what was acknowledged before is counted.
        """
        for chunk in self._table.chunks(self._columns.names, self.counts.rows):
            if self._checkpoint is not None and self._checkpoint.changed():
                raise UnreadableRowError(f"{self._table.where}: was changed while it was read; start again")
            reader = LabelReader(self._columns, self._model, replace(self.counts), self.kind)
            parts = [part for model, labels in reader.labels(chunk).items() for part in spans(model, labels)]
            for group in _groups(parts):
                refused = self._courier.deliver(group)
                reader.counts.refused += refused
                reader.counts.sent += sum(part.labels for part in group) - refused
            reader.counts.rows += len(chunk[0])
            self.counts, self.kind, self.example = reader.counts, reader.kind, self.example or reader.example
            self._note()
            progress(self.counts)
        if self._checkpoint is not None:
            self._checkpoint.remove()

    def _note(self) -> None:
        if self._checkpoint is not None and self.resumable:
            try:
                self._checkpoint.save(Position(self.counts, self.kind))
            except OSError:
                self.resumable = False


def _groups(parts: list[LabelSpan]) -> list[list[LabelSpan]]:
    """Return the spans of each request."""
    groups: list[list[LabelSpan]] = []
    used = 0
    for part in parts:
        size = part.span.ByteSize()
        if not groups or len(groups[-1]) == REQUEST_SPANS or used + size > _REQUEST_BYTES:
            groups.append([])
            used = 0
        groups[-1].append(part)
        used += size
    return groups
