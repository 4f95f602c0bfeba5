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
)
from collector_processor.reference.profile import Reference
from collector_processor.reference.scored_class import scored_class

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
            raise ValueError(f"rows and max_bytes must be at least 1, got rows={rows}, max_bytes={max_bytes}")
        self.wanted = rows
        self.max_bytes = max_bytes
        self.rows = 0
        self.nbytes = 0
        self.batches: list[PredictionBatch] = []
        self.scored_class = ""
        """The class that the scores of the rows are about, once they are finished; empty if they do not show it."""

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return self.rows >= self.wanted or self.nbytes >= self.max_bytes

    def add(self, batch: PredictionBatch) -> bool:
        """Keep a batch and return True; a learner that is already :attr:`ready` returns False instead."""
        if self.ready:
            return False
        self.batches.append(owned(batch))
        self.rows += len(batch)
        self.nbytes += bytes_of(batch)
        return True

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
        batch = concatenate(self.batches)
        rows = min(len(batch), self.wanted)
        self.scored_class = scored_class(batch.take(slice(0, rows)))
        return build_reference(
            model_name,
            batch.take(slice(0, rows)),
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
