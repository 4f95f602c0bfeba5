"""Learn a reference while serving: keep the first rows of a model, profile them, and return them to be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collector_processor.columns.batch import PredictionBatch
from collector_processor.columns.concatenate import concatenate, owned
from collector_processor.columns.parts import bytes_of
from collector_processor.reference.build import (
    MAX_CATEGORIES,
    MAX_CLASSES,
    MAX_FEATURES,
    MAX_SEGMENT_VALUES,
    build_reference,
    task_and_classes,
)
from collector_processor.reference.columns import Labels
from collector_processor.reference.profile import Reference
from collector_processor.reference.scored_class import scored_class, turned
from otel_ml.classes import canonical_class

DEFAULT_ROWS: Final = 5000
DEFAULT_BYTES: Final = 128 * 2**20
LEAST_ROWS: Final = 200
"""Rows that are enough after a time: with fewer, only very large changes differ from chance."""
_STEPS: Final = 10
"""One row moves the time of the rows by at most this part of what is wanted: a few clocks may be years behind."""


class Learner:
    """Buffers batches of one model until there are ``rows`` of them, or until they take ``max_bytes``.

    A model with little traffic does not wait for all of them: :data:`LEAST_ROWS` are enough once they cover
    ``span_ns`` by their own time.

    >>> learner = Learner(rows=100)
    >>> learner.ready, learner.rows
    (False, 0)
    """

    def __init__(self, rows: int = DEFAULT_ROWS, max_bytes: int = DEFAULT_BYTES, span_ns: int | None = None) -> None:
        if rows < 1 or max_bytes < 1:
            raise ValueError(f"rows and max_bytes must be at least 1, got rows={rows}, max_bytes={max_bytes}")
        self.wanted = rows
        self.least = min(LEAST_ROWS, rows)
        self.max_bytes = max_bytes
        self.span_wanted_ns = span_ns
        self.span_ns = 0
        self._newest_ns: int | None = None
        self.rows = 0
        self.nbytes = 0
        self.batches: list[PredictionBatch] = []
        self.scored_class = ""
        """The class that the scores of the rows are about, once they are finished; empty if they do not show it."""

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return self.rows >= self.wanted or self.nbytes >= self.max_bytes or self._long_enough

    @property
    def _long_enough(self) -> bool:
        wanted_ns = self.span_wanted_ns
        return wanted_ns is not None and self.rows >= self.least and self.span_ns >= wanted_ns

    @property
    def progress(self) -> float:
        """How far learning is, from 0 to 1: by rows, or by time and the least rows, whichever is further.

        >>> Learner(rows=100).progress
        0.0
        """
        by_rows = max(self.rows / self.wanted, self.nbytes / self.max_bytes)
        if self.span_wanted_ns is None:
            return min(by_rows, 1.0)
        by_time = min(self.rows / self.least, self.span_ns / max(self.span_wanted_ns, 1))
        return min(max(by_rows, by_time), 1.0)

    def add(self, batch: PredictionBatch, now_ns: int | None = None) -> bool:
        """Keep a batch and return True; a learner that is already :attr:`ready` returns False instead.

        Times of rows that are later than ``now_ns`` count as now.
        """
        if self.ready:
            return False
        self.batches.append(owned(batch))
        self.rows += len(batch)
        self.nbytes += bytes_of(batch)
        if len(batch):
            self._pass(batch, now_ns)
        return True

    def _pass(self, batch: PredictionBatch, now_ns: int | None) -> None:
        """Let the time of the rows pass; each row can move it by a part of what is wanted."""
        oldest, newest = int(batch.time_ns.min()), int(batch.time_ns.max())
        if now_ns is not None:
            oldest, newest = min(oldest, now_ns), min(newest, now_ns)
        before = oldest if self._newest_ns is None else self._newest_ns
        most = len(batch) * (self.span_wanted_ns or 0) // _STEPS
        self.span_ns += min(max(newest - before, 0), most)
        self._newest_ns = max(newest, before)

    def finish(
        self,
        model_name: str,
        *,
        task: str = "",
        positive_class: str = "",
        threshold: float | None = None,
        segments: Sequence[str] = (),
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        max_features: int = MAX_FEATURES,
        max_categories: int = MAX_CATEGORIES,
        max_classes: int = MAX_CLASSES,
        max_segment_values: int = MAX_SEGMENT_VALUES,
    ) -> Reference:
        """Build the reference from the first rows wanted; :attr:`batches` keeps all rows for the caller to count.

        If settings and rows contradict each other, the rows win: the service must continue. Raises ``ValueError``
        without rows.
        """
        rows = min(self.rows, self.wanted)
        batch = concatenate(self.batches).take(slice(0, rows))
        if any(each.positive_class for each in self.batches):
            given = canonical_class(positive_class)
            _, positive, classes = task_and_classes(
                model_name, batch, Labels(None, None), task, given, max_classes=max_classes, strict=False
            )
            about = [_about(positive, classes, each) for each in self.batches]
            batch = concatenate(about).take(slice(0, rows))
        self.scored_class = scored_class(batch)
        return build_reference(
            model_name,
            batch,
            task=task,
            positive_class=positive_class,
            threshold=threshold,
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


def _about(positive: str, classes: Sequence[str], batch: PredictionBatch) -> PredictionBatch:
    """Return a batch with scores about the positive class, as the service turns them when it counts the rows.

    A sender that names a class that the rows do not have is left alone.
    """
    other = positive and batch.positive_class in classes and batch.positive_class != positive
    return turned(batch) if other else batch
