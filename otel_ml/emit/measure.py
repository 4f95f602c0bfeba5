"""Records the metrics of each call while its span is current, so that exemplars lead to the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context

from otel_ml.emit.instruments import Meters
from otel_ml.encode.row import Attributes
from otel_ml.encode.rows import flatten, is_column, items, length
from otel_ml.encode.scalar import UnsupportedValueError, number, text
from otel_ml.semconv import ERROR_TYPE, PREDICTION_CLASS, PREDICTION_SCORE

BATCH_SCORES: Final = 64
"""Scores of a batch that reach the histogram, evenly spaced: each costs some microseconds."""


class Measures:
    """The histograms of one model; ``active`` checks whether measurements go anywhere."""

    __slots__ = ("_attributes", "_dropped", "_duration", "_rows", "_score", "_unexplained", "active")

    def __init__(self, meters: Meters, model_attributes: Mapping[str, str]) -> None:
        self._duration = meters.duration
        self._rows = meters.rows
        self._score = meters.score
        self._unexplained = meters.unexplained
        self._dropped = meters.dropped
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
        self._dropped.add(rows, self._attributes)

    def row(self, outputs: Attributes, context: Context | None = None) -> None:
        """Record the score of a call of one row, made in ``context`` if not in the current one."""
        score = outputs.get(PREDICTION_SCORE)
        if isinstance(score, float):
            class_ = outputs.get(PREDICTION_CLASS)
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
