"""A bulk job does not run ahead of its exporter: nothing is dropped, and memory is bounded."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otel_ml import Model, problems
from otel_ml.delivery import backlog as module
from otel_ml.otlp_exporter import SizeLimitedSpanExporter


class Slow(SpanExporter):
    """Encodes what it gets, as a real one does."""

    def __init__(self) -> None:
        self.rows = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for _ in range(3):
            encode_spans(spans).SerializeToString()
        self.rows += sum(int(str(dict(span.attributes or {})["ml.prediction.rows"])) for span in spans)
        return SpanExportResult.SUCCESS


class Stuck(SpanExporter):
    """Takes nothing until the test opens it."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.released.wait()
        return SpanExportResult.FAILURE


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    problems.forget()
    monkeypatch.setattr(module, "SEND_BYTES", 2**21)
    monkeypatch.setattr(module, "WAIT_BYTES", 2**23)
    module.backlog.restart()


def predict(exporter: SpanExporter, calls: int) -> int:
    provider = TracerProvider(shutdown_on_exit=False)
    # 20 spans are 20 MB; the delay is never reached
    provider.add_span_processor(BatchSpanProcessor(SizeLimitedSpanExporter(exporter), 20, 3_600_000, 20))
    model, rows = Model("m", tracer_provider=provider), np.random.default_rng(1).normal(size=(6_000, 20))
    for _ in range(calls):
        with model.predict(rows):
            pass
    if isinstance(exporter, Stuck):
        exporter.released.set()
    provider.shutdown()
    return calls * 6_000


def test_a_job_waits_for_its_exporter_and_loses_nothing() -> None:
    exporter = Slow()
    assert predict(exporter, 100) == exporter.rows


def test_a_receiver_that_takes_nothing_stops_a_job_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    predict(Stuck(), 30)
    assert caplog.text.count("the receiver is slower than the batches that are predicted") == 1
