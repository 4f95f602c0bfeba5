"""Emits labels as spans: what turned out to be true, for one prediction or for many."""

from __future__ import annotations

import re
from time import time_ns

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, set_span_in_context

from otel_ml.delivery.backlog import backlog, size_of
from otel_ml.emit.arguments import event_time
from otel_ml.emit.emitter import Emitter
from otel_ml.encode import source
from otel_ml.encode.batch import Batch, BatchColumn, ColumnKind
from otel_ml.encode.payloads import payloads
from otel_ml.encode.row import Attributes, number_of, text_of
from otel_ml.encode.rows import flatten, is_column, length
from otel_ml.encode.scalar import identifier
from otel_ml.problems import report
from otel_ml.semconv import LABEL_CLASS, LABEL_TIME, LABEL_VALUE, MODEL_NAME, PREDICTION_ID

_OWN_ID = re.compile(r"([0-9a-f]{32}):([0-9a-f]{16})(?::[0-9]+)?")


def emit_label(emitter: Emitter, prediction_id: object, class_: object, value: object, at_ns: int | None) -> None:
    """Emit one label as a span of zero length; see :meth:`Model.label <otel_ml.Model.label>`."""
    if not emitter.settings.enabled or not is_instrumentation_enabled():
        return
    try:
        _emit_one(emitter, prediction_id, class_, value, _time(at_ns))
    except Exception as error:  # noqa: BLE001 - a label that cannot be sent must not break the application
        report("label", "model %r: a label is not sent", emitter.name, error=error)


def _emit_one(emitter: Emitter, prediction_id: object, class_: object, value: object, at_ns: int) -> None:
    identity = identifier(prediction_id)
    attributes: Attributes = {}
    text = text_of(class_, emitter.settings.max_string_chars, LABEL_CLASS)
    number = number_of(value, LABEL_VALUE)
    if text is not None:
        attributes[LABEL_CLASS] = text
    if number is not None:
        attributes[LABEL_VALUE] = number
    if not identity or not attributes:
        report("empty label", "model %r: a label needs a prediction id and class_ or value; dropped", emitter.name)
        return
    attributes[PREDICTION_ID] = identity
    attributes[MODEL_NAME] = emitter.name
    # A child of the prediction's span shares its sampling decision: a ratio sampler keeps both or neither.
    span = emitter.tracer.start_span(
        emitter.label_span,
        attributes={**emitter.model_attributes, **attributes},
        context=_beside(identity),
        start_time=at_ns,
    )
    span.end(at_ns)


def emit_labels(emitter: Emitter, ids: object, classes: object, values: object, at_ns: object) -> None:
    """Emit many labels in as few spans as their size allows; see :meth:`Model.labels <otel_ml.Model.labels>`."""
    if not emitter.settings.enabled or not is_instrumentation_enabled():
        return
    try:
        _emit_many(emitter, ids, classes, values, flatten(at_ns))
    except Exception as error:  # noqa: BLE001 - nor may many labels
        report("labels", "model %r: labels are not sent", emitter.name, error=error)


def _emit_many(emitter: Emitter, ids: object, classes: object, values: object, when: object) -> None:
    timed = is_column(when)
    at_ns = _time(None if timed else when)
    candidates: list[tuple[str, object, ColumnKind]] = [
        (PREDICTION_ID, flatten(ids), "id"),
        (LABEL_CLASS, flatten(classes), "text"),
        (LABEL_VALUE, flatten(values), "number"),
        (LABEL_TIME, [_known(cell) for cell in source.cells(when)] if timed else None, "feature"),
    ]
    columns = [BatchColumn(attribute, cells, kind) for attribute, cells, kind in candidates if is_column(cells)]
    lengths = {length(column.cells) for column in columns}
    if len(columns) < 2 + timed or columns[0].attribute != PREDICTION_ID or len(lengths) != 1:
        report(
            "uneven labels",
            "model %r: labels need ids and classes or values of the same length, not %s; dropped",
            emitter.name,
            {column.attribute: length(column.cells) for column in columns},
        )
        return
    if lengths == {0}:
        return
    first = _start(emitter, at_ns)
    if not first.is_recording():
        return
    for position, part in enumerate(payloads(Batch(lengths.pop(), columns), emitter.limits)):
        span = _start(emitter, at_ns) if position else first
        part[MODEL_NAME] = emitter.name
        backlog.add(size_of(part))
        span.set_attributes(part)
        span.end(at_ns)


def _time(at_ns: object) -> int:
    return (None if at_ns is None else event_time(at_ns)) or time_ns()


def _known(at_ns: object) -> int | None:
    return None if at_ns is None else event_time(at_ns)


def _start(emitter: Emitter, at_ns: int) -> Span:
    return emitter.tracer.start_span(emitter.label_span, attributes=emitter.model_attributes, start_time=at_ns)


def _beside(prediction_id: str) -> Context | None:
    """Return the context of the prediction's span if the id names it; else None, the current one."""
    match = _OWN_ID.fullmatch(prediction_id)
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(context))
