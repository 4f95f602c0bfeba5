"""Requests stay below the limit of a gRPC receiver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link

from otel_ml import Config, Model
from otel_ml.delivery.sizes import span_bytes, split
from otel_ml.otlp_exporter import OtlpSpanExporter, SizeLimitedSpanExporter, protocol
from otel_ml.testing import capture


class Recording(SpanExporter):
    """Keeps each request's size as OTLP encodes it; fails where told."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.sizes: list[int] = []
        self.spans: list[ReadableSpan] = []
        self.closed = self.flushed = False
        self._fails = fails

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(encode_spans(spans).SerializeToString()))
        self.spans += spans
        failed = len(self.sizes) - 1 in self._fails
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.closed = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.flushed = True
        return True


@pytest.fixture(scope="module")
def spans() -> Sequence[ReadableSpan]:
    """Spans of every form and of all sizes."""
    with capture() as captured:
        model = Model("m", config=Config(max_span_bytes=20_000))
        with model.predict(np.ones((5000, 4))):
            pass
        for width in (3, 60, 500):
            with model.predict({f"feature {i}": "ü" * 20 if i % 2 else i for i in range(width)}) as prediction:
                prediction.record(class_="a", scores={"a": 0.5, "b": 0.5})
            model.label(prediction.id, class_="b")
        tracer = captured.tracer_provider.get_tracer("app")
        link = Link(captured.spans[0].get_span_context(), {"a": "x" * 500})
        with tracer.start_as_current_span("busy", links=[link] * 5, attributes={"list": [1.5] * 50}) as span:
            for _ in range(20):
                span.add_event("event", {"message": "y" * 100})
        return captured.spans


@pytest.mark.parametrize("limit", [25_000, 60_000, 3_500_000])
def test_every_request_stays_within_the_limit_and_every_span_is_sent_in_order(
    spans: Sequence[ReadableSpan], limit: int
) -> None:
    exporter = Recording()
    assert SizeLimitedSpanExporter(exporter, limit).export(spans) is SpanExportResult.SUCCESS
    assert max(exporter.sizes) <= limit
    assert exporter.spans == list(spans)
    assert len(exporter.sizes) <= 2 * (sum(exporter.sizes) // limit + 1)


def test_the_estimate_is_on_the_large_side_but_not_far(spans: Sequence[ReadableSpan]) -> None:
    for span in spans:
        real = len(encode_spans([span]).resource_spans[0].scope_spans[0].spans[0].SerializeToString())
        assert real <= span_bytes(span) <= 4 * real


def test_a_span_over_the_limit_goes_alone(spans: Sequence[ReadableSpan]) -> None:
    assert [len(request) for request in split(spans, 1)] == [1] * len(spans)


def test_one_failure_fails_the_whole_but_stops_nothing(spans: Sequence[ReadableSpan]) -> None:
    exporter = Recording(fails=[0])
    assert SizeLimitedSpanExporter(exporter, 25_000).export(spans) is SpanExportResult.FAILURE
    assert len(exporter.spans) == len(spans)


def test_the_wrapped_exporter_is_flushed_and_closed() -> None:
    exporter = Recording()
    sized = SizeLimitedSpanExporter(exporter)
    assert sized.force_flush(5)
    sized.shutdown()
    assert exporter.flushed
    assert exporter.closed


def test_a_limit_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_request_bytes is 0, it must be at least 1"):
        SizeLimitedSpanExporter(Recording(), 0)


def test_the_protocol_comes_from_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    assert protocol(environ) == "http/protobuf"
    with pytest.raises(ValueError, match="'http/json' is unknown; allowed: grpc, http/protobuf"):
        protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})


@pytest.mark.parametrize(("chosen", "module"), [("grpc", "grpc"), ("http/protobuf", "http")])
def test_the_registered_exporter_wraps_the_otlp_one(monkeypatch: pytest.MonkeyPatch, chosen: str, module: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", chosen)
    exporter = OtlpSpanExporter()
    assert type(exporter._exporter).__module__.startswith(f"opentelemetry.exporter.otlp.proto.{module}")
    exporter.shutdown()
