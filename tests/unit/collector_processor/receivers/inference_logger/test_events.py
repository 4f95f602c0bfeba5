"""What the headers and envelopes of events say, in each sender's words."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.inference_logger.events import BATCHED, STRUCTURED, read_events, time_ns
from support.inference_events import kserve, lower, seldon

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def test_kserve_says_what_happened_when() -> None:
    headers = kserve("request", "42", time="2026-11-29T10:00:00.123456789Z")
    headers["Ce-Metadata"] = json.dumps({"Traceparent": [PARENT], "Inference-Header-Content-Length": ["17"]})
    headers["Ce-Annotations"] = json.dumps({"example.com/version": "v7"})
    [event] = read_events(lower(headers), b"{}", "example.com/version")
    assert (event.side, event.id, event.service, event.namespace) == ("request", "42", "churn", "shop")
    assert (event.component, event.endpoint, event.version) == ("predictor", "default", "v7")
    assert event.time_ns == 1795946400_123456789
    assert event.happened
    assert event.header_bytes == 17
    assert event.trace is not None
    assert (event.trace.trace_id.hex(), event.trace.flags) == ("a" * 32, 1)
    # The header of the request says nothing about the body of the response, which has the same metadata.
    headers["Ce-Type"] = "org.kubeflow.serving.inference.response"
    assert read_events(lower(headers), b"{}")[0].header_bytes is None


def test_seldon_joins_by_the_id_of_the_request_and_stamps_the_event() -> None:
    one, other = (read_events(lower(seldon(side, side, "puid")), b"")[0] for side in ("request", "response"))
    assert one.key == other.key
    assert (one.id, one.model, one.service, one.happened) == ("puid", "classifier", "income", False)


@pytest.mark.parametrize("encoded", [False, True])
def test_structured_and_batched_events_are_binary_ones(encoded: bool) -> None:
    binary = kserve("request", "ü", time="2026-11-29T10:00:00Z")
    body = {"instances": [[1, "é"]]}
    attributes: dict[str, Any] = {name[3:].lower(): value for name, value in binary.items() if name.startswith("Ce-")}
    if encoded:
        envelope = attributes | {"data_base64": base64.b64encode(json.dumps(body).encode()).decode()}
    else:
        envelope = attributes | {"data": body}
    sent = lower(binary) | {"ce-id": "%C3%BC"}
    [wanted] = read_events(sent, json.dumps(body).encode())
    assert read_events({"content-type": STRUCTURED + "; charset=utf-8"}, json.dumps(envelope).encode()) == [wanted]
    assert read_events({"content-type": BATCHED}, json.dumps([envelope] * 2).encode()) == [wanted] * 2


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({}, b"{}", "type is missing"),
        ({"ce-type": "org.kubeflow.serving.inference.request"}, b"{}", "id is missing"),
        ({"ce-type": "x.inference.request", "ce-id": "i" * 513}, b"{}", "longer than 512"),
        ({"content-type": STRUCTURED}, b"{", "not the JSON of a CloudEvent"),
        ({"content-type": STRUCTURED}, b"[" * 100_000, "not the JSON of a CloudEvent"),
        ({"content-type": STRUCTURED}, b"[]", "is not one event"),
        ({"content-type": STRUCTURED}, b"\xff\xfe\x00", "not the JSON of a CloudEvent"),
        ({"content-type": BATCHED}, b"{}", "is not a list of events"),
        ({"content-type": BATCHED}, b"[1]", "is not a list of events"),
        ({"content-type": STRUCTURED}, b'{"id": "1", "type": "t", "data_base64": "#"}', "not base64"),
        ({"content-type": STRUCTURED}, b'{"id": 1, "type": "t"}', "id is missing"),
    ],
)
def test_what_is_no_event_says_why(headers: dict[str, str], body: bytes, said: str) -> None:
    with pytest.raises(MalformedRequestError, match=said):
        read_events(headers, body)


@pytest.mark.parametrize("text", ["{", "[1]", '{"Traceparent": [1]}', '{"Traceparent": []}', "[" * 100_000, "null"])
def test_metadata_of_any_kind_does_no_harm(text: str) -> None:
    headers = lower(kserve("request", "1")) | {"ce-metadata": text, "ce-annotations": text}
    [event] = read_events(headers, b"", "version")
    assert (event.trace, event.version) == (None, "")


@given(st.datetimes(), st.integers(0, 999_999_999), st.sampled_from(["Z", "+00:00", "-00:00"]))
def test_times_are_exact_to_the_nanosecond(moment: Any, nanoseconds: int, zone: str) -> None:
    moment = moment.replace(microsecond=0)
    expected = round((moment - type(moment)(1970, 1, 1)).total_seconds()) * 10**9 + nanoseconds
    found = time_ns(f"{moment.isoformat()}.{nanoseconds:09d}{zone}")
    assert found == (expected if 0 < expected < 2**63 else None)


@given(st.text(max_size=40))
def test_no_text_is_a_time_by_accident(text: str) -> None:
    assert time_ns(text) is None or "T" in text.upper()
