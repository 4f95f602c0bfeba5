"""Rows of a call as the request that an instrumented application would have sent: the same attributes and columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector_processor.receivers.inference_logger.rows import Rows
from collector_processor.receivers.inference_logger.settings import LoggedModel
from otel_ml import semconv
from otel_ml.config import DEFAULT_MAX_SPAN_BYTES, DEFAULT_MAX_STRING_CHARS
from otel_ml.encode.batch import Batch, BatchColumn, PayloadLimits
from otel_ml.encode.payloads import payloads
from otel_ml.encode.row import converted, number_of, text_of
from otel_ml.encode.scalar import clean_key

SCOPE: Final = "otel_ml.inference_logger"
FAILED: Final = "inference_error"
"""``error.type`` of a call whose response is an error."""
_FLAT: Final = 64
"""Features of one row that leave as separate attributes, as many as the instrumentation's."""
_CLASSES: Final = 1000
_LIMITS: Final = PayloadLimits(DEFAULT_MAX_SPAN_BYTES, DEFAULT_MAX_STRING_CHARS)
_TRACE_FLAGS_KNOWN: Final = 0x100
"""Of a span's flags: whether the parent is remote is known."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a call belongs in a trace: ids of the trace and of the parent, and the flags of the sender."""

    trace_id: bytes
    parent_id: bytes
    flags: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model: its identity, its prediction id, and when it began and ended (0: not known)."""

    model: str
    version: str
    id: str
    start_ns: int
    end_ns: int
    service: str = ""
    namespace: str = ""
    trace: Trace | None = None


def request_of(calls: Sequence[tuple[Call, Rows, LoggedModel]]) -> bytes:
    """Return the ``ExportTraceServiceRequest`` of some calls, serialized; empty if there are none."""
    request = ExportTraceServiceRequest()
    for call, rows, settings in calls:
        if not rows.count:
            continue
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(
            _attributes({"service.name": call.service or None, "k8s.namespace.name": call.namespace or None})
        )
        scope = resource.scope_spans.add()
        scope.scope.name = SCOPE
        scope.spans.extend(_spans(call, rows, settings))
    return request.SerializeToString()


def _spans(call: Call, rows: Rows, settings: LoggedModel) -> Iterator[Span]:
    contents = (_row(rows),) if rows.count == 1 else payloads(_batch(call, rows), _LIMITS)
    for number, content in enumerate(contents):
        digest = hashlib.blake2b(
            f"{call.id}\0{call.model}\0{number}".encode("utf-8", "replace"), digest_size=24
        ).digest()
        attributes: dict[str, Any] = {
            semconv.MODEL_NAME: call.model,
            semconv.MODEL_VERSION: call.version or None,
            semconv.MODEL_TASK: settings.task,
            semconv.MODEL_ROLE: settings.role,
            semconv.MODEL_POSITIVE_CLASS: settings.positive_class or None,
            semconv.MODEL_THRESHOLD: settings.threshold,
            semconv.PREDICTION_ID: call.id,
            semconv.ERROR_TYPE: FAILED if rows.failed else None,
            **content,
        }
        yield Span(
            trace_id=digest[:16] if call.trace is None else call.trace.trace_id,
            span_id=digest[16:],
            parent_span_id=b"" if call.trace is None else call.trace.parent_id,
            flags=0 if call.trace is None else _TRACE_FLAGS_KNOWN | call.trace.flags,
            name=f"predict {call.model}".encode("utf-8", "replace").decode(),
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=call.start_ns,
            # Of the spans that a batch needs, the first has the duration of the call.
            end_time_unix_nano=max(call.start_ns, call.end_ns) if number == 0 else call.start_ns,
            attributes=_attributes(attributes),
            status=Status(code=Status.STATUS_CODE_ERROR if rows.failed else Status.STATUS_CODE_UNSET),
        )


def _row(rows: Rows) -> dict[str, Any]:
    """Return the attributes of a call of one row."""
    outputs = rows.outputs
    features = {
        key: converted(cells[0], DEFAULT_MAX_STRING_CHARS, key)
        for name, cells in rows.features.items()
        if (key := clean_key(name)) is not None
    }
    attributes: dict[str, Any] = (
        {semconv.FEATURES: features}
        if len(features) > _FLAT
        else {f"{semconv.FEATURE}{key}": cell for key, cell in features.items()}
    )
    if outputs.class_ is not None:
        attributes[semconv.PREDICTION_CLASS] = text_of(
            outputs.class_[0], DEFAULT_MAX_STRING_CHARS, semconv.PREDICTION_CLASS
        )
    for attribute, cells in ((semconv.PREDICTION_SCORE, outputs.score), (semconv.PREDICTION_VALUE, outputs.value)):
        if cells is not None:
            attributes[attribute] = number_of(cells[0], attribute)
    if outputs.scores:
        scores = islice(outputs.scores.items(), _CLASSES)
        attributes[semconv.PREDICTION_SCORES] = {
            key: float(column[0]) for name, column in scores if (key := clean_key(name)) is not None
        }
    return attributes


def _batch(call: Call, rows: Rows) -> Batch:
    """Return the columns of a call of many rows."""
    outputs = rows.outputs
    columns = [
        BatchColumn(f"{semconv.FEATURE}{key}", list(cells), "feature")
        for name, cells in rows.features.items()
        if (key := clean_key(name)) is not None
    ]
    if outputs.class_ is not None:
        columns.append(BatchColumn(semconv.PREDICTION_CLASS, list(outputs.class_), "text"))
    for attribute, cells in ((semconv.PREDICTION_SCORE, outputs.score), (semconv.PREDICTION_VALUE, outputs.value)):
        if cells is not None:
            columns.append(BatchColumn(attribute, cells if isinstance(cells, np.ndarray) else list(cells), "number"))
    named = ((clean_key(name), column) for name, column in islice(outputs.scores.items(), _CLASSES))
    scores: dict[str, object] = {key: column for key, column in named if key is not None}
    return Batch(rows.count, columns, scores, call.id, own_ids=True)


def _attributes(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Return the attributes that are there."""
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items() if value is not None]


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (bytes, memoryview, bytearray)):
        return AnyValue(bytes_value=bytes(value))
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=_attributes(cast("Mapping[str, Any]", value))))
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=map(_value, cast("Sequence[object]", value))))
    return AnyValue(string_value=str(value).encode("utf-8", "replace").decode())
