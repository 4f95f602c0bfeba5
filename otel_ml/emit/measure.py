"""Records the metrics of each call with its span's context, so that exemplars lead to the trace.

The SDK takes ten microseconds for each measurement, and the three of one call more than all the rest of it. So those of
calls of one row wait in a buffer (:mod:`otel_ml.delivery.gather`). Another thread records them, and so does each
collection before it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from opentelemetry.context import Context, get_current

from otel_ml.emit.instruments import Meters
from otel_ml.encode.row import Attributes
from otel_ml.encode.rows import flatten, is_column, items, length
from otel_ml.encode.scalar import UnsupportedValueError, number, text
from otel_ml.semconv import ERROR_TYPE, PREDICTION_CLASS, PREDICTION_SCORE

BATCH_SCORES: Final = 64
"""Scores of a batch that reach the histogram, evenly spaced: each costs some microseconds."""
_MOST_WAITING: Final = 10_000
"""Calls whose measurements wait; a call beyond it records its own."""
_BYTES: Final = 400
"""What they take while they wait."""


class Measures:
    """The histograms of one model; ``active`` checks whether measurements go anywhere."""

    __slots__ = ("_attributes", "_duration", "_meters", "_rows", "_score", "_unexplained", "active")

    def __init__(self, meters: Meters, model_attributes: Mapping[str, str]) -> None:
        self._duration = meters.duration
        self._rows = meters.rows
        self._score = meters.score
        self._unexplained = meters.unexplained
        self._meters = meters
        self._attributes = model_attributes
        self.active = meters.active

    def call(self, duration_s: float, rows: int, error_type: str | None, context: Context | None = None) -> None:
        """Record a call's duration and rows, made in ``context`` if not in the current one."""
        attributes = self._attributes
        self._duration.record(duration_s, {**attributes, ERROR_TYPE: error_type} if error_type else attributes, context)
        self._rows.record(rows, attributes, context)

    def unexplained(self, rows: int, error_type: str) -> None:
        """Count predictions that were to be explained and are not."""
        self._unexplained.add(rows, {**self._attributes, ERROR_TYPE: error_type})

    def dropped(self, rows: int) -> None:
        """Count predictions that were gathered and are not sent."""
        self._meters.drop(self._attributes, rows)

    def soon(self, duration_s: float, error_type: str | None, outputs: Attributes) -> None:
        """Let a call of one row be recorded, before the next collection at the latest."""
        score, class_ = outputs.get(PREDICTION_SCORE), outputs.get(PREDICTION_CLASS)
        record = partial(self._row, duration_s, error_type, score, class_, get_current())
        waiting = self._meters.waiting
        if len(waiting) < _MOST_WAITING:
            waiting.add(record, _BYTES)
        else:
            record()

    def row(self, duration_s: float, error_type: str | None, outputs: Attributes, context: Context | None) -> None:
        """Record a call of one row that was made in ``context``, or in one that leads nowhere."""
        self._row(duration_s, error_type, outputs.get(PREDICTION_SCORE), outputs.get(PREDICTION_CLASS), context)

    def _row(
        self, duration_s: float, error_type: str | None, score: object, class_: object, context: Context | None
    ) -> None:
        self.call(duration_s, 1, error_type, context)
        if isinstance(score, float):
            self._record_score(score, class_ if isinstance(class_, str) else None, context)

    def batch(self, scores: object, classes: object, rows: int) -> None:
        """Record the scores of a call of many rows, an even sample of at most :data:`BATCH_SCORES`."""
        scores, classes = flatten(scores), flatten(classes)
        if not is_column(scores) or length(scores) != rows:
            return
        step = -(-rows // BATCH_SCORES)
        sample = _every(scores, step)
        aligned = is_column(classes) and length(classes) == rows
        sample_classes = _every(classes, step) if aligned else [None] * len(sample)
        for cell, class_ in zip(sample, sample_classes, strict=True):
            try:
                score = number(cell)
            except UnsupportedValueError:
                continue
            if score is not None:
                self._record_score(score, text(class_))

    def _record_score(self, score: float, class_: str | None, context: Context | None = None) -> None:
        if not 0 <= score < float("inf"):
            return  # a histogram refuses these, with a warning each
        attributes = self._attributes
        self._score.record(score, attributes if class_ is None else {**attributes, PREDICTION_CLASS: class_}, context)


def _every(column: Any, step: int) -> list[Any]:
    try:
        return items(column[::step])
    except (TypeError, ValueError, IndexError, NotImplementedError, KeyError):
        return items(column)[::step]
