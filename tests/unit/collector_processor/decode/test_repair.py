"""A text that is not Unicode is repaired and counted, wherever it is; the rest of its batch is not affected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import collector_processor.decode as decoding
from collector_processor.decode import DECODERS, Decoder, MalformedRequestError, decode, json_to_protobuf
from collector_processor.decode.otlp.from_json import json_to_protobuf_and_repairs
from collector_processor.decode.otlp.repair import repaired

MARK = "zzzzzzzz"
"""Stands where the bad bytes go, so that no length in the message changes."""
BAD = {
    "lone continuation": b"a\x80bcdefg",
    "overlong": b"a\xc0\xafcdefg",
    "a surrogate": b"a\xed\xa0\x80efgh",
    "cut character": b"abcde\xf0\x9f\x98",
    "beyond Unicode": b"a\xf4\x90\x80\x80fgh",
    "never valid": b"\xff\xfecdefgh",
    "Latin-1": "größe123".encode("latin-1"),
    "UTF-16": "abcd".encode("utf-16-le").replace(b"\0", b"\xd8"),
}
MARKED = {**{f"ml.feature.{name}": name for name in ("city", "size")}, "ml.feature.n": 1.5}


@pytest.fixture(params=DECODERS, ids=lambda decoder: decoder.name)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    chosen: Decoder = request.param
    monkeypatch.setattr(decoding, "_chosen", lambda: chosen)
    return chosen


def texts_of(message: Message) -> Iterator[tuple[Message, str]]:
    """Every field of a message, and of those inside it, that is a text and set."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from texts_of(each)
        elif isinstance(value, str):
            yield message, field.name


def request(otlp: Any, signal: str) -> Message:
    """A request with a text in every place that can have one."""
    attributes = {**MARKED, "ml.features": {"deep": "x"}, "ml.x": {"a": [{"b": "text"}, "y"]}}
    if signal == "traces":
        message: Any = ExportTraceServiceRequest.FromString(
            otlp.traces(
                *[otlp.prediction(attributes, trace_state="ot=th:8") for _ in range(3)], resource={"service.name": "s"}
            )
        )
        part = message.resource_spans[0]
        scope = part.scope_spans[0]
        span = scope.spans[0]
        span.status.message = "failed"
        span.events.add(name="event").attributes.add(key="k").value.string_value = "v"
        span.links.add(trace_state="a=b").attributes.add(key="k").value.string_value = "v"
    elif signal == "logs":
        message = ExportLogsServiceRequest()
        part = message.resource_logs.add()
        scope = part.scope_logs.add()
        record = scope.log_records.add(severity_text="INFO", event_name="ml.label")
        record.body.string_value = "text"
        record.attributes.extend(
            otlp.attributes({"ml.model.name": "fraud", "ml.prediction.id": "i", "ml.label.class": "1"})
        )
    else:
        message = ExportMetricsServiceRequest()
        part = message.resource_metrics.add()
        scope = part.scope_metrics.add()
        metric = scope.metrics.add(name="m", description="d", unit="1")
        point = metric.gauge.data_points.add(as_int=1)
        point.attributes.add(key="k").value.string_value = "v"
        point.exemplars.add(as_int=1).filtered_attributes.add(key="k").value.string_value = "v"
    part.schema_url = scope.schema_url = "https://opentelemetry.io/schemas/1.40.0"
    scope.scope.name, scope.scope.version = "scope", "1"
    part.resource.entity_refs.add(type="service", id_keys=["service.name"])
    return message


def places(otlp: Any, signal: str) -> Iterator[tuple[bytes, bytes]]:
    """For each place of a text, the request with the mark there, and the same with another text."""
    for at in range(len(list(texts_of(request(otlp, signal))))):
        bodies: list[bytes] = []
        for text in (MARK, "%REPAIRED%"):
            message = request(otlp, signal)
            holder, name = list(texts_of(message))[at]
            setattr(holder, name, text)
            bodies.append(message.SerializeToString())
        yield bodies[0], bodies[1]


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_text_anywhere_costs_only_itself(otlp: Any, decoder: Decoder, signal: Any, bad: bytes) -> None:
    good = bad.decode("utf-8", "replace")
    kinds: Any = {
        "traces": ExportTraceServiceRequest,
        "logs": ExportLogsServiceRequest,
        "metrics": ExportMetricsServiceRequest,
    }
    for marked, other in places(otlp, signal):
        body = marked.replace(MARK.encode(), bad)
        message = kinds[signal].FromString(other)
        [(holder, name)] = [found for found in texts_of(message) if getattr(*found) == "%REPAIRED%"]
        setattr(holder, name, good)
        expected = decode(signal, message.SerializeToString(), otlp.received)
        decoded = decode(signal, body, otlp.received)
        assert decoded.dropped == {**expected.dropped, "text_repaired": 1}
        assert (decoded.items, decoded.rejected) == (expected.items, expected.rejected)
        assert str(decoded.predictions) == str(expected.predictions)
        assert str(decoded.labels) == str(expected.labels)


def test_every_bad_text_is_counted(otlp: Any, decoder: Decoder) -> None:
    spans = [otlp.prediction({"ml.feature.a": MARK, "ml.feature.b": MARK}) for _ in range(5)]
    body = otlp.traces(*spans).replace(MARK.encode(), BAD["never valid"])
    assert decode("traces", body, otlp.received).dropped == {"text_repaired": 10}


@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_stay_malformed(body: bytes) -> None:
    good, texts = repaired("traces", body)
    if not texts:
        assert good is body
    else:
        ExportTraceServiceRequest.FromString(good)


def test_a_request_that_is_cut_stays_malformed(otlp: Any, decoder: Decoder) -> None:
    body = otlp.traces(otlp.prediction({"ml.feature.a": MARK})).replace(MARK.encode(), BAD["never valid"])
    with pytest.raises(MalformedRequestError):
        decode("traces", body[:-3], otlp.received)


def as_json(otlp: Any) -> str:
    body: Any = json_format.MessageToDict(request(otlp, "traces"))
    for part in body["resourceSpans"]:
        for scope in part["scopeSpans"]:
            for span in scope["spans"]:
                span["traceId"], span["spanId"] = otlp.trace_id.hex(), otlp.span_id.hex()
                span["name"] = f"predict {MARK}"
                span["attributes"].append({"key": f"ml.feature.{MARK}", "value": {"stringValue": MARK}})
                span[MARK] = "an unknown name"
    return json.dumps(body)


HALVES: dict[str, Callable[[str], bytes]] = {
    "first half": lambda text: text.replace(MARK, "a\\ud83d").encode(),
    "second half": lambda text: text.replace(MARK, "a\\uDE00").encode(),
    "in the wrong order": lambda text: text.replace(MARK, "\\ude00\\ud83d").encode(),
    "a byte": lambda text: text.encode().replace(MARK.encode(), b"a\xff"),
    "Latin-1": lambda text: text.encode().replace(MARK.encode(), "größe".encode("latin-1")),
    "a surrogate in UTF-8": lambda text: text.encode().replace(MARK.encode(), b"a\xed\xa0\xbd"),
    "both": lambda text: text.encode().replace(MARK.encode(), b"a\xff\\ud83d"),
}


@pytest.mark.parametrize("cut", HALVES.values(), ids=HALVES.keys())
def test_half_a_character_in_json_costs_only_itself(otlp: Any, decoder: Decoder, cut: Callable[[str], bytes]) -> None:
    body, repairs = json_to_protobuf_and_repairs("traces", cut(as_json(otlp)))
    assert repairs == 3 * 3, "name, key and value of three spans"
    decoded = decode("traces", body, otlp.received)
    assert (decoded.items, decoded.rejected, dict(decoded.dropped)) == (3, 0, {})
    names = {name for batch in decoded.predictions for name in batch.features if "\ufffd" in name}
    assert len(names) == 1


def test_whole_characters_in_json_stay_as_they_are(otlp: Any) -> None:
    text = as_json(otlp).replace(MARK, "\\ud83d\\ude00é\\u00e9")
    body, repairs = json_to_protobuf_and_repairs("traces", text.encode())
    assert repairs == 0
    assert ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans[0].name == "predict 😀éé"
    assert body == json_to_protobuf("traces", text.encode())
