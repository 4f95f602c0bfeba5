"""OTLP requests divided into halves: every item once, what surrounds it in both, whatever else is in the bytes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.exporters.delivery.parts import halves, items_of
from collector_processor.journal.base import Signal

KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
SHAPES = st.lists(st.lists(st.lists(st.integers(0, 300), max_size=4), max_size=3), max_size=3)
"""For each resource and scope, the sizes of its items."""


def resource(number: int) -> Resource:
    return Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=f"r{number}"))])


def metric(name: str, sizes: list[int], kind: str) -> pb.Metric:
    made = pb.Metric(name=name, unit="s", description="d" * 200)
    for position, size in enumerate(sizes):
        point = getattr(made, kind).data_points.add()
        point.attributes.add(key="text", value=AnyValue(string_value="x" * size))
        point.time_unix_nano = position + 1
    if kind in ("sum", "histogram", "exponential_histogram"):
        getattr(made, kind).aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    return made


def built(signal: Signal, shape: list[list[list[int]]], kind: str = "sum") -> bytes:
    """A request whose items have unique names, the scope and the resource in them."""
    if signal == "traces":
        request: Any = ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=resource(r),
                    schema_url=f"url{r}",
                    scope_spans=[
                        ScopeSpans(
                            scope=InstrumentationScope(name=f"s{s}"),
                            spans=[Span(name=f"{r}.{s}.{i}", trace_state="x" * size) for i, size in enumerate(sizes)],
                        )
                        for s, sizes in enumerate(scopes)
                    ],
                )
                for r, scopes in enumerate(shape)
            ]
        )
    elif signal == "logs":
        request = ExportLogsServiceRequest(
            resource_logs=[
                ResourceLogs(
                    resource=resource(r),
                    scope_logs=[
                        ScopeLogs(
                            log_records=[
                                LogRecord(event_name=f"{r}.{s}.{i}", severity_text="x" * size)
                                for i, size in enumerate(sizes)
                            ]
                        )
                        for s, sizes in enumerate(scopes)
                    ],
                )
                for r, scopes in enumerate(shape)
            ]
        )
    else:
        request = ExportMetricsServiceRequest(
            resource_metrics=[
                pb.ResourceMetrics(
                    resource=resource(r),
                    scope_metrics=[
                        pb.ScopeMetrics(metrics=[metric(f"m{s}", sizes, kind)]) for s, sizes in enumerate(scopes)
                    ],
                )
                for r, scopes in enumerate(shape)
            ]
        )
    return request.SerializeToString()


def contents(signal: Signal, body: bytes) -> list[tuple[str, ...]]:
    """Every item with all that surrounds it."""
    if signal == "traces":
        return [
            (rs.resource.SerializeToString().hex(), rs.schema_url, ss.scope.name, span.SerializeToString().hex())
            for rs in ExportTraceServiceRequest.FromString(body).resource_spans
            for ss in rs.scope_spans
            for span in ss.spans
        ]
    if signal == "logs":
        return [
            (rl.resource.SerializeToString().hex(), record.SerializeToString().hex())
            for rl in ExportLogsServiceRequest.FromString(body).resource_logs
            for sl in rl.scope_logs
            for record in sl.log_records
        ]
    items: list[tuple[str, ...]] = []
    for rm in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for sm in rm.scope_metrics:
            for made in sm.metrics:
                kind = made.WhichOneof("data")
                data = getattr(made, kind) if kind else None
                around = (rm.resource.SerializeToString().hex(), made.name, made.unit, str(kind))
                temporality = str(getattr(data, "aggregation_temporality", ""))
                items += [
                    (*around, temporality, point.SerializeToString().hex())
                    for point in (data.data_points if data else ())
                ]
    return items


def counted(signal: Signal, body: bytes) -> int:
    items = items_of(signal, body)
    assert items is not None
    return items


@given(st.sampled_from(["traces", "logs", "metrics"]), SHAPES, st.sampled_from(KINDS))
def test_halves_have_every_item_once_with_what_surrounds_it(
    signal: Signal, shape: list[list[list[int]]], kind: str
) -> None:
    whole = built(signal, shape, kind)
    waiting, single = [whole], []
    while waiting:
        body = waiting.pop()
        parts = halves(signal, body)
        if parts is None:
            single.append(body)
            continue
        assert all(part for part in parts)
        assert sum(counted(signal, part) for part in parts) == counted(signal, body)
        waiting += reversed(parts)
    assert Counter(item for body in single for item in contents(signal, body)) == Counter(contents(signal, whole))
    assert [item for body in single for item in contents(signal, body)] == contents(signal, whole), "the order is kept"
    assert max(counted(signal, body) for body in single) <= 1


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_halves_are_halves(signal: Signal) -> None:
    body = built(signal, [[[50] * 1000]])
    parts = halves(signal, body)
    assert parts is not None
    assert all(len(part) < 0.6 * len(body) for part in parts)


def test_fields_that_we_do_not_know_go_into_both_parts() -> None:
    unknown = b"\xf2\x3e\x02hi" + b"\xc5\x3e\x01\x02\x03\x04" + b"\xc1\x3e12345678" + b"\xc0\x3e\x96\x01"
    parts = halves("traces", built("traces", [[[1, 2, 3]]]) + unknown)
    assert parts is not None
    assert all(unknown in part for part in parts)


@given(st.sampled_from(["traces", "logs", "metrics"]), st.binary(max_size=200))
def test_any_bytes_are_divided_or_left_alone(signal: Signal, body: bytes) -> None:
    parts = halves(signal, body)
    assert parts is None or len(parts) == 2
    assert (items_of(signal, body) or 0) >= 0


def delimited(number: int, content: bytes) -> bytes:
    size, length = len(content), bytearray()
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    return bytes([number << 3 | 2, *length, size]) + content


FIELD = b"\x18\x01"
"""A field that no level of a request has: two bytes."""


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize("levels", [(), (1,), (2, 1)], ids=["request", "resource", "scope"])
def test_a_request_with_very_many_fields_is_left_whole(signal: Signal, levels: tuple[int, ...]) -> None:
    many = FIELD * 100_001
    for number in levels:
        many = delimited(number, many)
    assert halves(signal, many) is None
    body = built(signal, [[[1, 2]]])
    assert halves(signal, body + FIELD * 1000) is not None
    assert items_of(signal, many + body) is None


def test_all_levels_of_a_request_count_together() -> None:
    assert items_of("traces", delimited(1, FIELD * 20_000) * 4) == 0
    assert items_of("traces", delimited(1, FIELD * 20_000) * 6) is None
