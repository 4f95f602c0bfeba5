"""Several requests under way to one real destination: none holds up another, series keep their order, what is too
large arrives in parts, and a stop says what it leaves behind."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.columns.batch import Decoded
from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.otlp.component import OTLP_GRPC, OTLP_HTTP
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpHttpSettings
from collector_processor.journal.base import Request, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv
from support.servers import serving
from support.sinks import SERVICES
from support.waiting import wait_until

Protocol = Literal["grpc", "http"]
NAME = "otlp/x"
NEVER = {"initial_interval": "1h", "max_interval": "1h", "max_elapsed_time": "0"}


@dataclass
class Destination:
    """What came and was taken, in order; ``answer`` decides by the body: ok, later, never, or too large."""

    answer: Callable[[bytes], str] = lambda _: "ok"
    taken: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    tried: list[bytes] = field(default_factory=list[bytes])
    under_way: int = 0
    most: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""

    def handle(self, signal: str, body: bytes) -> str:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.tried.append(body)
        self.gate.wait(30)
        answer = self.answer(body)
        with self.lock:
            self.under_way -= 1
            if answer == "ok":
                self.taken.append((signal, body))
        return answer

    def bodies(self) -> list[bytes]:
        return [body for _, body in self.taken]


@contextmanager
def receiving(protocol: Protocol, destination: Destination) -> Iterator[None]:
    destination.gate.set()
    with ExitStack() as stack:
        if protocol == "http":
            statuses = {"ok": 200, "later": 503, "never": 400, "large": 413}

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_POST(self) -> None:
                    body = self.rfile.read(int(self.headers["content-length"]))
                    plain = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
                    self.send_response(statuses[destination.handle(self.path.rpartition("/")[2], plain)])
                    self.send_header("Content-Length", "0")
                    self.end_headers()

                def log_message(self, *_: object) -> None: ...

            destination.address = f"127.0.0.1:{stack.enter_context(serving(Handler)).server_port}"
        else:
            codes = {
                "later": (grpc.StatusCode.UNAVAILABLE, "later"),
                "never": (grpc.StatusCode.INVALID_ARGUMENT, "never"),
                "large": (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)"),
            }

            def handler(signal: str) -> grpc.GenericRpcHandler:
                def export(body: bytes, context: grpc.ServicerContext) -> bytes:
                    answer = destination.handle(signal, body)
                    if answer != "ok":
                        context.abort(*codes[answer])
                    return b""

                method = grpc.unary_unary_rpc_method_handler(export)
                return grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": method})

            pool = stack.enter_context(ThreadPoolExecutor(32))
            options = [("grpc.max_receive_message_length", -1)]
            server = grpc.server(pool, [handler(signal) for signal in SERVICES], options=options)
            destination.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            stack.callback(lambda: server.stop(None).wait(10))
        yield


class Service:
    """A forwarder and an exporter of measurements to one destination, as the service builds them."""

    def __init__(self, protocol: Protocol, address: str, **settings: Any) -> None:
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry)
        retry = {"initial_interval": "10ms", "max_interval": "10ms", "max_elapsed_time": "0"}
        kind, component = (OtlpGrpcSettings, OTLP_GRPC) if protocol == "grpc" else (OtlpHttpSettings, OTLP_HTTP)
        chosen: Any = kind.model_validate(
            {"endpoint": f"http://{address}", "timeout": "20s", "retry_on_failure": retry, **settings}
        )
        context = ExporterContext(NAME, self.telemetry, "one", expiration_s=60.0, max_series=1000)
        assert component.originals is not None
        assert component.measurements is not None
        self.forwarder = component.originals(chosen, context, self.journal, ())
        self.exporter = component.measurements(chosen, context)
        self.forwarder.start()
        self.exporter.start()

    def forward(self, *bodies: bytes, signal: Signal = "traces", items: int = 1, gzipped: bool = False) -> None:
        for body in bodies:
            came = gzip.compress(body) if gzipped else b""
            self.journal.append(Request(signal, body, Decoded(items=items), items, 0, came))

    def counted(self, verb: str, what: str = "spans") -> float:
        name = f"otelcol_exporter_{verb}_{what}_total"
        return self.telemetry.registry.get_sample_value(name, {"exporter": NAME}) or 0.0

    def close(self, timeout_s: float = 20.0) -> None:
        self.forwarder.shutdown(timeout_s)
        self.exporter.shutdown(timeout_s)


@pytest.fixture
def run() -> Iterator[Callable[..., Service]]:
    with ExitStack() as stack:

        def start(protocol: Protocol, destination: Destination, **settings: Any) -> Service:
            stack.enter_context(receiving(protocol, destination))
            service = Service(protocol, destination.address, **settings)
            stack.callback(lambda: (destination.gate.set(), service.close(0.1)))
            return service

        yield start


EACH = pytest.mark.parametrize("protocol", ["grpc", "http"])


def spans(*names: str, size: int = 0) -> bytes:
    made = [Span(name=name, trace_state="x" * size) for name in names]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=made)])]
    ).SerializeToString()


def span_names(body: bytes) -> list[str]:
    return [
        span.name
        for rs in ExportTraceServiceRequest.FromString(body).resource_spans
        for ss in rs.scope_spans
        for span in ss.spans
    ]


def all_names(destination: Destination) -> list[str]:
    return sorted(name for body in destination.bodies() for name in span_names(body))


def points(*texts: str) -> bytes:
    made = [Metric(name=text, gauge=Gauge(data_points=[NumberDataPoint(as_int=1)])) for text in texts]
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=made)])]
    ).SerializeToString()


@EACH
def test_as_many_requests_are_under_way_as_there_are_consumers(protocol: Protocol, run: Callable[..., Service]) -> None:
    destination = Destination()
    service = run(protocol, destination, sending_queue={"num_consumers": 4})
    destination.gate.clear()
    service.forward(*[b"%d" % number for number in range(20)])
    wait_until(lambda: destination.under_way == 4)
    destination.gate.set()
    wait_until(lambda: service.counted("sent") == 20)
    assert destination.most == 4
    assert sorted(destination.bodies()) == sorted(b"%d" % number for number in range(20))
    assert service.journal.lag(NAME) == 0


@EACH
def test_a_request_that_always_fails_holds_up_no_other(protocol: Protocol, run: Callable[..., Service]) -> None:
    destination = Destination(lambda body: "later" if b"poison" in body else "ok")
    service = run(protocol, destination)
    service.forward(b"poison", *[b"%d" % number for number in range(30)])
    wait_until(lambda: service.counted("sent") == 30)
    assert service.journal.lag(NAME) == 1, "what is done leaves the journal, although an earlier one is not"


@EACH
def test_a_model_that_always_fails_holds_up_no_other_and_keeps_its_order(
    protocol: Protocol, run: Callable[..., Service]
) -> None:
    poisoned = threading.Event()
    destination = Destination(lambda body: "later" if b"poison" in body and not poisoned.is_set() else "ok")
    service = run(protocol, destination)
    for number in range(10):
        for model in ("poison", "a", "b"):
            attributes = ((semconv.MODEL_NAME, model),)
            service.exporter.export([Measurement(f"m{number}", 1.0, "1", attributes, 10**18 + number)])
    wait_until(lambda: service.counted("sent", "metric_points") == 20)
    poisoned.set()
    wait_until(lambda: service.counted("sent", "metric_points") == 30)
    for model in (b"poison", b"a", b"b"):
        own = [
            re.findall(rb"m\d", body)[0]
            for body in destination.bodies()
            if b"\x0a" + bytes([len(model)]) + model in body
        ]
        assert own == [b"m%d" % number for number in range(10)], model


@EACH
def test_originals_of_metrics_keep_their_order_and_pass_nothing_on_to_others(
    protocol: Protocol, run: Callable[..., Service]
) -> None:
    failing = threading.Event()
    failing.set()
    destination = Destination(lambda body: "later" if b"metric0" in body and failing.is_set() else "ok")
    service = run(protocol, destination)
    service.forward(*[points(f"metric{number}") for number in range(8)], signal="metrics")
    service.forward(*[b"%d" % number for number in range(8)])
    wait_until(lambda: service.counted("sent") == 8)
    assert service.counted("sent", "metric_points") == 0
    failing.clear()
    wait_until(lambda: service.counted("sent", "metric_points") == 8)
    assert [body for signal, body in destination.taken if signal == "metrics"] == [
        points(f"metric{number}") for number in range(8)
    ]


@EACH
@pytest.mark.parametrize("gzipped", [False, True])
def test_what_is_too_large_arrives_in_parts(protocol: Protocol, run: Callable[..., Service], gzipped: bool) -> None:
    destination = Destination(lambda body: "large" if len(body) > 2000 else "ok")
    service = run(protocol, destination)
    names = [f"s{number}" for number in range(50)]
    service.forward(spans(*names, size=300), items=50, gzipped=gzipped)
    service.forward(spans("huge", size=5000), gzipped=gzipped)
    wait_until(lambda: service.counted("sent") + service.counted("send_failed") == 51)
    assert all_names(destination) == sorted(names)
    assert all(len(body) <= 2000 for body in destination.bodies())
    assert (service.counted("sent"), service.counted("send_failed")) == (50, 1), "a single span cannot be divided"
    assert service.journal.lag(NAME) == 0


@EACH
def test_a_part_that_fails_for_good_loses_only_itself(protocol: Protocol, run: Callable[..., Service]) -> None:
    destination = Destination(lambda body: "large" if len(body) > 2000 else "never" if b"poison" in body else "ok")
    service = run(protocol, destination)
    service.forward(spans(*[f"s{number}" for number in range(15)], "poison", size=300), items=16)
    wait_until(lambda: service.counted("sent") + service.counted("send_failed") == 16)
    assert 1 <= service.counted("send_failed") <= 5
    assert service.counted("sent") == len(all_names(destination))


@EACH
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_figures_that_are_too_large_arrive_in_parts(
    protocol: Protocol, run: Callable[..., Service], temporality: str
) -> None:
    destination = Destination(lambda body: "large" if len(body) > 4000 else "ok")
    service = run(protocol, destination, temporality=temporality)
    for round_ in (1, 2):
        service.exporter.export(
            [
                Measurement(
                    "ml.predictions", 5.0 * round_, "1", ((semconv.MODEL_NAME, f"model{number:03}"),), 10**18 + round_,
                    kind="counter", start_ns=1,
                )
                for number in range(200)
            ]
        )  # fmt: skip
        wait_until(lambda round_=round_: service.counted("sent", "metric_points") == 200 * round_)
    values: dict[str, list[float]] = {}
    for body in destination.bodies():
        for rm in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for point in rm.scope_metrics[0].metrics[0].sum.data_points:
                model = next(each.value.string_value for each in point.attributes if each.key == semconv.MODEL_NAME)
                values.setdefault(model, []).append(point.as_double)
    assert len(values) == 200
    assert {tuple(each) for each in values.values()} == {(5.0, 5.0) if temporality == "delta" else (5.0, 10.0)}
    assert service.counted("send_failed", "metric_points") == 0


@EACH
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_batch_is_sent_when_it_is_large_enough_and_never_too_large(
    protocol: Protocol, run: Callable[..., Service], gzipped: bool
) -> None:
    destination = Destination()
    batch = {"min_size": 10, "max_size": 12, "flush_timeout": "1h"}
    service = run(protocol, destination, sending_queue={"batch": batch})
    names = [f"s{number}" for number in range(60)]
    service.forward(*[spans(name) for name in names], gzipped=gzipped)
    wait_until(lambda: service.counted("sent") > 50)
    assert all(10 <= len(span_names(body)) <= 12 for body in destination.bodies())
    service.forward(spans(*names), items=60, gzipped=gzipped)
    wait_until(lambda: service.counted("sent") > 110)
    # What is left at a stop is sent without waiting for more.
    service.close()
    assert all_names(destination) == sorted(names * 2)
    assert all(len(span_names(body)) <= 12 for body in destination.bodies())
    assert service.journal.lag(NAME) == 0


@EACH
def test_a_batch_is_sent_after_its_time_and_has_one_signal(protocol: Protocol, run: Callable[..., Service]) -> None:
    destination = Destination()
    service = run(protocol, destination, sending_queue={"batch": {"flush_timeout": "50ms"}})
    service.forward(spans("a"), spans("b"))
    service.forward(points("c"), points("d"), signal="metrics")
    wait_until(lambda: service.counted("sent") == 2 and service.counted("sent", "metric_points") == 2)
    for signal, body in destination.taken:
        assert {"traces": b"a" in body or b"b" in body, "metrics": b"c" in body or b"d" in body}[signal]
    for number in range(3):
        service.exporter.export([Measurement(f"m{number}", 1.0, "1", ((semconv.MODEL_NAME, "a"),), 10**18)])
    wait_until(lambda: service.counted("sent", "metric_points") == 5)


@EACH
def test_a_stop_says_in_numbers_what_it_leaves_behind(
    protocol: Protocol, run: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    destination = Destination(lambda _: "later")
    service = run(protocol, destination)
    service.forward(*[spans("a", "b") for _ in range(20)], items=2)
    service.forward(points("c"), signal="metrics")
    for number in range(5):
        service.exporter.export([Measurement(f"m{number}", 1.0, "1", ((semconv.MODEL_NAME, "a"),), 10**18)] * 3)
    wait_until(lambda: len(destination.tried) > 3)
    service.close(5.0)
    assert "exporters.otlp/x: the stop left behind 21 requests with 40 spans, 1 metric points" in caplog.text
    assert "exporters.otlp/x: the stop left behind 15 metric points" in caplog.text
    dropped = {"stage": "journal", "reason": "stopped", "intentional": "false"}
    assert service.telemetry.registry.get_sample_value("otel_ml_dropped_total", dropped) == 41
    assert service.counted("send_failed", "metric_points") == 15


@EACH
def test_a_stop_does_not_ask_a_destination_that_is_down_for_every_request(
    protocol: Protocol, run: Callable[..., Service]
) -> None:
    destination = Destination(lambda _: "later")
    service = run(protocol, destination, retry_on_failure=NEVER)
    service.forward(*[spans("a") for _ in range(300)])
    wait_until(lambda: len(destination.tried) == 10)
    began_s = time.monotonic()
    service.close(300.0)
    assert time.monotonic() - began_s < 100
    assert len(destination.tried) < 100
    assert service.journal.lag(NAME) == 300


def test_requests_that_came_different_ways_are_not_joined(run: Callable[..., Service]) -> None:
    destination = Destination()
    service = run("http", destination, sending_queue={"batch": {"min_size": 2, "flush_timeout": "1h"}})
    for number in range(4):
        via = "other" if number % 2 else ""
        service.journal.append(Request("traces", spans(f"s{number}"), Decoded(items=1), 1, 0, b"", via))
    wait_until(lambda: service.counted("sent") == 4)
    assert sorted(map(span_names, destination.bodies())) == [["s0", "s2"], ["s1", "s3"]]
