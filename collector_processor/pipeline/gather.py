"""Combine batches that wait at the same time: a pass over many rows costs hardly more than a pass over a few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from collector_processor.columns.batch import Decoded, LabelBatch, ModelKey, PredictionBatch, said_of_rows
from collector_processor.columns.parts import names_of, width_of

MAX_CELLS: Final = 2**20
"""Most rows times columns to combine: above it, the columns no longer fit the processor's cache; nothing is gained."""
ALONE_ROWS: Final = 16384
"""Rows that are worth their own pass: combining them with others would only copy them once more. Below, a pass costs
more by its steps than by its rows."""


@dataclass(slots=True)
class Run:
    """Consecutive batches of one model name: predictions of any of its versions first, then labels."""

    predictions: dict[ModelKey, list[PredictionBatch]] = field(default_factory=dict[ModelKey, list[PredictionBatch]])
    labels: list[LabelBatch] = field(default_factory=list[LabelBatch])


def gather(requests: Iterable[Decoded], max_span_ns: Callable[[str], int]) -> Iterator[Run]:
    """Yield the contents of requests, with consecutive batches of one model name combined.

    Within one model name, predictions never pass labels, labels never pass predictions, and rows of one version never
    pass each other: their order matters to the join and to windows of rows. Batches of different models may pass each
    other, which has no effect.

    ``max_span_ns`` returns, for a model name, how far apart event times in one batch may be, so that newer rows do not
    make the older rows before them late; −1 leaves its batches of predictions alone. A batch is not appended to one
    that lacks any of its columns: otherwise a sender that invents names would widen the rows of the others.

    >>> import numpy as np
    >>> def labels(value):
    ...     return LabelBatch("m", np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), values=np.array([value]))
    >>> [run] = gather([Decoded(labels=(labels(1.0),)), Decoded(labels=(labels(2.0),))], lambda name: 0)
    >>> [batch.values.tolist() for batch in run.labels]
    [[1.0], [2.0]]
    """
    runs: dict[str, _Open] = {}
    for decoded in requests:
        for batch in filter(len, decoded.predictions):
            name = batch.model.name
            if name in runs and not runs[name].takes(batch, max_span_ns(name)):
                yield runs.pop(name).run
            runs.setdefault(name, _Open()).add(batch)
        for labels in filter(len, decoded.labels):
            name = labels.model_name
            if name in runs and not runs[name].takes_labels(labels):
                yield runs.pop(name).run
            runs.setdefault(name, _Open()).add_labels(labels)
    for unfinished in runs.values():
        yield unfinished.run


@dataclass(slots=True)
class _Extent:
    """Columns of the first batch of one version, and the rows and event times of all its batches."""

    columns: int
    rows: int
    oldest_ns: int
    newest_ns: int


@dataclass(slots=True)
class _Open:
    """A run that may still grow."""

    run: Run = field(default_factory=Run)
    extents: dict[ModelKey, _Extent] = field(default_factory=dict[ModelKey, _Extent])
    labels: int = 0

    def takes(self, batch: PredictionBatch, max_span_ns: int) -> bool:
        """Return whether a batch of predictions may join those before it."""
        if self.run.labels:
            return False
        known = self.extents.get(batch.model)
        if known is None:
            return True
        first = self.run.predictions[batch.model][0]
        if max(len(first), len(batch)) >= ALONE_ROWS or (known.rows + len(batch)) * known.columns > MAX_CELLS:
            return False
        if not _fits(batch, first):
            return False
        oldest_ns, newest_ns = _span(known, batch)
        return newest_ns - oldest_ns <= max_span_ns

    def add(self, batch: PredictionBatch) -> None:
        """Add a batch of predictions."""
        self.run.predictions.setdefault(batch.model, []).append(batch)
        known = self.extents.get(batch.model)
        columns, rows = (width_of(batch), 0) if known is None else (known.columns, known.rows)
        self.extents[batch.model] = _Extent(columns, rows + len(batch), *_span(known, batch))

    def takes_labels(self, batch: LabelBatch) -> bool:
        """Return whether labels may join those before them."""
        return not self.labels or (self.labels + len(batch)) * width_of(batch) <= MAX_CELLS

    def add_labels(self, batch: LabelBatch) -> None:
        """Add labels."""
        self.run.labels.append(batch)
        self.labels += len(batch)


def _span(known: _Extent | None, batch: PredictionBatch) -> tuple[int, int]:
    """Return the oldest and the newest event time of a batch and of those before it."""
    oldest_ns, newest_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
    if known is None:
        return oldest_ns, newest_ns
    return min(known.oldest_ns, oldest_ns), max(known.newest_ns, newest_ns)


def _fits(batch: PredictionBatch, first: PredictionBatch) -> bool:
    """Return whether the first batch has every column that the sender named in this one, and the same kind of score."""
    if said_of_rows(batch) != said_of_rows(first):
        return False
    return all(names <= known for (_, names), (_, known) in zip(names_of(batch), names_of(first), strict=True))
