"""Sets up the OpenTelemetry SDK in notebooks and scripts, where no ``opentelemetry-instrument`` does."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

from otel_ml.delivery.start import start

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

_logger = logging.getLogger("otel_ml")
PROTOCOLS: Final = ("grpc", "http/protobuf")
_HTTP_PORT: Final = 4318
_PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_INSTALL: Final = (
    "otel_ml.setup() needs the OpenTelemetry SDK and its OTLP exporter: pip install opentelemetry-sdk"
    " opentelemetry-exporter-otlp"
)
_lock = threading.Lock()


def setup(
    endpoint: str | None = None,
    *,
    service_name: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send predictions, labels and metrics to ``endpoint``, such as ``http://localhost:4317``.

    For notebooks and scripts; programs under ``opentelemetry-instrument`` do not need it. Calling it again changes
    nothing, and neither does calling it in a program that has set up the SDK itself.

    - ``endpoint``: of the service or of a Collector; by default that of the standard variables
      (``OTEL_EXPORTER_OTLP_ENDPOINT``), else this machine.
    - ``service_name``: by default ``OTEL_SERVICE_NAME``.
    - ``protocol``: ``grpc`` or ``http/protobuf``; by default that of ``OTEL_EXPORTER_OTLP_PROTOCOL`` if no endpoint is
      given, else HTTP for port 4318 and gRPC for others.
    - ``headers``: sent with each request, such as a token.

    >>> setup("localhost:4317", protocol="json")
    Traceback (most recent call last):
    ...
    ValueError: protocol 'json' is unknown; allowed: grpc, http/protobuf
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is unknown; allowed: {', '.join(PROTOCOLS)}")
    address = None if endpoint is None else address_of(endpoint)
    with _lock:
        if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            _logger.info("the OpenTelemetry SDK is set up already; otel_ml.setup() changes nothing")
            return
        try:
            _set_up(address, service_name, protocol, dict(headers) if headers else None)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_INSTALL) from error
    start()


def address_of(endpoint: str) -> str:
    """Return an endpoint with its scheme.

    >>> address_of("localhost:4317"), address_of("https://collector.example:4318/")
    ('http://localhost:4317', 'https://collector.example:4318')
    """
    address = endpoint.strip() if "://" in endpoint else f"http://{endpoint.strip()}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"endpoint {endpoint!r} is not an address such as http://localhost:4317")
    return address.rstrip("/")


def _set_up(
    endpoint: str | None, service_name: str | None, protocol: str | None, headers: dict[str, str] | None
) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: service_name} if service_name else None)
    spans, measurements = _exporters(endpoint, protocol or protocol_of(endpoint), headers)
    tracer_provider = TracerProvider(resource=resource)
    tracer_provider.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracer_provider)
    if not hasattr(metrics.get_meter_provider(), "force_flush"):  # the application may have its own, without traces
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(measurements)], resource))


def protocol_of(endpoint: str | None) -> str:
    """Return the protocol for an endpoint; None is that of the standard variables."""
    if endpoint is None:
        from otel_ml.otlp_exporter import protocol

        if any(os.environ.get(name) for name in _PROTOCOL_VARIABLES):
            return protocol(os.environ)
        endpoint = next((address for name in ENDPOINT_VARIABLES if (address := os.environ.get(name))), "")
        if not endpoint:
            return protocol(os.environ)
        endpoint = address_of(endpoint)
    return PROTOCOLS[urlsplit(endpoint).port == _HTTP_PORT]


def _exporters(
    endpoint: str | None, protocol: str, headers: dict[str, str] | None
) -> tuple[SpanExporter, MetricExporter]:
    options: dict[str, Any] = {"headers": headers}
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        return GrpcSpans(endpoint, **options), GrpcMetrics(endpoint, **options)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

    if endpoint is None:
        return HttpSpans(**options), HttpMetrics(**options)
    return HttpSpans(f"{endpoint}/v1/traces", **options), HttpMetrics(f"{endpoint}/v1/metrics", **options)
