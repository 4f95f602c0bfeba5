"""The senders of originals, and the forwarder with them, against raw sinks on real sockets."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector_processor.columns.batch import Decoded
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import RetryPolicy, Sender
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.journal.base import Request, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry
from support.ports import free_port
from support.waiting import wait_until

BODY = b"\x0a\x07\x0a\x05\xf2\x3e\x02hi" + b"\xc2\x3e\x05later" + bytes(range(256))
"""Not valid OTLP even: a sender that looked inside would stumble."""
SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")
SERVICES: Mapping[Signal, str] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
Protocol = Literal["grpc", "http"]
QUICK = RetryPolicy(initial_s=0.05, max_s=0.05, max_elapsed_s=30.0)


@dataclass
class Sink:
    """What a sink got and what it answers."""

    address: str = ""
    got: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    answer: bytes = b""
    status: int = 200
    code: grpc.StatusCode | None = None
    trailers: dict[str, str | bytes] = field(default_factory=dict[str, str | bytes])
    hang: threading.Event | None = None

    def bodies(self) -> list[bytes]:
        return [body for _, body in self.got]


@contextmanager
def grpc_sink(sink: Sink, port: int = 0) -> Iterator[None]:
    def handler(signal: Signal) -> grpc.GenericRpcHandler:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            sink.headers.append({key: str(value) for key, value in context.invocation_metadata()})
            sink.got.append((signal, body))
            if sink.hang is not None:
                sink.hang.wait(20)
            if sink.code is not None:
                context.set_trailing_metadata(tuple(sink.trailers.items()))
                context.abort(sink.code, "said the sink")
            return sink.answer

        method = grpc.unary_unary_rpc_method_handler(export)
        return grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": method})

    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, [handler(signal) for signal in SIGNALS], options=[("grpc.so_reuseport", 0)])
        sink.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait(10)


@contextmanager
def http_sink(sink: Sink, port: int = 0) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            sink.headers.append({name.lower(): value for name, value in self.headers.items()})
            sink.got.append((self.path.rpartition("/")[2], body))
            if sink.hang is not None:
                sink.hang.wait(20)
            self.send_response(sink.status)
            self.send_header("Content-Length", str(len(sink.answer)))
            for name, value in sink.trailers.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(sink.answer)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sink.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def sink_of(protocol: Protocol, sink: Sink, port: int = 0) -> AbstractContextManager[None]:
    return (grpc_sink if protocol == "grpc" else http_sink)(sink, port)  # pyright: ignore[reportReturnType]


def sender_of(protocol: Protocol, sink: Sink, **options: object) -> Sender:
    return (GrpcSender if protocol == "grpc" else HttpSender)(sink.address, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_signal_arrives_byte_for_byte(protocol: Protocol, compression: str) -> None:
    sink = Sink()
    with sink_of(protocol, sink), closing(sender_of(protocol, sink, compression=compression)) as sender:
        outcomes = [sender.send(signal, BODY, 5.0).outcome for signal in SIGNALS]

    assert outcomes == ["sent"] * 3
    assert sink.got == [(signal, BODY) for signal in SIGNALS]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_headers_go_with_every_request(protocol: Protocol) -> None:
    sink = Sink()
    with (
        sink_of(protocol, sink),
        closing(sender_of(protocol, sink, headers={"X-Api-Key": "s3cret", "authorization": "Bearer t"})) as sender,
    ):
        sender.send("traces", BODY, 5.0)

    assert (sink.headers[0]["x-api-key"], sink.headers[0]["authorization"]) == ("s3cret", "Bearer t")


def test_http_says_what_it_sends() -> None:
    sink = Sink()
    with http_sink(sink), closing(HttpSender(f"http://{sink.address}/")) as sender:
        sender.send("traces", BODY, 5.0)

    assert sink.headers[0]["content-type"] == "application/x-protobuf"
    assert sink.headers[0]["content-encoding"] == "gzip"


@pytest.mark.parametrize("prefix", ["", "http://"])
def test_a_grpc_endpoint_may_have_a_scheme(prefix: str) -> None:
    sink = Sink()
    with grpc_sink(sink), closing(GrpcSender(prefix + sink.address)) as sender:
        assert sender.send("traces", BODY, 5.0).outcome == "sent"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_partial_success_tells_how_many_were_rejected(protocol: Protocol, signal: Signal) -> None:
    answers = {
        "traces": ExportTraceServiceResponse(partial_success={"rejected_spans": 2}),
        "logs": ExportLogsServiceResponse(partial_success={"rejected_log_records": 2}),
        "metrics": ExportMetricsServiceResponse(partial_success={"rejected_data_points": 2}),
    }
    sink = Sink(answer=answers[signal].SerializeToString())
    with sink_of(protocol, sink), closing(sender_of(protocol, sink)) as sender:
        delivery = sender.send(signal, BODY, 5.0)

    assert (delivery.outcome, delivery.rejected) == ("sent", 2)


RETRY_INFO = RetryInfo(retry_delay=Duration(seconds=7, nanos=500_000_000))


def details() -> bytes:
    status = Status(code=14)
    status.details.add().Pack(Duration(seconds=1))
    status.details.add().Pack(RETRY_INFO)
    return status.SerializeToString()


@pytest.mark.parametrize(
    ("code", "trailers", "outcome", "asked_s"),
    [
        (grpc.StatusCode.UNAVAILABLE, {}, "retry", None),
        (grpc.StatusCode.DEADLINE_EXCEEDED, {}, "retry", None),
        (grpc.StatusCode.ABORTED, {}, "retry", None),
        (grpc.StatusCode.CANCELLED, {}, "retry", None),
        (grpc.StatusCode.OUT_OF_RANGE, {}, "retry", None),
        (grpc.StatusCode.DATA_LOSS, {}, "retry", None),
        (grpc.StatusCode.UNAVAILABLE, {"google.rpc.retryinfo-bin": RETRY_INFO.SerializeToString()}, "retry", 7.5),
        (grpc.StatusCode.UNAVAILABLE, {"grpc-status-details-bin": details()}, "retry", 7.5),
        (grpc.StatusCode.UNAVAILABLE, {"grpc-status-details-bin": b"\xff"}, "retry", None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, {}, "refused", None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, {"grpc-status-details-bin": details()}, "retry", 7.5),
        (grpc.StatusCode.INVALID_ARGUMENT, {}, "refused", None),
        (grpc.StatusCode.PERMISSION_DENIED, {}, "refused", None),
        (grpc.StatusCode.UNIMPLEMENTED, {}, "refused", None),
        (grpc.StatusCode.INTERNAL, {}, "refused", None),
        (grpc.StatusCode.UNKNOWN, {}, "refused", None),
    ],
)
def test_grpc_codes_mean_what_otlp_says(
    code: grpc.StatusCode, trailers: dict[str, str | bytes], outcome: str, asked_s: float | None
) -> None:
    sink = Sink(code=code, trailers=trailers)
    with grpc_sink(sink), closing(GrpcSender(sink.address)) as sender:
        delivery = sender.send("traces", BODY, 5.0)

    assert (delivery.outcome, delivery.retry_after_s) == (outcome, asked_s)
    assert delivery.message == f"{code.name}: said the sink"


@pytest.mark.parametrize(
    ("status", "trailers", "outcome", "asked_s"),
    [
        (202, {}, "sent", None),
        (429, {}, "retry", None),
        (502, {}, "retry", None),
        (503, {"Retry-After": "7"}, "retry", 7.0),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, "retry", 0.0),
        (503, {"Retry-After": "soon"}, "retry", None),
        (503, {"Retry-After": "-3"}, "retry", None),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 +99999999999999"}, "retry", None),
        (503, {"Retry-After": "Mon, 01 Jan 0001 00:00:00 -0000"}, "retry", 0.0),
        (503, {"Retry-After": "9" * 400}, "retry", float("inf")),
        (504, {}, "retry", None),
        (400, {"Retry-After": "7"}, "refused", None),
        (401, {}, "refused", None),
        (404, {}, "refused", None),
        (413, {}, "refused", None),
        (500, {}, "refused", None),
        (501, {}, "refused", None),
        (302, {"Location": "/elsewhere"}, "refused", None),
    ],
)
def test_http_statuses_mean_what_otlp_says(
    status: int, trailers: dict[str, str | bytes], outcome: str, asked_s: float | None
) -> None:
    said = b"" if status == 202 else Status(code=3, message="said the sink").SerializeToString()
    sink = Sink(status=status, trailers=trailers, answer=said)
    with http_sink(sink), closing(HttpSender(sink.address)) as sender:
        delivery = sender.send("traces", BODY, 5.0)

    assert (delivery.outcome, delivery.retry_after_s) == (outcome, asked_s)
    assert outcome == "sent" or delivery.message.startswith(str(status))
    assert outcome == "sent" or delivery.message.endswith("said the sink") or status == 302
    assert len(sink.got) == 1


@pytest.mark.parametrize("answer", [b"<html>no protobuf</html>", b"\xff" * 1_000_000])
@pytest.mark.parametrize("status", [200, 400])
def test_http_answers_that_are_no_protobuf_do_no_harm(status: int, answer: bytes) -> None:
    sink = Sink(status=status, answer=answer)
    with http_sink(sink), closing(HttpSender(sink.address)) as sender:
        assert sender.send("traces", BODY, 5.0).outcome == ("sent" if status == 200 else "refused")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_destination_that_hangs_is_tried_again(protocol: Protocol) -> None:
    sink = Sink(hang=threading.Event())
    with sink_of(protocol, sink), closing(sender_of(protocol, sink)) as sender:
        assert sender.send("traces", BODY, 0.1).outcome == "retry"
        assert sink.hang is not None
        sink.hang.set()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_destination_that_is_down_is_tried_again(protocol: Protocol) -> None:
    with closing(sender_of(protocol, Sink(address=f"127.0.0.1:{free_port()}"))) as sender:
        assert sender.send("traces", BODY, 5.0).outcome == "retry"


def test_an_endpoint_that_is_none_is_refused_not_tried_for_ever() -> None:
    with closing(HttpSender("http://[bad")) as sender:
        assert sender.send("traces", BODY, 5.0).outcome == "refused"


def test_a_closed_grpc_sender_does_not_raise() -> None:
    sender = GrpcSender("127.0.0.1:1")
    sender.close()

    assert sender.send("traces", BODY, 5.0).outcome == "retry"


class Forwarding:
    def __init__(self, protocol: Protocol, sink: Sink, retry: RetryPolicy = QUICK) -> None:
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry)
        self.forwarder = OriginalsForwarder(
            protocol,
            self.journal,
            Connection(protocol, lambda: sender_of(protocol, sink)),
            self.telemetry,
            retry=retry,
            consumers=1,
        )
        self.protocol = protocol
        self.forwarder.start()

    def append(self, *bodies: bytes, signal: Signal = "traces") -> None:
        for body in bodies:
            self.journal.append(Request(signal, body, Decoded(items=1), 1, 0))

    def counted(self, verb: str, signal: Signal = "traces") -> float:
        name = f"otelcol_exporter_{verb}_{ITEMS[signal]}_total"
        return self.telemetry.registry.get_sample_value(name, {"exporter": self.protocol}) or 0.0

    def done(self) -> bool:
        return self.journal.lag(self.protocol) == 0

    def close(self) -> None:
        self.forwarder.shutdown(5.0)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_destination_that_comes_back_gets_everything_in_order(protocol: Protocol) -> None:
    port = free_port()
    sink = Sink(address=f"127.0.0.1:{port}")
    bodies = [b"%d" % i for i in range(10)]
    with closing(Forwarding(protocol, sink)) as running:
        running.append(*bodies[:5])
        wait_until(lambda: running.journal.lag(protocol) == 5)
        with sink_of(protocol, sink, port):
            running.append(*bodies[5:])
            wait_until(running.done)

    assert sink.bodies() == bodies
    assert running.counted("sent") == 10


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_destination_that_refuses_everything_is_not_asked_twice(protocol: Protocol) -> None:
    sink = Sink(status=400, code=grpc.StatusCode.INVALID_ARGUMENT)
    with sink_of(protocol, sink), closing(Forwarding(protocol, sink)) as running:
        running.append(b"a", b"b", b"c")
        wait_until(running.done)

    assert sink.bodies() == [b"a", b"b", b"c"]
    assert running.counted("send_failed") == 3


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_shutdown_delivers_what_is_left(protocol: Protocol) -> None:
    sink = Sink()
    with sink_of(protocol, sink):
        running = Forwarding(protocol, sink)
        running.append(*[b"%d" % i for i in range(20)])
        running.close()

    assert len(sink.got) == 20
    assert running.done()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_shutdown_gives_a_hanging_destination_up(protocol: Protocol) -> None:
    sink = Sink(hang=threading.Event())
    with sink_of(protocol, sink):
        running = Forwarding(protocol, sink)
        running.append(b"a", b"b")
        wait_until(lambda: bool(sink.got))
        running.forwarder.shutdown(0.2)
        assert sink.hang is not None
        sink.hang.set()

    assert not running.done()
