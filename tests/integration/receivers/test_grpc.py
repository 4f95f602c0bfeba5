"""OTLP/gRPC on a raw channel: every status, limits, keepalive, shutdown."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.journal.base import Signal
from collector_processor.receivers.otlp.grpc import SERVICES, GrpcReceiver

MIB = 2**20
UNICODE = "Merkmal «größe» fehlt: 价格 🚀\n"


def request(spans: int = 1) -> bytes:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for i in range(spans):
        scope.spans.add(name=f"predict {i}", trace_id=bytes(16), span_id=bytes(8))
    return message.SerializeToString()


@pytest.fixture
def channel() -> Iterator[Callable[..., grpc.Channel]]:
    channels: list[grpc.Channel] = []

    def connect(service: Any, **options: Any) -> grpc.Channel:
        unlimited = [("grpc.max_send_message_length", -1), *options.pop("options", ())]
        channels.append(grpc.insecure_channel(service.grpc_address, options=unlimited, **options))
        return channels[-1]

    yield connect
    for opened in channels:
        opened.close()


def method(opened: grpc.Channel, signal: Signal = "traces") -> Callable[..., bytes]:
    return opened.unary_unary(f"/{SERVICES[signal]}/Export")


def error_of(call: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def status_of(error: Any) -> Status:
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    return Status.FromString(trailers["grpc-status-details-bin"])


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_an_empty_request_succeeds(service: Any, channel: Callable[..., grpc.Channel], signal: Signal) -> None:
    assert method(channel(service), signal)(b"", timeout=10) == b""


def test_unknown_fields_arrive_as_they_were_sent(service: Any, channel: Callable[..., grpc.Channel]) -> None:
    sent = request() + b"\xc2\x3e\x05later"

    assert method(channel(service))(sent, timeout=10) == b""
    assert service.bodies() == [sent]


@pytest.mark.parametrize("coding", list(grpc.Compression))
def test_all_of_grpc_s_codings_are_understood(
    service: Any, channel: Callable[..., grpc.Channel], coding: grpc.Compression
) -> None:
    sent = request(500)

    method(channel(service, compression=coding))(sent, timeout=10)
    assert service.bodies() == [sent]


def test_a_partial_success_says_how_many_and_why(
    serve: Callable[..., Any], channel: Callable[..., grpc.Channel]
) -> None:
    service = serve(decode=lambda *_: Decoded(items=5, rejected=2, message=UNICODE))
    answer = method(channel(service))(request(), timeout=10)

    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert (partial.rejected_spans, partial.error_message) == (2, UNICODE)


@pytest.mark.parametrize("sent", [b"\xff\xff\xff", b"\x0a\x05abc", b'{"resourceSpans":[]}'])
def test_garbage_is_an_invalid_argument(service: Any, channel: Callable[..., grpc.Channel], sent: bytes) -> None:
    error = error_of(lambda: method(channel(service))(sent, timeout=10))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an OTLP traces request" in error.details()
    assert status_of(error).code == code_pb2.INVALID_ARGUMENT
    assert service.counted("failed", "grpc") == 1


def test_a_cut_gzip_stream_is_an_invalid_argument(service: Any, channel: Callable[..., grpc.Channel]) -> None:
    error = error_of(lambda: method(channel(service))(gzip.compress(request(50))[:-9], timeout=10))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ends too early" in error.details()


def test_messages_come_through_in_any_script_and_bounded(
    serve: Callable[..., Any], channel: Callable[..., grpc.Channel]
) -> None:
    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        raise MalformedRequestError(UNICODE + "价" * 100_000)

    error = error_of(lambda: method(channel(serve(decode=decode)))(request(), timeout=10))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(UNICODE)
    assert len(error.details()) < 1024
    assert status_of(error).message == error.details()


def test_a_request_over_the_limit_is_refused_for_good(
    serve: Callable[..., Any], channel: Callable[..., grpc.Channel]
) -> None:
    service = serve(grpc={"max_bytes": MIB})
    method(channel(service))(request(), timeout=10)
    error = error_of(lambda: method(channel(service))(bytes(2 * MIB), timeout=10))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not error.trailing_metadata()


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_request_over_the_limit_is_refused_for_good(
    serve: Callable[..., Any], channel: Callable[..., grpc.Channel], coding: grpc.Compression
) -> None:
    service = serve(grpc={"max_bytes": MIB})
    error = error_of(lambda: method(channel(service, compression=coding))(bytes(2 * MIB), timeout=10))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status_of(error).details == []
    assert "google.rpc.retryinfo-bin" not in [item.key for item in error.trailing_metadata()]
    assert service.counted("refused", "grpc") == 1


def test_a_bomb_is_refused_in_little_memory(serve: Callable[..., Any], channel: Callable[..., grpc.Channel]) -> None:
    service = serve(grpc={"max_bytes": 4 * MIB})
    bomb = gzip.compress(bytes(64 * MIB)) * 16
    tracemalloc.start()
    try:
        error = error_of(lambda: method(channel(service))(bomb, timeout=30))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak < 24 * MIB


def test_busy_says_when_to_come_back_in_both_places(
    serve: Callable[..., Any], channel: Callable[..., grpc.Channel]
) -> None:
    service = serve(admission={"max_requests": 0, "retry_after_s": 2.5})
    error = error_of(lambda: method(channel(service))(request(), timeout=10))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    direct, packed = RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]), RetryInfo()
    assert status_of(error).details[0].Unpack(packed)
    assert direct == packed
    assert direct.retry_delay.ToTimedelta().total_seconds() == 2.5
    assert service.received() == []


def test_a_full_journal_is_busy(serve: Callable[..., Any], channel: Callable[..., grpc.Channel]) -> None:
    service = serve()
    service.journal.close()

    assert error_of(lambda: method(channel(service))(request(), timeout=10)).code() is grpc.StatusCode.UNAVAILABLE


def test_an_unexpected_error_is_internal(serve: Callable[..., Any], channel: Callable[..., grpc.Channel]) -> None:
    service = serve(decode=lambda *_: 1 / 0)
    error = error_of(lambda: method(channel(service))(request(), timeout=10))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "division" not in error.details()


@pytest.mark.parametrize("path", [f"/{SERVICES['traces']}/Import", "/some.Service/Export"])
def test_an_unknown_method_is_unimplemented(service: Any, channel: Callable[..., grpc.Channel], path: str) -> None:
    error = error_of(lambda: channel(service).unary_unary(path)(b"", timeout=10))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_body_that_does_not_come_times_out(serve: Callable[..., Any], channel: Callable[..., grpc.Channel]) -> None:
    service = serve(grpc={"body_timeout_s": 0.1})
    done = threading.Event()

    def never() -> Iterator[bytes]:
        done.wait(20)
        yield b""

    call = channel(service).stream_unary(f"/{SERVICES['traces']}/Export")
    error = error_of(lambda: call(never(), timeout=10))
    done.set()

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "did not arrive within 0.1 s" in error.details()


def test_a_stream_without_a_message_is_refused(service: Any, channel: Callable[..., grpc.Channel]) -> None:
    call = channel(service).stream_unary(f"/{SERVICES['traces']}/Export")

    assert error_of(lambda: call(iter(()), timeout=10)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert service.admission.room.requests == 0


def test_sixty_four_clients_at_once_are_all_served(service: Any, channel: Callable[..., grpc.Channel]) -> None:
    sent = [request(i + 1) for i in range(64)]
    calls = [method(channel(service, options=[("grpc.use_local_subchannel_pool", 1)])) for _ in sent]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda call, body: call(body, timeout=30), calls, sent))

    assert answers == [b""] * 64
    assert sorted(service.bodies()) == sorted(sent)


def frames(connection: socket.socket) -> Iterator[tuple[int, int]]:
    """Type and flags of each HTTP/2 frame that comes."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            stream.read(int.from_bytes(head[:3], "big"))
            yield head[3], head[4]


def test_pings_are_welcome_however_many(service: Any) -> None:
    settings, ping, goaway, ack = 4, 6, 7, 1
    pings = 30
    host, port = service.grpc_address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, settings, 0, 0, 0, 0, 0]))
        answered = 0
        for kind, flags in frames(connection):
            assert kind != goaway
            if kind == settings and flags == ack:
                connection.sendall(bytes([0, 0, 8, ping, 0, 0, 0, 0, 0]) + bytes(8))
            answered += kind == ping and flags == ack
            if kind == ping and answered < pings:
                connection.sendall(bytes([0, 0, 8, ping, 0, 0, 0, 0, 0]) + bytes(8))
            if answered == pings:
                break

    assert answered == pings


def test_stopping_finishes_what_is_in_flight(serve: Callable[..., Any], channel: Callable[..., grpc.Channel]) -> None:
    started, go_on = threading.Event(), threading.Event()

    def decode(signal: Signal, body: bytes, received_ns: int) -> Decoded:
        started.set()
        assert go_on.wait(10)
        return Decoded(items=1)

    service = serve(decode=decode)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(method(channel(service)), request(), timeout=10)
        assert started.wait(10)
        stopping = asyncio.run_coroutine_threadsafe(service.grpc.stop(10.0), service.loop)
        assert not stopping.done()
        go_on.set()
        assert call.result(10) == b""
        stopping.result(10)

    assert len(service.received()) == 1
    late = error_of(lambda: method(channel(service))(request(), timeout=10))
    assert late.code() is grpc.StatusCode.UNAVAILABLE


def test_a_port_in_use_is_an_error_with_the_key_and_the_address(service: Any) -> None:
    second = GrpcReceiver(service.grpc_address, service.admission)
    with pytest.raises(OSError, match="address already in use") as caught:
        service.run(second.start())

    assert str(caught.value) == (
        f"receivers.otlp.protocols.grpc: cannot listen on {service.grpc_address}: address already in use"
    )
    service.run(second.stop(0.0))


def test_a_receiver_can_be_started_again_on_its_port(serve: Callable[..., Any]) -> None:
    service = serve()
    service.run(service.grpc.stop(0.0))
    again = GrpcReceiver(service.grpc_address, service.admission)
    service.run(again.start())
    service.run(again.stop(0.0))

    assert again.port == service.grpc.port


def test_localhost_serves_every_address_of_it(service: Any) -> None:
    receiver = GrpcReceiver("localhost:0", service.admission)
    service.run(receiver.start())
    with closing(grpc.insecure_channel(f"localhost:{receiver.port}")) as opened:
        assert method(opened)(b"", timeout=10) == b""
    service.run(receiver.stop(0.0))
