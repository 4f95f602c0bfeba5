"""The exporters of the OpenTelemetry SDK against our receivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.journal.base import Signal
from collector_processor.receivers.admission import BusyError

GRPC_CODINGS = [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
HTTP_CODINGS = [Compression.NoCompression, Compression.Gzip, Compression.Deflate]


def spans(count: int = 3) -> Sequence[ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for i in range(count):
        with provider.get_tracer("test").start_as_current_span("predict") as span:
            span.set_attribute("text", f"größe 价格 🚀 {i}")
    return kept.get_finished_spans()


def spans_as_sent() -> tuple[Sequence[ReadableSpan], bytes]:
    given = spans()
    return given, encode_spans(given).SerializeToString()


@pytest.mark.parametrize("coding", GRPC_CODINGS)
def test_the_grpc_span_exporter_delivers_its_bytes(service: Any, coding: grpc.Compression) -> None:
    given, expected = spans_as_sent()
    exporter = GrpcSpanExporter(service.grpc_address, insecure=True, compression=coding)
    result = exporter.export(given)
    exporter.shutdown()

    assert result.name == "SUCCESS"
    assert service.bodies() == [expected]
    assert service.counted("accepted", "grpc") == 3


@pytest.mark.parametrize("coding", HTTP_CODINGS)
def test_the_http_span_exporter_delivers_its_bytes(service: Any, coding: Compression) -> None:
    given, expected = spans_as_sent()
    exporter = HttpSpanExporter(f"http://{service.http_address}/v1/traces", compression=coding)
    result = exporter.export(given)
    exporter.shutdown()

    assert result.name == "SUCCESS"
    assert service.bodies() == [expected]
    assert service.counted("accepted", "http") == 3


def test_the_log_exporters_deliver(service: Any) -> None:
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    provider.get_logger("test").emit(LogRecord(event_name="ml.label", body="späť"))
    for exporter in (
        GrpcLogExporter(service.grpc_address, insecure=True),
        HttpLogExporter(f"http://{service.http_address}/v1/logs"),
    ):
        assert exporter.export(kept.get_finished_logs()).name == "SUCCESS"
        exporter.shutdown()

    assert [(entry.request.signal, entry.request.items) for entry in service.received()] == [("logs", 1)] * 2


def test_the_metric_exporters_deliver(service: Any) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("rows").add(3)
    for exporter in (
        GrpcMetricExporter(service.grpc_address, insecure=True),
        HttpMetricExporter(f"http://{service.http_address}/v1/metrics"),
    ):
        metrics = reader.get_metrics_data()
        assert metrics is not None
        assert exporter.export(metrics).name == "SUCCESS"
        exporter.shutdown()
    provider.shutdown()

    assert [entry.request.signal for entry in service.received()] == ["metrics"] * 2


class BusyOnce:
    """A decoder's stand-in whose first request finds the journal full."""

    def __init__(self, journal_full: Exception) -> None:
        self.error: Exception | None = journal_full

    def __call__(self, signal: Signal, body: bytes, received_ns: int) -> Decoded:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return Decoded(items=3)


def busy_once(serve: Callable[..., Any]) -> Any:
    return serve(decode=BusyOnce(BusyError("full")), admission={"retry_after_s": 0.02})


def test_the_grpc_exporter_comes_back_when_we_say(serve: Callable[..., Any]) -> None:
    service = busy_once(serve)
    # Its own back-off is 0.8 s at least, which would be past its time-out: only our RetryInfo lets it succeed.
    exporter = GrpcSpanExporter(service.grpc_address, insecure=True, timeout=0.7)
    result = exporter.export(spans())
    exporter.shutdown()

    assert result.name == "SUCCESS"
    assert len(service.received()) == 1
    assert service.counted("refused", "grpc") == 1


def test_the_http_exporter_comes_back_when_we_say(serve: Callable[..., Any]) -> None:
    service = busy_once(serve)
    exporter = HttpSpanExporter(f"http://{service.http_address}/v1/traces", timeout=5)
    result = exporter.export(spans())
    exporter.shutdown()

    assert result.name == "SUCCESS"
    assert len(service.received()) == 1
    assert service.counted("refused", "http") == 1


def test_the_exporters_do_not_repeat_what_is_malformed(serve: Callable[..., Any]) -> None:
    seen: list[bytes] = []

    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        seen.append(body)
        raise MalformedRequestError("nothing is right")

    service = serve(decode=decode)
    for exporter in (
        GrpcSpanExporter(service.grpc_address, insecure=True),
        HttpSpanExporter(f"http://{service.http_address}/v1/traces"),
    ):
        assert exporter.export(spans()).name == "FAILURE"
        exporter.shutdown()

    assert len(seen) == 2
