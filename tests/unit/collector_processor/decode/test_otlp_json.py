"""OTLP/JSON becomes the protobuf that the same request would have been."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector_processor.decode import MalformedRequestError, decode, json_to_protobuf

TRACE_ID, SPAN_ID = "5B8EFFF798038103D269B633813FC60C", "eee19b7ec3c1b174"


def one_span(**fields: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()


def span_of(body: bytes) -> Span:
    request = ExportTraceServiceRequest.FromString(json_to_protobuf("traces", body))
    return request.resource_spans[0].scope_spans[0].spans[0]


def hex_ids(node: Any) -> Any:
    """JSON of protobuf's mapping as that of OTLP: base64 ids as hex."""
    if isinstance(node, list):
        return [hex_ids(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {
        name: base64.b64decode(child).hex() if name in ("traceId", "spanId", "parentSpanId") else hex_ids(child)
        for name, child in node.items()
    }


def round_trip(signal: Any, request: Any) -> None:
    as_json = hex_ids(json_format.MessageToDict(request, use_integers_for_enums=True))
    assert type(request).FromString(json_to_protobuf(signal, json.dumps(as_json).encode())) == request


def test_a_span_with_every_kind_of_value_survives(otlp: Any) -> None:
    span = otlp.prediction({
        "ml.feature.a": 1, "ml.feature.b": 0.1, "ml.feature.c": True, "ml.feature.d": "größe", "ml.feature.e": None,
        "ml.features": {"x": [1.5, None]}, "ml.batch": b"\0\xff",
    }, error=True)  # fmt: skip
    span.parent_span_id = b"\xaa" * 8
    span.kind = Span.SPAN_KIND_SERVER
    span.links.add(trace_id=bytes(16), span_id=b"\xbb" * 8, attributes=otlp.attributes({"traceId": "not an id"}))
    span.events.add(name="event", attributes=otlp.attributes({"spanId": "zz"}))
    round_trip("traces", ExportTraceServiceRequest.FromString(otlp.traces(span, resource={"traceId": "nor this"})))


def test_log_records_survive(otlp: Any) -> None:
    record = LogRecord(
        time_unix_nano=2**63, event_name="ml.label", trace_id=bytes(range(16)), span_id=bytes(8),
        attributes=otlp.attributes({"ml.prediction.id": "a", "ml.label.value": 1.5}), severity_number=9,
    )  # fmt: skip
    round_trip("logs", ExportLogsServiceRequest.FromString(otlp.logs(record)))


def test_metrics_with_exemplars_survive() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    exemplar = Exemplar(trace_id=bytes(range(16)), span_id=bytes(range(8)), as_double=0.5)
    metrics.add(name="g").gauge.data_points.add(as_int=-5).exemplars.append(exemplar)
    metrics.add(name="s").sum.data_points.add(as_double=1.5).exemplars.append(exemplar)
    metrics.add(name="h").histogram.data_points.add(count=3, bucket_counts=[1, 2]).exemplars.append(exemplar)
    metrics.add(name="e").exponential_histogram.data_points.add(count=3).exemplars.append(exemplar)
    metrics.add(name="q").summary.data_points.add(count=2**64 - 1)
    round_trip("metrics", request)


def test_ids_are_hex_in_either_case() -> None:
    span = span_of(one_span(traceId=TRACE_ID, spanId=SPAN_ID.upper(), parentSpanId=""))
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id) == (TRACE_ID.lower(), SPAN_ID, b"")


def test_snake_case_is_read_too() -> None:
    body = {"resource_spans": [{"scope_spans": [{"spans": [{"trace_id": TRACE_ID, "start_time_unix_nano": 5}]}]}]}
    span = span_of(json.dumps(body).encode())
    assert (span.trace_id.hex(), span.start_time_unix_nano) == (TRACE_ID.lower(), 5)


@pytest.mark.parametrize("time", ["1760000000000000001", 1760000000000000001])
def test_64_bit_integers_are_texts_or_numbers(time: Any) -> None:
    assert span_of(one_span(startTimeUnixNano=time)).start_time_unix_nano == 1760000000000000001


def test_enums_are_integers_and_unknown_names_and_nulls_are_passed_over() -> None:
    span = span_of(one_span(kind=2, name=None, unknown={"deep": [1, {"traceId": 5}]}, status={"code": 2, "new": 1}))
    assert (span.kind, span.status.code, span.name) == (2, 2, "")


def test_doubles_that_are_no_numbers_are_texts() -> None:
    attributes = [{"key": word, "value": {"doubleValue": word}} for word in ("NaN", "Infinity", "-Infinity")]
    values = [attribute.value.double_value for attribute in span_of(one_span(attributes=attributes)).attributes]
    assert str(values) == "[nan, inf, -inf]"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not the JSON of an ExportTraceServiceRequest: Expecting value"),
        (b"{", "not the JSON of an ExportTraceServiceRequest: Expecting property name"),
        (b"[]", "the JSON is not an object, but of type list"),
        (b"null", "the JSON is not an object, but of type NoneType"),
        (b'{"a": 1} x', "Extra data"),
        (b"\xff\xfe{}", "Expecting value"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": 1, "a": 2}', "a JSON object has the name 'a' twice"),
        (one_span(name="x").replace(b'"x"', b'"x", "name": "y"'), "a JSON object has the name 'name' twice"),
        (one_span(traceId="zz"), "traceId 'zz' is not hex"),
        (one_span(spanId="abc"), "spanId 'abc' is not hex"),
        (one_span(traceId="aa bb"), "traceId 'aa bb' is not hex"),
        (one_span(links=[{"spanId": "é"}]), "spanId 'é' is not hex"),
        (one_span(traceId=5), "traceId field"),
        (one_span(name=5), "name field"),
        (one_span(attributes={}), "attributes must be in []"),
        (one_span(attributes=[5]), "attributes field"),
        (one_span(attributes=[None]), "attributes field"),
        (one_span(attributes=[{"value": {"intValue": "1.5"}}]), "intValue"),
        (one_span(attributes=[{"value": {"intValue": 2**63}}]), "intValue field"),
        (one_span(attributes=[{"value": {"intValue": 1, "stringValue": "x"}}]), "oneof"),
        (one_span(attributes=[{"value": {"bytesValue": "A"}}]), "base64"),
        (one_span(startTimeUnixNano=-1), "startTimeUnixNano field"),
        (one_span(startTimeUnixNano=1).replace(b": 1}", b": 1e999}"), "startTimeUnixNano field"),
        (one_span(startTimeUnixNano=1).replace(b": 1}", b": " + b"9" * 5000 + b"}"), "Exceeds the limit (4300"),
        (one_span(startTimeUnixNano=1).replace(b": 1}", b": NaN}"), "NaN is not JSON"),
        (one_span(startTimeUnixNano=1).replace(b": 1}", b": -Infinity}"), "-Infinity is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_malformed_and_said(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        json_to_protobuf("traces", body)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("depth", [30, 60, 200])
def test_deep_values_are_converted_or_malformed(depth: int) -> None:
    value: Any = {}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    body = one_span(attributes=[{"key": "ml.feature.a", "value": value}])
    if depth == 30:
        assert decode("traces", json_to_protobuf("traces", body), 0).items == 1
        return
    with pytest.raises(MalformedRequestError, match="deep"):
        json_to_protobuf("traces", body)


def test_a_body_cut_or_broken_anywhere_is_converted_or_malformed(otlp: Any) -> None:
    request = ExportTraceServiceRequest.FromString(otlp.traces(otlp.prediction({"ml.features": {"a": [1, "x", True]}})))
    body = json.dumps(hex_ids(json_format.MessageToDict(request))).encode()
    rng = random.Random(5)
    broken = [body[:length] for length in range(0, len(body), 5)]
    for _ in range(500):
        changed = bytearray(body)
        changed[rng.randrange(len(changed))] = rng.choice(b'{}[]",:0e-n\xff\\')
        broken.append(bytes(changed))
    for each in broken:
        with contextlib.suppress(MalformedRequestError):
            decode("traces", json_to_protobuf("traces", each), 0)
