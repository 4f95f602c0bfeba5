"""OTLP/HTTP through plain sockets: every status, both content types, limits, slow senders, shutdown."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import signal as signals
import socket
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.journal.base import Signal
from collector_processor.receivers.admission import Admission
from collector_processor.receivers.otlp.http import HttpReceiver
from collector_processor.serving.settings import HttpListener
from support.waiting import wait_until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 2**20
LIMITS = HttpListener().http_limits()
PROTOBUF, JSON = "application/x-protobuf", "application/json"
UNFINISHED = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
UNICODE = 'Merkmal «größe» fehlt: "价格": 🚀\n'


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def rpc_status(self) -> Status:
        if self.headers["content-type"] == JSON:
            return Parse(self.body, Status())
        assert self.headers["content-type"] == PROTOBUF
        return Status.FromString(self.body)


def request(spans: int = 1) -> bytes:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for i in range(spans):
        scope.spans.add(name=f"predict {i}", trace_id=bytes(16), span_id=bytes(8))
    return message.SerializeToString()


def send(
    service: Any,
    body: bytes | Iterator[bytes] = b"",
    *,
    path: str = "/v1/traces",
    method: str = "POST",
    content_type: str = PROTOBUF,
    coding: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    sent = {"Content-Type": content_type, **(headers or {})}
    if coding is not None:
        sent["Content-Encoding"] = coding
    with closing(http.client.HTTPConnection(service.http_address, timeout=30)) as connection:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())


def raw(service: Any, sent: bytes) -> bytes:
    """Sends bytes as they are and returns all that comes until the server closes."""
    host, port = service.http_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON, f"{PROTOBUF}; charset=utf-8", "Application/JSON"])
def test_an_empty_request_succeeds(service: Any, path: str, content_type: str) -> None:
    answer = send(service, path=path, content_type=content_type)

    assert answer.status == 200
    assert answer.headers["content-type"] == content_type.partition(";")[0].lower()
    assert answer.body == (b"" if "protobuf" in content_type else b"{}")
    assert service.received() == []


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        (None, bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("zlib", zlib.compress),
        ("zstd", zstd.compress),
        ("gzip", lambda body: gzip.compress(body[:10]) + gzip.compress(body[10:])),
    ],
)
def test_protobuf_arrives_as_it_was_sent(service: Any, coding: str | None, compress: Callable[[bytes], bytes]) -> None:
    sent = request(3000) + b"\xc2\x3e\x05later"

    assert send(service, compress(sent), coding=coding).status == 200
    assert service.bodies() == [sent]
    assert service.counted("accepted", "http") == 3000


def test_a_chunked_body_arrives_whole(service: Any) -> None:
    sent = request(100)
    pieces = (sent[start : start + 97] for start in range(0, len(sent), 97))

    assert send(service, pieces).status == 200
    assert service.bodies() == [sent]


def test_json_is_kept_as_protobuf(service: Any) -> None:
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "EEE19B7EC3C1B174",
        "name": "predict größe 🚀",
        "kind": 1,
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": 1544712661000000000,
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
        "unheardOf": {"a": [1]},
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    answer = send(service, gzip.compress(body), content_type=JSON, coding="gzip")

    assert (answer.status, answer.headers["content-type"], answer.body) == (200, JSON, b"{}")
    (kept,) = service.bodies()
    decoded = ExportTraceServiceRequest.FromString(kept).resource_spans[0].scope_spans[0].spans[0]
    assert decoded.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert decoded.span_id.hex() == "eee19b7ec3c1b174"
    assert decoded.name == "predict größe 🚀"
    assert decoded.end_time_unix_nano == 1544712661000000000
    assert decoded.attributes[0].value.int_value == 7


def test_partial_success_speaks_the_content_type_of_the_request(serve: Callable[..., Any]) -> None:
    service = serve(decode=lambda *_: Decoded(items=5, rejected=2, message=UNICODE))

    partial = ExportTraceServiceResponse.FromString(send(service, request()).body).partial_success
    assert (partial.rejected_spans, partial.error_message) == (2, UNICODE)
    as_json = json.loads(send(service, b'{"resourceSpans":[{}]}', content_type=JSON).body)
    assert as_json == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": UNICODE}}


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        (PROTOBUF, b"\xff\xff\xff"),
        (PROTOBUF, b'{"resourceSpans":[]}'),
        (JSON, b"\xff"),
        (JSON, b"{"),
        (JSON, b"[" * 100_000),
        (JSON, b'{"resourceSpans": 7}'),
        (JSON, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}'),
    ],
)
def test_garbage_is_a_bad_request(service: Any, content_type: str, sent: bytes) -> None:
    answer = send(service, sent, content_type=content_type)

    assert answer.status == 400
    assert answer.rpc_status().code == code_pb2.INVALID_ARGUMENT
    assert answer.rpc_status().message
    assert service.counted("failed", "http") == 1
    assert service.received() == []


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(request(50))[:-9]),
        ("deflate", zlib.compress(request(50))[:-2]),
        ("gzip", gzip.compress(request(50)) + b"more"),
    ],
    ids=["no stream", "cut gzip", "cut deflate", "more after its end"],
)
def test_a_broken_stream_is_a_bad_request(service: Any, coding: str, sent: bytes) -> None:
    answer = send(service, sent, coding=coding)

    assert answer.status == 400
    assert coding in answer.rpc_status().message


def test_messages_come_through_in_any_script_and_bounded(serve: Callable[..., Any]) -> None:
    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        raise MalformedRequestError(UNICODE + "价" * 100_000 + "\ud800")

    answer = send(serve(decode=decode), request())

    assert answer.rpc_status().message.startswith(UNICODE)
    assert len(answer.body) < 1100


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_an_unknown_path_is_not_found(service: Any, content_type: str) -> None:
    answer = send(service, request(), path="/v1/profiles", content_type=content_type)

    assert answer.status == 404
    assert answer.headers["content-type"] == content_type
    assert answer.rpc_status().code == code_pb2.NOT_FOUND
    assert "/v1/traces" in answer.rpc_status().message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_verb_is_not_allowed(service: Any, method: str) -> None:
    answer = send(service, method=method)

    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.rpc_status().code == code_pb2.UNIMPLEMENTED


def test_head_is_not_allowed_and_has_no_body(service: Any) -> None:
    assert (send(service, method="HEAD").status, send(service, method="HEAD").body) == (405, b"")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/protobuf", "multipart/form-data; boundary=x"])
def test_another_content_type_is_unsupported(service: Any, content_type: str) -> None:
    answer = send(service, request(), content_type=content_type)

    assert answer.status == 415
    assert PROTOBUF in answer.rpc_status().message


def test_another_content_encoding_is_unsupported(service: Any) -> None:
    answer = send(service, request(), coding="br")

    assert answer.status == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"
    assert "'br'" in answer.rpc_status().message


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize(("coding", "compress"), [(None, bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_over_the_limit_is_too_large(
    serve: Callable[..., Any], content_type: str, coding: str | None, compress: Callable[[bytes], bytes]
) -> None:
    service = serve(http={"max_bytes": MIB})
    answer = send(service, compress(bytes(MIB + 1)), content_type=content_type, coding=coding)

    assert answer.status == 413
    assert "retry-after" not in answer.headers
    assert answer.rpc_status().code == code_pb2.RESOURCE_EXHAUSTED
    assert not answer.rpc_status().details
    assert service.counted("refused", "http") == 1


def test_a_chunked_body_over_the_limit_is_too_large(serve: Callable[..., Any]) -> None:
    service = serve(http={"max_bytes": MIB})

    assert send(service, (bytes(MIB // 4) for _ in range(6))).status == 413


def test_a_body_announced_over_the_limit_is_refused_before_it_is_sent(serve: Callable[..., Any]) -> None:
    service = serve(http={"max_bytes": MIB})
    host, port = service.http_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_connection_serves_on_after_a_refusal(serve: Callable[..., Any]) -> None:
    service = serve(http={"max_bytes": MIB})
    with closing(http.client.HTTPConnection(service.http_address, timeout=30)) as connection:
        for body, expected in ((bytes(MIB + 1), 413), (b"", 200), (b"\xff", 400), (request(), 200)):
            connection.request("POST", "/v1/traces", body, {"Content-Type": PROTOBUF})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == expected


def test_a_bomb_is_refused_in_little_memory(serve: Callable[..., Any]) -> None:
    service = serve(http={"max_bytes": 4 * MIB})
    bomb = gzip.compress(bytes(64 * MIB)) * 16
    tracemalloc.start()
    try:
        answer = send(service, bomb, coding="gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.status == 413
    assert peak < 24 * MIB


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_busy_says_when_to_come_back(serve: Callable[..., Any], content_type: str) -> None:
    service = serve(admission={"max_requests": 0, "retry_after_s": 2.5})
    answer = send(service, request(), content_type=content_type)

    assert answer.status == 503
    assert answer.headers["retry-after"] == "3"
    retry_info = RetryInfo()
    assert answer.rpc_status().code == code_pb2.UNAVAILABLE
    assert answer.rpc_status().details[0].Unpack(retry_info)
    assert retry_info.retry_delay.ToTimedelta().total_seconds() == 2.5


def test_bodies_that_do_not_fit_together_are_busy(serve: Callable[..., Any]) -> None:
    started, go_on = threading.Event(), threading.Event()

    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        started.set()
        assert go_on.wait(10)
        return Decoded(items=1)

    service = serve(decode=decode, admission={"max_request_bytes": MIB})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, service, bytes(MIB // 2 + 1))
        assert started.wait(10)
        assert send(service, bytes(MIB // 2)).status == 503
        go_on.set()
        assert first.result(10).status == 200


def test_an_unexpected_error_is_internal(serve: Callable[..., Any]) -> None:
    answer = send(serve(decode=lambda *_: 1 / 0), request())

    assert answer.status == 500
    assert answer.rpc_status().code == code_pb2.INTERNAL
    assert b"division" not in answer.body


def test_a_body_that_trickles_times_out_and_holds_nobody_up(serve: Callable[..., Any]) -> None:
    service = serve(http={"body_timeout_s": 0.3})
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(raw, service, UNFINISHED) for _ in range(8)]
        assert send(service, request()).status == 200
        answers = [answer.result(10) for answer in slow]

    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert all(b"did not arrive within 0.3 s" in answer for answer in answers)
    assert service.admission.room.requests == 0


@pytest.mark.parametrize("sent", [b"", b"POST /v1/tr", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_head_that_trickles_is_hung_up_on(serve: Callable[..., Any], sent: bytes) -> None:
    service = serve(http={"limits": replace(LIMITS, head_timeout_s=0.1)})

    assert raw(service, sent) == b""
    assert service.closed("head_timeout") == 1


def test_a_head_without_end_is_refused(service: Any) -> None:
    assert raw(service, b"GET / HTTP/1.1\r\nA: " + b"a" * 65_600).startswith(b"HTTP/1.1 400 ")


def test_what_is_no_http_is_a_bad_request(service: Any) -> None:
    assert raw(service, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").startswith(b"HTTP/1.1 400 ")


def test_a_new_connection_takes_the_place_of_the_one_that_has_been_idle_longest(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(http={"limits": replace(LIMITS, max_connections=2)})
    host, port = service.http_address.split(":")
    with ExitStack() as opened:
        idle, busy = (opened.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(2))
        busy.sendall(UNFINISHED)
        wait_until(lambda: service.admission.room.requests == 1)
        for _ in range(5):
            assert send(service, request()).status == 200
        assert service.closed("limit") >= 1
        assert idle.recv(1) == b""
        busy.sendall(b"}" + b" " * 98)
        assert busy.recv(12) == b"HTTP/1.1 200"
    assert sum("max_connections is 2" in record.message for record in caplog.records) == 1


def test_a_connection_is_refused_while_all_have_a_request_in_progress(serve: Callable[..., Any]) -> None:
    service = serve(http={"limits": replace(LIMITS, max_connections=1)})
    host, port = service.http_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as busy:
        busy.sendall(UNFINISHED)
        wait_until(lambda: service.admission.room.requests == 1)
        assert raw(service, b"") == b""
        assert service.closed("refused") == 1


def test_a_sender_that_hangs_up_leaves_nothing_behind(service: Any) -> None:
    host, port = service.http_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(UNFINISHED)
        wait_until(lambda: service.admission.room.requests == 1)
    wait_until(lambda: service.admission.room.requests == 0)

    assert service.received() == []


def test_sixty_four_clients_at_once_are_all_served(service: Any) -> None:
    sent = [request(i + 1) for i in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda body: send(service, gzip.compress(body), coding="gzip"), sent))

    assert [answer.status for answer in answers] == [200] * 64
    assert sorted(service.bodies()) == sorted(sent)


def test_stopping_finishes_what_is_in_flight(serve: Callable[..., Any]) -> None:
    started, go_on = threading.Event(), threading.Event()

    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        started.set()
        assert go_on.wait(10)
        return Decoded(items=1)

    service = serve(decode=decode)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, service, request())
        assert started.wait(10)
        stopping = asyncio.run_coroutine_threadsafe(service.http.stop(10.0), service.loop)
        wait_until(lambda: refuses(service))
        assert not stopping.done()
        go_on.set()
        assert answer.result(10).status == 200
        stopping.result(10)

    assert len(service.received()) == 1


def refuses(service: Any) -> bool:
    host, port = service.http_address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        return True
    return False


def test_what_outlasts_the_grace_time_is_sent_elsewhere(serve: Callable[..., Any]) -> None:
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(raw, service, UNFINISHED)
        wait_until(lambda: service.admission.room.requests == 1)
        service.run(service.http.stop(0.0))
        assert answer.result(10).startswith(b"HTTP/1.1 503 ")


def test_an_idle_connection_does_not_hold_up_the_stop(serve: Callable[..., Any]) -> None:
    service = serve()
    host, port = service.http_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        # Answered once, so that it is sure to have been taken in.
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(1) == b"H"
        service.run(service.http.stop(20.0))
        while connection.recv(1024):
            pass


def test_a_port_in_use_is_an_error_with_the_key_and_the_address(service: Any) -> None:
    second = HttpReceiver(service.http_address, service.admission, lambda _, body: (body, 0))
    with pytest.raises(OSError, match="address already in use") as caught:
        service.run(second.start())

    assert str(caught.value) == (
        f"receivers.otlp.protocols.http: cannot listen on {service.http_address}: address already in use"
    )
    service.run(second.stop(0.0))


def test_signals_and_logging_are_left_alone(service: Any) -> None:
    async def serve_in_the_main_thread(admission: Admission) -> object:
        receiver = HttpReceiver("localhost:0", admission, lambda _, body: (body, 0))
        await receiver.start()
        handler = signals.getsignal(signals.SIGTERM)
        await receiver.stop(0.0)
        return handler

    before = signals.getsignal(signals.SIGTERM)
    assert asyncio.run(serve_in_the_main_thread(service.admission)) is before
