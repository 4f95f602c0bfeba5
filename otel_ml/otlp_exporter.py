"""Exports spans in requests of limited size: batches of predictions are larger than ordinary spans.

The SDK's batch processor puts up to 512 spans into one request. With spans of 1 MiB that is far more than the 4 MiB
that a gRPC receiver accepts by default, and the receiver refuses the whole request.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue

DEFAULT_MAX_REQUEST_BYTES: Final = 3_500_000
"""Below gRPC's 4 MiB, with room for the framing that the estimate leaves out."""
_SPAN_BYTES: Final = 160
"""Ids, times, status, flags and framing of a span."""
_ENTRY_BYTES: Final = 16
"""Framing of an attribute, an array element or a map entry, and a number."""
_PROTOCOLS: Final = ("grpc", "http/protobuf")


class SizeLimitedSpanExporter(SpanExporter):
    """Splits spans into requests of at most about ``max_request_bytes``, and passes them to ``exporter``.

    Sizes are estimated from names and attributes, slightly too large. A span that exceeds the limit is sent alone. The
    result is a failure if any request failed; the others are still sent.

    >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    >>> SizeLimitedSpanExporter(InMemorySpanExporter()).export([])
    <SpanExportResult.SUCCESS: 0>
    """

    def __init__(self, exporter: SpanExporter, max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES) -> None:
        if max_request_bytes < 1:
            raise ValueError(f"max_request_bytes is {max_request_bytes}, it must be at least 1")
        self._exporter = exporter
        self._max_request_bytes = max_request_bytes

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans in as many requests as their size needs, in order."""
        result = SpanExportResult.SUCCESS
        for request in split(spans, self._max_request_bytes):
            if self._exporter.export(request) is not SpanExportResult.SUCCESS:
                result = SpanExportResult.FAILURE
        return result

    def shutdown(self) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)


class OtlpSpanExporter(SizeLimitedSpanExporter):
    """The OTLP exporter that the standard variables configure, with requests below the gRPC limit.

    Registered as ``otel_ml_otlp``: ``OTEL_TRACES_EXPORTER=otel_ml_otlp``. The protocol comes from
    ``OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`` or ``OTEL_EXPORTER_OTLP_PROTOCOL``: ``grpc`` (default) or ``http/protobuf``.
    """

    def __init__(self) -> None:
        super().__init__(_otlp(protocol(os.environ)))


def protocol(environ: Mapping[str, str]) -> str:
    """Return the OTLP protocol for traces that the environment names.

    >>> protocol({}), protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    ('grpc', 'http/protobuf')
    """
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        value = environ.get(name, "").strip()
        if value and value not in _PROTOCOLS:
            raise ValueError(f"{name}: {value!r} is unknown; allowed: {', '.join(_PROTOCOLS)}")
        if value:
            return value
    return _PROTOCOLS[0]


def _otlp(name: str) -> SpanExporter:
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()


def split(spans: Sequence[ReadableSpan], max_bytes: int) -> Iterator[Sequence[ReadableSpan]]:
    """Yield runs of spans whose total estimated size stays within ``max_bytes``."""
    start, used = 0, 0
    for position, span in enumerate(spans):
        size = span_bytes(span)
        if position > start and used + size > max_bytes:
            yield spans[start:position]
            start, used = position, 0
        used += size
    if spans:
        yield spans[start:]


def span_bytes(span: ReadableSpan) -> int:
    """Return about how many bytes a span takes in a request, rather too many than too few."""
    size = _SPAN_BYTES + _text_bytes(span.name) + _map_bytes(span.attributes)
    size += sum(_SPAN_BYTES + _text_bytes(event.name) + _map_bytes(event.attributes) for event in span.events)
    size += sum(_SPAN_BYTES + _map_bytes(link.attributes) for link in span.links)
    return size + _text_bytes(span.status.description or "")


def _map_bytes(attributes: Mapping[str, AnyValue] | None) -> int:
    return sum(_text_bytes(key) + _value_bytes(value) for key, value in (attributes or {}).items())


def _value_bytes(value: AnyValue) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    if isinstance(value, bytes):
        return _ENTRY_BYTES + len(value)
    if isinstance(value, Mapping):
        return _ENTRY_BYTES + _map_bytes(value)
    if isinstance(value, Sequence):
        return _ENTRY_BYTES + sum(map(_value_bytes, value))
    return _ENTRY_BYTES


def _text_bytes(text: str) -> int:
    return _ENTRY_BYTES + (len(text) if text.isascii() else 4 * len(text))
