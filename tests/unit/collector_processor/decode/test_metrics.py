"""Metrics are counted and passed on, unless they come back to the service that derived them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from collector_processor.decode import LoopError, MalformedRequestError, decode, decode_metrics
from otel_ml.semconv import PROCESSOR_SCOPE


def derived(instance_id: str, scope: str = PROCESSOR_SCOPE) -> bytes:
    """Metrics of a real SDK: two gauge points and a counter's one."""
    reader = InMemoryMetricReader()
    resource = Resource.create({"service.instance.id": instance_id})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    meter = provider.get_meter(scope)
    for feature in "ab":
        meter.create_gauge("ml.drift.score").set(0.5, {"ml.feature.name": feature})
    meter.create_counter("ml.predictions").add(1)
    collected = reader.get_metrics_data()
    assert collected is not None
    provider.shutdown()
    return encode_metrics(collected).SerializeToString()


def test_points_of_every_kind_are_counted() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add().gauge.data_points.extend([NumberDataPoint()] * 2)
    metrics.add().sum.data_points.extend([NumberDataPoint()] * 3)
    metrics.add().histogram.data_points.extend([HistogramDataPoint()] * 4)
    metrics.add().exponential_histogram.data_points.extend([ExponentialHistogramDataPoint()] * 5)
    metrics.add().summary.data_points.extend([SummaryDataPoint()] * 6)
    metrics.add(name="empty")
    decoded = decode("metrics", request.SerializeToString(), 0)
    assert (decoded.items, decoded.rejected, decoded.predictions, decoded.labels) == (20, 0, (), ())


def test_metrics_that_come_back_are_a_loop() -> None:
    with pytest.raises(LoopError, match=r"come from this service \(service.instance.id me\)") as caught:
        decode("metrics", derived("me"), 0, own_instance_id="me")
    assert caught.value.items == decode("metrics", derived("me"), 0).items > 1


def test_a_loop_is_a_malformed_request_to_whoever_sent_it() -> None:
    assert issubclass(LoopError, MalformedRequestError)


@pytest.mark.parametrize(
    ("instance", "scope", "own"),
    [("other", PROCESSOR_SCOPE, "me"), ("me", "shop", "me"), ("me", PROCESSOR_SCOPE, ""), ("", PROCESSOR_SCOPE, "")],
)
def test_metrics_of_other_instances_or_scopes_pass(instance: str, scope: str, own: str) -> None:
    assert decode_metrics(derived(instance, scope), own).items == 3


def test_a_resource_without_instance_is_no_loop() -> None:
    request = ExportMetricsServiceRequest()
    scope_metrics = request.resource_metrics.add().scope_metrics.add()
    scope_metrics.scope.name = PROCESSOR_SCOPE
    scope_metrics.metrics.add(name="ml.drift.score")
    assert decode_metrics(request.SerializeToString(), "me").items == 0


@pytest.mark.parametrize("body", [b"nonsense", b"\x0a\x05ab"])
def test_bytes_that_are_no_metrics_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedRequestError, match="not an ExportMetricsServiceRequest"):
        decode_metrics(body)
