"""The OTLP exporter against real gRPC and HTTP servers that speak the official protobuf."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Literal

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.exporters.otlp.connection import connect
from collector_processor.exporters.otlp.exporter import OtlpExporter
from collector_processor.exporters.otlp.settings import OtlpSettings
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

QUICK = RetryPolicy(initial_s=0.02, max_s=0.1, max_elapsed_s=0, jitter=0.0)
ONCE = RetryPolicy(enabled=False)
MODEL = ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))
NOON = 1_750_000_000 * 10**9
Protocol = Literal["grpc", "http"]
PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http"])


class Sink:
    """What both servers share: the answers to give first, and what arrived in requests that were taken."""

    endpoint: str
    port: int

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.tries = 0
        self.changed = threading.Condition()

    def receive(self, request: ExportMetricsServiceRequest, headers: dict[str, str]) -> str:
        """Takes note of a request; returns what to answer, the empty string for success."""
        with self.changed:
            self.tries += 1
            answer = self.answers.pop(0) if self.answers else ""
            if answer in ("", "partial"):
                self.requests.append(request)
                self.headers.append(headers)
            self.changed.notify_all()
            return answer

    def wait_for(self, done: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(done, timeout=20)

    def values(self) -> list[float]:
        return [
            point.as_double
            for request in self.requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in (metric.gauge.data_points or metric.sum.data_points)
        ]


def partial(answer: str) -> ExportMetricsServiceResponse:
    response = ExportMetricsServiceResponse()
    if answer == "partial":
        response.partial_success.rejected_data_points = 1
        response.partial_success.error_message = "one too many"
    return response


class GrpcSink(Sink, MetricsServiceServicer):
    CODES: ClassVar = {"bad": grpc.StatusCode.INVALID_ARGUMENT, "busy": grpc.StatusCode.UNAVAILABLE}

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        super().__init__()
        self._server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        add_MetricsServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def Export(
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        answer = self.receive(request, dict(context.invocation_metadata()))
        if answer in self.CODES:
            asked = RetryInfo(retry_delay=Duration(nanos=1_000_000)).SerializeToString()
            context.set_trailing_metadata((("google.rpc.retryinfo-bin", asked),))
            context.abort(self.CODES[answer], f"the sink is {answer}")
        return partial(answer)

    def close(self) -> None:
        self._server.stop(None).wait(10)


class HttpSink(Sink):
    STATUS: ClassVar = {"bad": 400, "busy": 503}

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/metrics"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = sink.receive(ExportMetricsServiceRequest.FromString(body), headers)
                response = partial(answer).SerializeToString()
                self.send_response(sink.STATUS.get(answer, 200))
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._scheme = "http"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


SINKS: dict[str, type[GrpcSink] | type[HttpSink]] = {"grpc": GrpcSink, "http": HttpSink}


@pytest.fixture
def sink(protocol: Protocol) -> Iterator[GrpcSink | HttpSink]:
    one = SINKS[protocol]()
    yield one
    one.close()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def build(protocol: Protocol, telemetry: Telemetry) -> Iterator[Callable[..., OtlpExporter]]:
    built: list[OtlpExporter] = []

    def make(
        endpoint: str,
        *,
        insecure: bool = True,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
        compression: str = "gzip",
        **more: object,
    ) -> OtlpExporter:
        tls = {"insecure": insecure, "ca_file": ca_file}
        settings = OtlpSettings.model_validate(
            {"endpoint": endpoint, "tls": tls, "headers": headers or {}, "compression": compression}
        )
        name = f"otlp_{protocol}/test"
        named = {"instance_id": "one", "retry": QUICK, **more}
        connection = connect(
            settings, ExporterContext(name, telemetry, "one", expiration_s=300.0, max_series=1000), protocol
        )
        one = OtlpExporter(name, connection, telemetry, **named)  # type: ignore[arg-type]  # by name
        one.start()
        built.append(one)
        return one

    yield make
    for one in built:
        one.shutdown(5)


def counted(telemetry: Telemetry, verb: str) -> float:
    name = f"otelcol_exporter_{verb}_metric_points_total"
    return sum(
        telemetry.registry.get_sample_value(name, {"exporter": f"otlp_{protocol}/test"}) or 0.0
        for protocol in ("grpc", "http")
    )


def rows(value: float, time_ns: int = NOON) -> Measurement:
    return Measurement(semconv.WINDOW_ROWS, value, semconv.UNIT_ROW, MODEL, time_ns)


def predictions(value: float, time_ns: int) -> Measurement:
    return Measurement(semconv.PREDICTIONS, value, semconv.UNIT_PREDICTION, MODEL, time_ns, "counter", NOON)


@PROTOCOLS
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_measurements_arrive_as_they_are(
    sink: Sink, build: Callable[..., OtlpExporter], telemetry: Telemetry, compression: str
) -> None:
    exporter = build(
        sink.endpoint,
        compression=compression,
        headers={"X-Token": "secret"},
        instance_id="one",
        timestamps="window_end",
    )
    exporter.export([rows(500.0), predictions(7.0, NOON + 5)])
    exporter.shutdown(10)
    (request,) = sink.requests
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "otel-ml",
        "service.instance.id": "one",
    }
    assert scope.scope.name == semconv.PROCESSOR_SCOPE
    gauge, counter = scope.metrics
    assert (gauge.name, gauge.gauge.data_points[0].time_unix_nano) == (semconv.WINDOW_ROWS, NOON)
    assert (counter.name, counter.sum.data_points[0].start_time_unix_nano) == (semconv.PREDICTIONS, NOON)
    assert sink.values() == [500.0, 7.0]
    assert sink.headers[0]["x-token"] == "secret"
    assert counted(telemetry, "sent") == 2


@PROTOCOLS
def test_a_busy_destination_is_tried_again_and_gets_everything_once(
    sink: Sink, build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    sink.answers = ["busy", "busy", "busy"]
    exporter = build(sink.endpoint)
    for value in (1.0, 2.0):
        exporter.export([rows(value)])
    sink.wait_for(lambda: len(sink.requests) == 2)
    exporter.shutdown(10)
    assert (sink.values(), sink.tries) == ([1.0, 2.0], 5)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (2, 0)


@PROTOCOLS
def test_what_the_destination_calls_bad_is_not_tried_again(
    sink: Sink, build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    sink.answers = ["bad"]
    exporter = build(sink.endpoint)
    for value in (1.0, 2.0):
        exporter.export([rows(value)])
    exporter.shutdown(10)
    assert (sink.values(), sink.tries) == ([2.0], 2)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (1, 1)


@PROTOCOLS
def test_points_that_are_rejected_in_a_partial_success_are_counted_as_failed(
    sink: Sink, build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    sink.answers = ["partial"]
    exporter = build(sink.endpoint)
    exporter.export([rows(1.0), rows(2.0), rows(3.0)])
    exporter.shutdown(10)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (2, 1)


@PROTOCOLS
def test_a_destination_that_comes_up_later_gets_what_waited(
    protocol: Protocol, build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    exporter = build(f"127.0.0.1:{port}")
    exporter.export([rows(1.0)])
    exporter.export([rows(2.0)])
    sink = SINKS[protocol](port)
    sink.wait_for(lambda: len(sink.requests) == 2)
    exporter.shutdown(10)
    sink.close()
    assert sink.values() == [1.0, 2.0]
    assert counted(telemetry, "sent") == 2


@PROTOCOLS
def test_a_destination_that_is_gone_is_given_up_at_shutdown(
    build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    exporter = build(f"127.0.0.1:{port}")
    exporter.export([rows(1.0)] * 4)
    exporter.shutdown(5)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (0, 4)


@PROTOCOLS
def test_a_destination_that_never_answers_does_not_hold_up_the_shutdown(
    build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        exporter = build(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=3600)
        exporter.export([rows(1.0)])
        exporter.shutdown(0.3)
    assert counted(telemetry, "sent") == 0


@PROTOCOLS
def test_a_batch_beyond_the_limit_of_grpc_arrives_whole(sink: Sink, build: Callable[..., OtlpExporter]) -> None:
    exporter = build(sink.endpoint, compression="none", timeout_s=30)
    feature = "x" * 2000
    exporter.export(
        [
            Measurement(semconv.DRIFT_SCORE, float(number), semconv.UNIT_SCORE, (*MODEL, ("feature", feature)), NOON)
            for number in range(4000)
        ]
    )
    exporter.shutdown(30)
    assert len(sink.requests) > 1
    assert max(request.ByteSize() for request in sink.requests) < 4 * 2**20
    assert sink.values() == [float(number) for number in range(4000)]


@PROTOCOLS
def test_delta_counters_lose_nothing_when_a_request_is_given_up(sink: Sink, build: Callable[..., OtlpExporter]) -> None:
    sink.answers = ["", "bad", ""]
    exporter = build(sink.endpoint, temporality="delta")
    for number, value in enumerate((5.0, 8.0, 20.0), start=1):
        exporter.export([predictions(value, NOON + number)])
    exporter.shutdown(10)
    assert sink.values() == [5.0, 15.0]


@PROTOCOLS
def test_tls_is_never_given_up_for_plain_text(
    sink: Sink, build: Callable[..., OtlpExporter], telemetry: Telemetry
) -> None:
    for endpoint, insecure in ((f"https://127.0.0.1:{sink.port}", True), (f"127.0.0.1:{sink.port}", False)):
        exporter = build(endpoint, insecure=insecure, retry=ONCE, headers={"x-token": "secret"})
        exporter.export([rows(1.0)])
        exporter.shutdown(10)
    assert sink.tries == 0
    assert counted(telemetry, "send_failed") == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, which makes the certificate for this test")
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key),
            "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


@PROTOCOLS
def test_a_private_authority_is_trusted_when_named(
    protocol: Protocol, build: Callable[..., OtlpExporter], certificate: tuple[Path, Path], telemetry: Telemetry
) -> None:
    cert, key = certificate
    sink: GrpcSink | HttpSink
    if protocol == "grpc":
        sink = GrpcSink(credentials=grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        sink = HttpSink(context=context)
    for settings in ({"ca_file": cert}, {}):
        exporter = build(sink.endpoint, insecure=False, retry=ONCE, **settings)
        exporter.export([rows(1.0)])
        exporter.shutdown(10)
    sink.close()
    assert sink.values() == [1.0], "only with the authority named"
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (1, 1)
