"""Reads predictions and labels back from finished spans, without pyarrow: for tests of applications and for people."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from otel_ml.encode.stream_reader import columns
from otel_ml.semconv import (
    ATTRIBUTION,
    BATCH,
    ERROR_TYPE,
    FEATURE,
    FEATURES,
    LABEL_CLASS,
    LABEL_TIME,
    LABEL_VALUE,
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTION_CLASS,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_TIME,
    PREDICTION_VALUE,
    SEGMENT,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

Cell = bool | int | float | str
Row = dict[str, Any]


@dataclass(frozen=True)
class CapturedPrediction:
    """One row of a prediction, read from whatever form it travels in; missing features are absent."""

    model: str
    id: str
    version: str = ""
    features: Mapping[str, Cell] = field(default_factory=dict[str, Cell])
    class_: str | None = None
    score: float | None = None
    value: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    segments: Mapping[str, str] = field(default_factory=dict[str, str])
    attributions: Mapping[str, float] = field(default_factory=dict[str, float])
    error_type: str | None = None
    time_ns: int = 0


@dataclass(frozen=True)
class CapturedLabel:
    """One label, read from whatever form it travels in."""

    model: str
    id: str
    class_: str | None = None
    value: float | None = None
    time_ns: int = 0


def read_predictions(span: ReadableSpan, most: int = sys.maxsize) -> Iterator[CapturedPrediction]:
    """Yield the first ``most`` rows of one prediction span, whatever its form."""
    attributes = dict(span.attributes or {})
    context = span.get_span_context()
    default = "" if context is None else f"{context.trace_id:032x}:{context.span_id:016x}"
    single = PREDICTION_ROWS not in attributes
    for position, row in enumerate(_rows(attributes, most)):
        own = default if single else f"{default}:{position}"
        yield CapturedPrediction(
            model=str(attributes[MODEL_NAME]),
            id=row.get(PREDICTION_ID) or own,
            version=str(attributes.get(MODEL_VERSION, "")),
            features=_under(FEATURE, row),
            class_=row.get(PREDICTION_CLASS),
            score=row.get(PREDICTION_SCORE),
            value=row.get(PREDICTION_VALUE),
            scores=_present(row.get(PREDICTION_SCORES) or {}),
            segments=_under(SEGMENT, row),
            attributions=_under(ATTRIBUTION, row),
            error_type=cast("str | None", row.get(ERROR_TYPE) or attributes.get(ERROR_TYPE)),
            time_ns=row.get(PREDICTION_TIME) or span.start_time or 0,
        )


def read_labels(span: ReadableSpan) -> Iterator[CapturedLabel]:
    """Yield the labels of one label span."""
    attributes = dict(span.attributes or {})
    for row in _rows(attributes, sys.maxsize):
        yield CapturedLabel(
            model=str(attributes[MODEL_NAME]),
            id=str(row.get(PREDICTION_ID, "")),
            class_=row.get(LABEL_CLASS),
            value=row.get(LABEL_VALUE),
            time_ns=int(row.get(LABEL_TIME) or span.start_time or 0),
        )


def _rows(attributes: Mapping[str, Any], most: int) -> list[Row]:
    """Return attributes row by row, without missing cells, and with the ``ml.features`` map flattened."""
    if BATCH in attributes:
        return _table_rows(columns(attributes[BATCH]), min(attributes[PREDICTION_ROWS], most))
    flat = {name: value for name, value in attributes.items() if name not in (FEATURES, PREDICTION_SCORES)}
    flat.update({FEATURE + key: value for key, value in (attributes.get(FEATURES) or {}).items()})
    scores: Mapping[str, Any] = attributes.get(PREDICTION_SCORES) or {}
    rows = attributes.get(PREDICTION_ROWS)
    if rows is None:
        return [_present({**flat, PREDICTION_SCORES: dict(scores)})]
    return [
        _present(
            {
                **{name: cells[row] for name, cells in flat.items() if isinstance(cells, tuple)},
                PREDICTION_SCORES: {name: cells[row] for name, cells in scores.items()},
            }
        )
        for row in range(min(rows, most))
    ]


def _table_rows(table: list[tuple[str, list[Any]]], count: int) -> list[Row]:
    rows: list[Row] = [{} for _ in range(count)]
    prefix = f"{PREDICTION_SCORES}."
    for name, cells in table:
        for row, cell in zip(rows, cells, strict=False):
            if cell is None or _is_nan(cell):  # a name may come twice: its numbers and its texts
                continue
            if name.startswith(prefix):
                row.setdefault(PREDICTION_SCORES, {})[name[len(prefix) :]] = cell
            else:
                row[name] = cell
    return rows


def _present(row: Mapping[str, Any]) -> Row:
    return {name: cell for name, cell in row.items() if cell is not None and not _is_nan(cell)}


def _is_nan(cell: object) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _under(prefix: str, row: Row) -> Row:
    return {name[len(prefix) :]: cell for name, cell in row.items() if name.startswith(prefix)}
