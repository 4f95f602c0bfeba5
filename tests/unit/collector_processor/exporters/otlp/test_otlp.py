from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as ProtoMetric

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.measurement_queue import Part
from collector_processor.exporters.delivery.retry import Sender
from collector_processor.exporters.otlp.encoder import REQUEST_BYTES, MetricsEncoder, Temporality
from collector_processor.exporters.otlp.exporter import OtlpExporter
from collector_processor.monitors.base import Exemplar, Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

MODEL = ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))


def encoder(
    temporality: Temporality = "cumulative", *, instance_id: str = "one", descriptions: Mapping[str, str] | None = None
) -> MetricsEncoder:
    return MetricsEncoder(instance_id, temporality, descriptions or {}, Telemetry())


def parts(one: MetricsEncoder, measurements: list[Measurement]) -> list[Part]:
    return list(one.parts(measurements))


def request(part: Part) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(part.body)


def metrics(part: Part) -> list[ProtoMetric]:
    (resource,) = request(part).resource_metrics
    (scope,) = resource.scope_metrics
    return list(scope.metrics)


def rows(value: float, time_ns: int = 60) -> Measurement:
    return Measurement(semconv.WINDOW_ROWS, value, semconv.UNIT_ROW, MODEL, time_ns)


def predictions(value: float, time_ns: int = 60) -> Measurement:
    return Measurement(semconv.PREDICTIONS, value, semconv.UNIT_PREDICTION, MODEL, time_ns, "counter", 10)


def test_gauges_carry_the_windows_end_and_all_attributes() -> None:
    (part,) = parts(encoder(), [rows(3.0)])
    (metric,) = metrics(part)
    (point,) = metric.gauge.data_points
    assert (metric.name, metric.unit) == (semconv.WINDOW_ROWS, semconv.UNIT_ROW)
    assert (point.as_double, point.time_unix_nano) == (3.0, 60)
    assert [(pair.key, pair.value.string_value) for pair in point.attributes] == list(MODEL)


def test_exemplars_are_on_the_point_that_they_are_about() -> None:
    exemplars = (
        Exemplar("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
        Exemplar("0" * 31 + "1", "0" * 15 + "2"),
    )
    (part,) = parts(encoder(), [replace(rows(3.0), exemplars=exemplars), rows(4.0, 120)])
    (metric,) = metrics(part)
    first, second = metric.gauge.data_points
    assert [(each.trace_id.hex(), each.span_id.hex()) for each in first.exemplars] == list(exemplars)
    assert {(each.as_double, each.time_unix_nano) for each in first.exemplars} == {(3.0, 60)}
    assert not second.exemplars


def test_counters_are_monotonic_sums_since_their_start() -> None:
    (part,) = parts(encoder(), [predictions(5.0)])
    (metric,) = metrics(part)
    (point,) = metric.sum.data_points
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (5.0, 10, 60)


def test_delta_counters_are_increases_since_the_last_delivery() -> None:
    one = encoder("delta")
    (first,) = parts(one, [predictions(5.0), rows(1.0)])
    first.delivered()
    (second,) = parts(one, [predictions(9.0, 120)])
    (metric,) = metrics(second)
    (point,) = metric.sum.data_points
    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (4.0, 60, 120)
    second.delivered()
    assert parts(one, [predictions(9.0, 120)]) == [], "a request without points is not sent"


def test_one_metric_holds_all_points_of_its_name() -> None:
    (part,) = parts(encoder(descriptions={semconv.WINDOW_ROWS: "rows"}), [rows(1), predictions(2), rows(3, 120)])
    first, second = metrics(part)
    assert (len(first.gauge.data_points), len(second.sum.data_points)) == (2, 1)
    assert (first.description, second.description) == ("rows", "")


def test_requests_name_service_instance_and_scope() -> None:
    (part,) = parts(encoder(instance_id="two"), [rows(1)])
    (resource,) = request(part).resource_metrics
    (scope,) = resource.scope_metrics
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "otel-ml",
        "service.instance.id": "two",
    }
    assert (scope.scope.name, scope.schema_url) == (semconv.PROCESSOR_SCOPE, semconv.SCHEMA_URL)
    assert scope.scope.version


@pytest.mark.parametrize("feature", ["x" * 1000, "é€" * 500])
def test_large_batches_are_cut_into_requests_below_the_limit_of_grpc(feature: str) -> None:
    batch = [
        Measurement(
            semconv.DRIFT_SCORE, float(position), semconv.UNIT_SCORE, (*MODEL, ("f", f"{feature}{position}")), 1
        )
        for position in range(8000)
    ]
    found = parts(encoder(), batch)
    assert len(found) > 1
    assert all(len(part.body) < REQUEST_BYTES for part in found)
    assert sum(part.points for part in found) == 8000
    values = [point.as_double for part in found for metric in metrics(part) for point in metric.gauge.data_points]
    assert values == [float(position) for position in range(8000)]


def test_one_point_that_is_larger_than_a_request_goes_alone() -> None:
    huge = Measurement(semconv.DRIFT_SCORE, 1.0, semconv.UNIT_SCORE, (("f", "x" * (REQUEST_BYTES + 1)),), 1)
    assert [part.points for part in parts(encoder(), [rows(1), huge, rows(2)])] == [1, 1, 1]


def test_times_before_1970_are_told_as_1970() -> None:
    (part,) = parts(encoder(), [rows(1, -(2**63)), rows(1, 2**63)])
    (metric,) = metrics(part)
    assert [point.time_unix_nano for point in metric.gauge.data_points] == [0, 2**63]


def test_nothing_is_sent_of_nothing() -> None:
    assert parts(encoder(), []) == []


def absent() -> Sender:
    raise OSError("exporters.otlp_grpc.tls.ca_file: cannot read ca.pem")


def test_a_connection_that_cannot_be_made_is_reported_by_the_start() -> None:
    one = OtlpExporter("otlp_grpc", Connection("otlp_grpc", absent), Telemetry(), instance_id="one")
    with pytest.raises(OSError, match=r"exporters\.otlp_grpc\.tls\.ca_file: cannot read"):
        one.start()
    one.shutdown(1)


def test_shutdown_without_start_is_safe() -> None:
    one = OtlpExporter("otlp_grpc", Connection("otlp_grpc", absent), Telemetry(), instance_id="one")
    one.export([rows(1)])
    one.shutdown(1)
    one.shutdown(1)
