"""Counts in metrics are read by their contract; what is no count is rejected with a reason, and stops nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector_processor.columns.batch import Decoded, ModelKey
from collector_processor.decode import decode, json_to_protobuf
from collector_processor.decode.limits import DecodeLimits
from collector_processor.journal.base import Request
from collector_processor.service.workers.handover import pack, unpack

TIME = 1_750_000_000 * 10**9
FEATURE = {
    "ml.model.name": "churn",
    "ml.model.version": "7",
    "ml.reference.id": "0123456789abcdef",
    "ml.observation.in_span": False,
    "ml.feature.name": "age",
    "ml.feature.bucket": "[18,65)",
}
METRIC = "ml.feature.observations"


def attribute(key: str, value: Any) -> dict[str, Any]:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue", list: "arrayValue"}
    return {"key": key, "value": {kinds[type(value)]: {"values": []} if isinstance(value, list) else value}}


def point(value: Any = 3, attributes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    kind = "asInt" if isinstance(value, int) else "asDouble"
    shown = [attribute(key, each) for key, each in (FEATURE if attributes is None else attributes).items()]
    return {
        "attributes": shown, kind: value, "timeUnixNano": TIME, "startTimeUnixNano": TIME - 60, **more,
    }  # fmt: skip


def request(*points: dict[str, Any], metric: str = METRIC, **of_sum: Any) -> bytes:
    total = {"dataPoints": [*points], "aggregationTemporality": 2, "isMonotonic": True, **of_sum}
    scope = {"metrics": [{"name": metric, "sum": total}]}
    body = {"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [scope]}]}
    return json_to_protobuf("metrics", json.dumps(body).encode())


def read(body: bytes, **limits: int) -> Decoded:
    return decode("metrics", body, TIME + 5, DecodeLimits(**limits))


def test_a_point_becomes_a_row_of_columns() -> None:
    [batch] = read(request(point())).observations
    assert (batch.model, batch.reference, batch.temporality) == (
        ModelKey("churn", "7"),
        FEATURE["ml.reference.id"],
        "cumulative",
    )
    assert (batch.time_ns.tolist(), batch.start_ns.tolist(), batch.counts.tolist()) == ([TIME], [TIME - 60], [3.0])
    assert [column.categories for column in (batch.roles, batch.names, batch.buckets) if column] == [
        ("feature",), ("age",), ("[18,65)",),
    ]  # fmt: skip


def test_predictions_and_outputs_are_read_from_their_own_metric() -> None:
    identity = {key: FEATURE[key] for key in ("ml.model.name", "ml.reference.id")}
    body = request(
        point(5, identity),
        point(2, {**identity, "error.type": "ValueError"}),
        point(4, {**identity, "ml.column.role": "score", "ml.prediction.bucket": "[0,0.5)"}),
        metric="ml.prediction.observations",
        aggregationTemporality=1,
    )
    [batch] = read(body).observations
    assert batch.temporality == "delta"
    assert batch.counts.tolist() == [5, 2, 4]
    assert batch.roles is not None
    assert batch.roles.missing().tolist() == [True, True, False]


def test_a_point_without_a_time_has_that_of_its_arrival_and_exemplars_are_ignored() -> None:
    exemplar = {"timeUnixNano": TIME, "asDouble": 7.0, "traceId": "ab" * 16, "spanId": "cd" * 8}
    [batch] = read(request(point(timeUnixNano=0, startTimeUnixNano=0, exemplars=[exemplar]))).observations
    assert batch.time_ns.tolist() == [TIME + 5]


def test_senders_references_and_what_left_in_spans_stay_apart() -> None:
    other = {**FEATURE, "ml.reference.id": "ff"}
    sent = {**FEATURE, "ml.observation.in_span": True}
    decoded = read(request(point(), point(attributes=other), point(attributes=sent)))
    assert {(batch.reference, batch.in_span) for batch in decoded.observations} == {
        (FEATURE["ml.reference.id"], ""), ("ff", ""), (FEATURE["ml.reference.id"], "true"),
    }  # fmt: skip


HOSTILE = [
    (point(-1), "-1 is not a count"),
    (point(2**62), "is not a count"),
    (point(1e300), "is not a count"),
    (point("NaN"), "nan is not a count"),
    (point("Infinity"), "inf is not a count"),
    ({**point(), "asInt": None}, "has no value"),
    (point(startTimeUnixNano=TIME + 1), "before its start"),
    (point(timeUnixNano=2**64 - 1), "too late"),
    (point(attributes={}), "ml.model.name is missing"),
    (point(attributes={**FEATURE, "ml.model.name": 7}), "not a string"),
    (point(attributes={**FEATURE, "ml.model.name": "x" * 300}), "longer than"),
    (point(attributes={**FEATURE, "ml.feature.name": 7}), "ml.feature.name is not a string"),
    (point(attributes={**FEATURE, "ml.feature.name": ""}), "is missing"),
    (point(attributes={**FEATURE, "ml.feature.bucket": 1.5}), "ml.feature.bucket is not a string"),
    (point(attributes={**FEATURE, "ml.feature.bucket": []}), "ml.feature.bucket is not a string"),
    (point(attributes={**FEATURE, "ml.reference.id": True}), "ml.reference.id is not a string"),
    (point(attributes={**FEATURE, "ml.observation.in_span": "yes"}), "is not a truth value"),
    (point(attributes={"otel.metric.overflow": True}), "cardinality limit"),
]


@pytest.mark.parametrize(("bad", "reason"), HOSTILE)
def test_what_is_no_count_is_rejected_and_the_rest_is_read(bad: dict[str, Any], reason: str) -> None:
    if bad.get("asInt", 0) is None:
        del bad["asInt"]
    decoded = read(request(bad, point()))
    assert (decoded.items, decoded.rejected) == (2, 1)
    assert reason in decoded.message
    assert [len(batch) for batch in decoded.observations] == [1]


def test_outputs_need_a_known_role_and_a_bucket() -> None:
    identity = {"ml.model.name": "churn", "ml.prediction.bucket": "x"}
    body = request(
        point(1, identity), point(1, {**identity, "ml.column.role": "label"}), metric="ml.prediction.observations"
    )
    decoded = read(body)
    assert decoded.rejected == 2
    assert "must be one of prediction, score" in decoded.message


@pytest.mark.parametrize(
    "of_sum", [{"aggregationTemporality": 0}, {"isMonotonic": False}, {"aggregationTemporality": 9}]
)
def test_only_monotonic_sums_of_a_known_temporality_count(of_sum: dict[str, Any]) -> None:
    decoded = read(request(point(), **of_sum))
    assert decoded.observations == ()
    assert "not a monotonic sum" in decoded.message


def test_a_gauge_of_that_name_and_a_stale_marker_are_no_counts() -> None:
    message = ExportMetricsServiceRequest.FromString(request(point()))
    metric = message.resource_metrics[0].scope_metrics[0].metrics[0]
    points = list(metric.sum.data_points)
    metric.gauge.data_points.extend(points)
    assert read(message.SerializeToString()).rejected == 1
    assert read(request(point(flags=1))).observations == ()


def test_limits_hold() -> None:
    names = [point(attributes={**FEATURE, "ml.model.name": f"m{number}"}) for number in range(5)]
    decoded = read(request(*names), models=3)
    assert len(decoded.observations) == 3
    assert decoded.dropped == {"models_over_limit": 2}
    assert read(request(*names), rows=4).dropped == {"rows_over_limit": 5}


def test_other_metrics_are_counted_and_not_read() -> None:
    decoded = read(request(point(-1), metric="http.server.requests"))
    assert (decoded.items, decoded.rejected, decoded.observations) == (1, 0, ())


def test_counts_pass_from_a_worker_to_the_process_that_counts() -> None:
    decoded = read(request(point(), point(attributes={**FEATURE, "ml.feature.name": "plan"})))
    head, buffers = pack(Request("metrics", b"body", decoded, decoded.items, TIME))
    [there] = unpack(head, bytearray(b"".join(buffers))).decoded.observations
    [here] = decoded.observations
    assert (there.model, there.sender, there.counts.tolist()) == (here.model, here.sender, here.counts.tolist())
    assert there.names is not None
    assert there.names.categories == ("age", "plan")
