"""Calls of one row that were gathered become columns, in as few spans as their size allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context

from otel_ml.delivery.backlog import backlog, size_of
from otel_ml.emit.emitter import Emitter
from otel_ml.encode.batch import Batch, BatchColumn, ColumnKind
from otel_ml.encode.payloads import payloads
from otel_ml.encode.row import Attributes
from otel_ml.encode.rules import apply
from otel_ml.encode.shape import Features
from otel_ml.semconv import (
    ERROR_TYPE,
    FEATURE,
    FEATURES_WITHHELD,
    MODEL_NAME,
    PREDICTION_CLASS,
    PREDICTION_DURATION,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_TIME,
    PREDICTION_VALUE,
    SEGMENT,
    SPAN_ID,
    TRACE_ID,
    TRACE_SAMPLED,
)

_FREE_CELLS: Final = 65_536
_CELLS_PER_VALUE: Final = 4
"""Rows and columns of one span are at most this many times the values in it: rows may have different features."""
_LAST: Final = (PREDICTION_CLASS, PREDICTION_SCORE, PREDICTION_VALUE)


class GatheredRow(NamedTuple):
    """One call: its features as they were given, and everything else, or all of it, as attributes."""

    features: Mapping[Any, object]
    attributes: Attributes
    time_ns: int
    duration_s: float
    failed: str | None
    trace: tuple[int, int, bool] | None
    """Trace and span of the caller, and whether the trace is sampled."""
    context: Context | None
    """The caller's context if its trace is sampled, so that exemplars lead there."""
    whole: bool
    """Whether the features are among the attributes; they were counted when they became these."""


def send(emitter: Emitter, rows: Sequence[GatheredRow]) -> None:
    """Record the metrics of each call, and send all calls in order."""
    _measure(emitter, rows)
    for group in _groups(rows, emitter.settings.max_features) if emitter.tracer.exports else ():
        _send(emitter, group)


def _measure(emitter: Emitter, rows: Sequence[GatheredRow]) -> None:
    measures, redaction = emitter.measures, emitter.redaction
    for row in rows if redaction.unmatched else ():
        for key in row.features:
            _ = redaction.features[key]
        redaction.check_patterns(emitter.name)
    if not measures.active():
        return
    for row in rows:
        measures.row(row.duration_s, row.failed, row.attributes, row.context)
        if emitter.observations is not None:
            if not row.whole:
                emitter.count_features(Features(1, row.features), True)
            emitter.count_row(row.attributes, True, row.failed)


def _groups(rows: Sequence[GatheredRow], most: int) -> Iterator[Sequence[GatheredRow]]:
    """Cut rows into runs whose columns are few and full enough."""
    begin, names, values = 0, set[object](), 0
    for position, row in enumerate(rows):
        wider = names.union(row.features, row.attributes)
        held = values + len(row.features) + len(row.attributes)
        size = position - begin + 1
        if size > 1 and (len(wider) > most or size * len(wider) > _CELLS_PER_VALUE * held + _FREE_CELLS):
            yield rows[begin:position]
            begin, wider, held = position, {*row.features, *row.attributes}, len(row.features) + len(row.attributes)
        names, values = wider, held
    yield rows[begin:]


def _send(emitter: Emitter, rows: Sequence[GatheredRow]) -> None:
    batch, at = _batch(emitter, rows), 0
    for part in payloads(batch, emitter.limits):
        start_ns = rows[at].time_ns
        # The span only carries calls: without a parent, and of zero length, so that no latency is read from it.
        span = emitter.tracer.start_span(
            emitter.predict_span, context=Context(), attributes=emitter.identity, start_time=start_ns
        )
        if not span.is_recording():
            return
        backlog.add(size_of(part))
        if emitter.redaction.withheld:
            part[FEATURES_WITHHELD] = emitter.redaction.withheld
        part[MODEL_NAME] = emitter.name
        count = part[PREDICTION_ROWS]
        span.set_attributes(part)
        span.end(start_ns)
        at += count if isinstance(count, int) else 0


def _batch(emitter: Emitter, rows: Sequence[GatheredRow]) -> Batch:
    names = dict.fromkeys(name for row in rows for name in row.attributes if name != PREDICTION_SCORES)
    columns = [BatchColumn(PREDICTION_ID, [row.attributes[PREDICTION_ID] for row in rows], "id")]
    known = {PREDICTION_ID, *_LAST}
    for column in _feature_columns(emitter, rows):
        known.add(column.attribute)
        columns.append(column)
    columns += (_column(rows, name) for name in names if name not in known)
    columns += _call_columns(rows)
    columns += (_column(rows, name) for name in _LAST if name in names)
    return Batch(len(rows), columns, _scores(rows), own_ids=False)


def _column(rows: Sequence[GatheredRow], name: str) -> BatchColumn:
    return BatchColumn(name, [row.attributes.get(name) for row in rows], _kind(name))


def _kind(name: str) -> ColumnKind:
    if name.startswith(FEATURE):
        return "feature"
    return "text" if name.startswith(SEGMENT) or name == PREDICTION_CLASS else "number"


def _feature_columns(emitter: Emitter, rows: Sequence[GatheredRow]) -> Iterator[BatchColumn]:
    """Yield the features that are still as they were given; redacted ones are redacted in the column."""
    routes = emitter.redaction.features
    keys = dict.fromkeys(key for row in rows for key in row.features)
    mixed = any(row.whole for row in rows)
    for key in keys:
        route = routes[key]
        if route is None:
            continue
        attribute, rule = route
        cells: list[Any] = [row.features.get(key) for row in rows]
        if mixed:  # in some rows it has been redacted and is an attribute
            if rule is not None:
                cells = [None if cell is None else apply(rule, cell, attribute) for cell in cells]
                rule = None
            cells = [
                row.attributes.get(attribute) if cell is None else cell for row, cell in zip(rows, cells, strict=True)
            ]
        yield BatchColumn(attribute, cells, "feature", rule)


def _call_columns(rows: Sequence[GatheredRow]) -> Iterator[BatchColumn]:
    traces = [row.trace for row in rows]
    if any(traces):
        yield BatchColumn(TRACE_ID, [None if trace is None else f"{trace[0]:032x}" for trace in traces], "id")
        yield BatchColumn(SPAN_ID, [None if trace is None else f"{trace[1]:016x}" for trace in traces], "id")
        yield BatchColumn(TRACE_SAMPLED, [None if trace is None else trace[2] for trace in traces])
    # As much as a span holds of it: whole nanoseconds.
    yield BatchColumn(PREDICTION_DURATION, [int(row.duration_s * 1e9) / 1e9 for row in rows], "number")
    yield BatchColumn(PREDICTION_TIME, [row.time_ns for row in rows])
    if any(row.failed for row in rows):
        yield BatchColumn(ERROR_TYPE, [row.failed for row in rows], "text")


def _scores(rows: Sequence[GatheredRow]) -> dict[str, object]:
    maps = [row.attributes.get(PREDICTION_SCORES) for row in rows]
    given: list[Mapping[str, Any]] = [scores if isinstance(scores, Mapping) else {} for scores in maps]
    return {name: [scores.get(name) for scores in given] for name in dict.fromkeys(n for s in given for n in s)}
