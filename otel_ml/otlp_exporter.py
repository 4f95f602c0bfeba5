"""Exporters that send requests of limited size.

The SDK's OTLP exporters do so by themselves where predictions are observed (:mod:`otel_ml.delivery.requests`). These
are for other exporters and other limits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_ml.delivery.requests import export_in_parts, receiver
from otel_ml.delivery.sizes import DEFAULT_MAX_REQUEST_BYTES

_PROTOCOLS: Final = ("grpc", "http/protobuf")


class SizeLimitedSpanExporter(SpanExporter):
    """Splits spans into requests of at most about ``max_request_bytes``, and passes them to ``exporter``.

    Sizes are estimated from names and attributes, slightly too large. A span that exceeds the limit is sent alone. The
    result is a failure if any request failed; the others are still sent, unless the receiver does not answer.

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
        receiver.exporters.add(self._exporter)
        return export_in_parts(self._exporter, self._exporter.export, spans, self._max_request_bytes)

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
