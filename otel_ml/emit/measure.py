"""The metrics of one call, recorded while its span is current so that exemplars lead to the trace."""

from __future__ import annotations

from typing import Any, Final

from otel_ml.emit.call import Call
from otel_ml.emit.emitter import Emitter
from otel_ml.encode.cells import text
from otel_ml.encode.row import Attributes
from otel_ml.encode.scalar import UnsupportedValueError, number
from otel_ml.encode.shape import Rows, flatten, is_column, items, length
from otel_ml.problems import report
from otel_ml.semconv import ERROR_TYPE, PREDICTION_CLASS, PREDICTION_SCORE

BATCH_SCORES: Final = 64
"""Scores of a batch that reach the histogram, evenly spaced: each costs some microseconds."""


def measure_call(emitter: Emitter, duration_s: float, rows: int, error_type: str | None) -> None:
    """Record a call's duration and rows."""
    known = emitter.model_attributes
    meters = emitter.meters
    meters.duration.record(duration_s, {**known, ERROR_TYPE: error_type} if error_type else known)
    meters.rows.record(rows, known)


def measure_row(emitter: Emitter, outputs: Attributes) -> None:
    """Record the score of a call of one row."""
    score = outputs.get(PREDICTION_SCORE)
    if isinstance(score, float):
        class_ = outputs.get(PREDICTION_CLASS)
        _record(emitter, score, class_ if isinstance(class_, str) else None)


def measure_table(emitter: Emitter, call: Call, rows: int) -> None:
    """Record the scores of a call of many rows, an even sample of at most :data:`BATCH_SCORES`."""
    scores, classes = flatten(call.score), flatten(call.class_)
    if not is_column(scores) or length(scores) != rows:
        return
    step = -(-rows // BATCH_SCORES)
    sample = _every(scores, step)
    aligned = is_column(classes) and length(classes) == rows
    named = _every(classes, step) if aligned else [None] * len(sample)
    for score, class_ in zip(sample, named, strict=True):
        try:
            found = number(score)
        except UnsupportedValueError:
            continue
        if found is not None:
            _record(emitter, found, text(class_))


def count_features(emitter: Emitter, rows: Rows) -> None:
    """Count the features against the reference profile, where there is one."""
    observations = emitter.observations
    if observations is None:
        return
    try:
        if rows.row is not None:
            observations.add_row(rows.row)
        elif rows.columns is not None:
            observations.add_columns(rows.columns, rows.number or 0)
    except Exception as error:  # noqa: BLE001 - counting must not cost the span its attributes
        report(f"observations {emitter.name}", "model %r: features are not counted", emitter.name, error=error)


def _record(emitter: Emitter, score: float, class_: str | None) -> None:
    if not 0 <= score < float("inf"):
        return  # a histogram refuses these, with a warning each
    known = emitter.model_attributes
    emitter.meters.score.record(score, {**known, PREDICTION_CLASS: class_} if class_ is not None else known)


def _every(column: Any, step: int) -> list[Any]:
    try:
        return items(column[::step])
    except (TypeError, ValueError, IndexError, NotImplementedError, KeyError):
        return items(column)[::step]
