"""OTLP requests of labels: one span for each model, with all its labels as an Arrow stream."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.label_files.cells import Labels
from otel_ml.config import DEFAULT_MAX_SPAN_BYTES, DEFAULT_MAX_STRING_CHARS
from otel_ml.encode.batch import Batch, BatchColumn, PayloadLimits
from otel_ml.encode.payloads import payloads
from otel_ml.semconv import (
    INSTRUMENTATION_SCOPE,
    LABEL_CLASS,
    LABEL_TIME,
    LABEL_VALUE,
    MODEL_NAME,
    PREDICTION_ID,
    PREDICTION_ROWS,
    SCHEMA_URL,
    SPAN_LABEL,
)

_LIMITS: Final = PayloadLimits(DEFAULT_MAX_SPAN_BYTES, DEFAULT_MAX_STRING_CHARS)
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class LabelSpan:
    """One span of labels, and how many it has."""

    span: Span
    labels: int


def spans(model: str, labels: Labels) -> Iterator[LabelSpan]:
    """Yield the spans of one model's labels, each of at most about a megabyte."""
    columns = [BatchColumn(PREDICTION_ID, labels.ids, "id")]
    if any(label is not None for label in labels.classes):
        columns.append(BatchColumn(LABEL_CLASS, labels.classes, "text"))
    if any(value is not None for value in labels.values):
        columns.append(BatchColumn(LABEL_VALUE, labels.values, "number"))
    if any(time_ns is not None for time_ns in labels.times):
        columns.append(BatchColumn(LABEL_TIME, labels.times))
    now_ns = time.time_ns()
    for payload in payloads(Batch(len(labels.ids), columns), _LIMITS):
        rows = int(str(payload[PREDICTION_ROWS]))
        yield LabelSpan(
            Span(
                trace_id=os.urandom(16),
                span_id=os.urandom(8),
                flags=_SAMPLED,
                name=f"{SPAN_LABEL} {model}",
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=now_ns,
                end_time_unix_nano=now_ns,
                attributes=_attributes({MODEL_NAME: model, **payload}),
            ),
            rows,
        )


def request(parts: list[LabelSpan]) -> bytes:
    """Return the request of some spans."""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=_RESOURCE,
                scope_spans=[ScopeSpans(scope=_SCOPE, spans=[part.span for part in parts], schema_url=SCHEMA_URL)],
            )
        ]
    ).SerializeToString()


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))


_RESOURCE: Final = Resource(
    attributes=_attributes({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "otel-ml-label"})
)
_SCOPE: Final = InstrumentationScope(name=INSTRUMENTATION_SCOPE, version=version("otel-ml"))
