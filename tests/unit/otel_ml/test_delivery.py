"""What one exporter knows of its receiver says nothing about another one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_ml.delivery.requests import Receiver, export_in_parts, receiver
from otel_ml.sdk import protocol_of


class Exporter:
    """Stands for one exporter."""


def test_an_exporter_that_fails_makes_no_other_one_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "exiting", True)
    broken, healthy, spans = Exporter(), Exporter(), [ReadableSpan("a")]
    sent: list[int] = []

    def fail(_: object) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def take(request: Sequence[ReadableSpan]) -> SpanExportResult:
        sent.append(len(request))
        return SpanExportResult.SUCCESS

    assert export_in_parts(broken, fail, spans, 1000) is SpanExportResult.FAILURE
    assert export_in_parts(healthy, take, spans, 1000) is SpanExportResult.SUCCESS
    assert sent == [1]
    assert receiver.hopeless(broken)
    assert not receiver.hopeless(healthy)
    receiver.failing_s.clear()


def test_a_success_ends_the_failing_of_its_exporter() -> None:
    one, exporter = Receiver(), Exporter()
    one.failed(exporter, 11.0)
    assert one.hopeless(exporter)
    one.took(exporter)
    assert not one.hopeless(exporter)


def test_the_protocol_follows_from_the_endpoint_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert protocol_of(None) == "http/protobuf"
    assert protocol_of("http://localhost:4317") == "grpc"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    assert protocol_of(None) == "grpc"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    assert protocol_of(None) == "http/protobuf"
