"""What leaves the service: originals byte for byte, derived metrics over OTLP, and all of it before the end."""

from __future__ import annotations

import contextlib
import gzip
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from collector_processor.config import ConfigError
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.predictions import PREDICTIONS
from otel_ml.semconv import PROCESSOR_SCOPE
from support.ports import free_port

Make = Callable[..., Any]
EXPORT = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"
CALLS = {"traces": EXPORT.format("trace", "Trace"), "logs": EXPORT.format("logs", "Logs")}
CALLS["metrics"] = EXPORT.format("metrics", "Metrics")
INVALID_ARGUMENT = 3
UNITS = {metric.name: metric.unit for metric in monitor_metrics()}
UNITS[PREDICTIONS.name] = PREDICTIONS.unit


class GrpcSink:
    """Takes every OTLP request over gRPC and keeps its bytes."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        for kind, path in CALLS.items():
            _, service, method = path.split("/")
            handler = grpc.unary_unary_rpc_method_handler(self._keep(kind))
            handlers = grpc.method_handlers_generic_handler(service, {method: handler})
            self._server.add_generic_rpc_handlers([handlers])
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.endpoint = f"127.0.0.1:{self.port}"
        self._server.start()

    def _keep(self, kind: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def keep(body: bytes, _: grpc.ServicerContext) -> bytes:
            self.received.append((kind, body))
            return b""

        return keep

    def stop(self) -> None:
        self._server.stop(0).wait()


class HttpSink:
    """Takes every OTLP request over HTTP and keeps its bytes."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[tuple[str, bytes]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                received.append((self.path.removeprefix("/v1/"), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def bodies(sink: GrpcSink | HttpSink, kind: str) -> list[bytes]:
    return [body for name, body in sink.received if name == kind]


@pytest.fixture
def sink() -> Iterator[Make]:
    """Starts sinks: ``sink("grpc")``, ``sink("http", port)``; stopped at the end of the test."""
    started: list[GrpcSink | HttpSink] = []

    def start(protocol: str, port: int = 0) -> GrpcSink | HttpSink:
        started.append(GrpcSink(port) if protocol == "grpc" else HttpSink(port))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def exporter(endpoint: str, **more: Any) -> dict[str, Any]:
    retry = {"initial_interval": "50ms", "max_interval": "100ms"}
    return {"endpoint": endpoint, "tls": {"insecure": True}, "retry_on_failure": retry, **more}


def pipelines(
    originals: Mapping[str, Any] | None = None, derived: Mapping[str, Any] | None = None, *, received: bool = False
) -> dict[str, Any]:
    """Changes that send originals and derived metrics to exporters; ``received`` forwards received metrics too."""
    originals, derived = originals or {}, derived or {}
    traffic = {"receivers": ["otlp"], "exporters": ["ml_monitor", *originals]}
    sources = ["ml_monitor", "otlp"] if received else ["ml_monitor"]
    metrics = {"receivers": sources, "exporters": ["prometheus", *derived]}
    return {
        "exporters": {**originals, **derived},
        "service": {"pipelines": {"traces": traffic, "logs": traffic, "metrics": metrics}},
    }


def rows(otlp: Any, first: int, count: int, **fields: Any) -> bytes:
    """A request of so many predictions, ids and figures told by their number."""
    return otlp.request([
        otlp.prediction(
            "fraud",
            {
                "ml.prediction.id": f"{row}",
                "ml.prediction.class": "fraud" if row % 4 == 0 else "ok",
                "ml.prediction.score": 0.9 if row % 4 == 0 else 0.1,
                "ml.feature.amount": float(row % 97),
            },
            row,
            **fields,
        )
        for row in range(first, first + count)
    ])  # fmt: skip


def labels(otlp: Any, first: int, count: int) -> bytes:
    return otlp.request([
        otlp.label("fraud", f"{row}", {"ml.label.class": "ok"}) for row in range(first, first + count)
    ])  # fmt: skip


def received_metrics(value: float = 1.0) -> bytes:
    point = NumberDataPoint(time_unix_nano=1, as_double=value)
    metric = Metric(name="queue.length", gauge=Gauge(data_points=[point]))
    scope = ScopeMetrics(metrics=[metric])
    return ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[scope])]).SerializeToString()


# --- originals -----------------------------------------------------------------------------------------------
def test_originals_leave_byte_for_byte_to_both_protocols_while_the_statistics_go_on(
    run: Make, sink: Make, otlp: Any
) -> None:
    first, second = sink("grpc"), sink("http")
    originals = {
        "otlp_grpc/jaeger": exporter(first.endpoint),
        "otlp_http/archive": exporter(second.endpoint, compression="none"),
    }
    unknown_field = b"\xaa\x06\x03new"
    traces = [rows(otlp, start, 100) + unknown_field for start in range(0, 2000, 100)]
    logs = [b"", unknown_field, unknown_field * 2]
    with run(pipelines(originals)) as running:
        for number, body in enumerate(traces):
            assert running.send(("grpc", "http")[number % 2], "traces", body, compressed=number % 3 == 0).code == 0
        for body in logs:
            assert running.send("grpc", "logs", body).code == 0
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        for each in (first, second):
            running.wait(lambda each=each: len(each.received) >= len(traces) + 2)
            assert sorted(bodies(each, "traces")) == sorted(traces)
            assert sorted(bodies(each, "logs")) == logs[1:]  # ten consumers: log records have no order
        for name in originals:
            running.wait(lambda name=name: running.counted("otelcol_exporter_sent_spans_total", exporter=name) == 2000)
            assert running.counted("otelcol_exporter_queue_size", exporter=name) == 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_scheme_of_an_endpoint_decides_about_tls_for_originals_as_for_derived_metrics(
    run: Make, sink: Make, otlp: Any, protocol: str
) -> None:
    behind = sink(protocol)
    both = {f"otlp_{protocol}": {"endpoint": f"http://127.0.0.1:{behind.port}"}}
    with run(pipelines(both, both)) as running:
        assert running.send("grpc", "traces", rows(otlp, 0, 2000)).code == 0
        running.wait(lambda: len(behind.received) == 2)
    assert {kind for kind, _ in behind.received} == {"traces", "metrics"}


def test_a_service_that_only_forwards_has_no_statistics_and_is_well(run: Make, sink: Make, otlp: Any) -> None:
    behind = sink("grpc")
    changes = pipelines({"otlp_grpc": exporter(behind.endpoint)})
    for each in ("traces", "logs"):
        changes["service"]["pipelines"][each] = {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}
    with run(changes) as running:
        assert running.send("http", "traces", rows(otlp, 0, 10)).code == 0
        running.wait(lambda: behind.received)
        assert running.health() == 200
        assert running.counted("otel_ml_rows_total") == 0


def test_received_metrics_are_forwarded_and_are_no_predictions(run: Make, sink: Make) -> None:
    behind = sink("http")
    with run(pipelines(derived={"otlp_http": exporter(behind.endpoint)}, received=True)) as running:
        for protocol in ("grpc", "http"):
            assert running.send(protocol, "metrics", received_metrics()).code == 0
        running.wait(lambda: len(behind.received) == 2)
    assert bodies(behind, "metrics") == [received_metrics()] * 2


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_dead_destination_slows_nobody_and_gets_everything_when_it_is_back(
    run: Make, sink: Make, otlp: Any, protocol: str
) -> None:
    port, well = free_port(), sink("grpc")
    dead = exporter(f"127.0.0.1:{port}", timeout="1s")
    originals = {f"otlp_{protocol}/dead": dead, "otlp_grpc/well": exporter(well.endpoint)}
    sent = [rows(otlp, start, 200) for start in range(0, 2000, 200)]
    with run(pipelines(originals)) as running:
        for body in sent:
            assert running.send("grpc", "traces", body).code == 0
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        running.wait(lambda: sorted(bodies(well, "traces")) == sorted(sent))
        assert running.counted("otelcol_exporter_queue_size", exporter=f"otlp_{protocol}/dead") == len(sent)
        assert running.health() == 200
        back = sink(protocol, port)
        running.wait(lambda: len(back.received) == len(sent))
        assert sorted(bodies(back, "traces")) == sorted(sent)
        gone = running.counted("otelcol_exporter_send_failed_spans_total", exporter=f"otlp_{protocol}/dead")
        assert gone == 0


def test_a_dead_destination_loses_its_oldest_when_the_journal_is_full_and_the_statistics_nothing(
    run: Make, sink: Make, otlp: Any
) -> None:
    port = free_port()
    changes = pipelines({"otlp_grpc": exporter(f"127.0.0.1:{port}", timeout="1s")})
    changes["connectors"] = {"ml_monitor": {"limits": {"journal": "300KiB"}}}
    sent = [rows(otlp, start, 200) for start in range(0, 4000, 200)]
    with run(changes) as running:
        for body in sent:
            while running.send("grpc", "traces", body).code != 0:  # the statistics are asked to be waited for
                continue
        running.wait(lambda: running.counted("otel_ml_rows_total") == 4000)
        lost = int(running.counted("otelcol_exporter_enqueue_failed_spans_total", exporter="otlp_grpc")) // 200
        assert 0 < lost < len(sent)
        assert running.counted("otel_ml_dropped_total", stage="journal", reason="destination_lagging") == 200 * lost
        back = sink("grpc", port)
        running.wait(lambda: len(back.received) >= len(sent) - lost)
        # Up to ten were under way already when the journal became full, and so were not lost.
        arrived = bodies(back, "traces")
        assert len(arrived) == len({*arrived}) == len(sent) - lost
        assert {*sent[10 + lost :]} <= {*arrived} <= {*sent}


# --- derived metrics -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_derived_metrics_have_name_unit_scope_and_the_time_of_their_emission(
    run: Make, sink: Make, otlp: Any, protocol: str
) -> None:
    behind = sink(protocol)
    newest_ns = time.time_ns() - 10**9
    with run(pipelines(derived={f"otlp_{protocol}": exporter(behind.endpoint)})) as running:
        assert running.send(protocol, "traces", rows(otlp, 0, 1999, start_time_unix_nano=newest_ns)).code == 0
        assert running.send(protocol, "traces", labels(otlp, 0, 1999)).code == 0
        assert running.send(protocol, "traces", rows(otlp, 1999, 1, start_time_unix_nano=newest_ns)).code == 0
        running.wait(lambda: behind.received)
        sent_points = running.counted("otelcol_exporter_sent_metric_points_total", exporter=f"otlp_{protocol}")
        running.wait(lambda: sent_points or running.counted("otelcol_exporter_sent_metric_points_total"))
    [body] = bodies(behind, "metrics")
    [resource_metrics] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    resource = {item.key: item.value.string_value for item in resource_metrics.resource.attributes}
    assert resource["service.name"] == "otel-ml"
    assert resource["service.instance.id"]
    [scope] = resource_metrics.scope_metrics
    assert scope.scope.name == PROCESSOR_SCOPE
    found = {metric.name: metric for metric in scope.metrics}
    assert {"ml.window.rows", "ml.drift.score", "ml.performance.accuracy", "ml.quality.missing"} <= found.keys()
    assert {name: metric.unit for name, metric in found.items()} == {name: UNITS[name] for name in found}
    assert all(metric.description for metric in found.values())

    times = {point.time_unix_nano for metric in found.values() for point in metric.gauge.data_points}
    [end_ns] = times
    assert end_ns > newest_ns
    total = found["ml.predictions"].sum
    assert total.is_monotonic
    assert total.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert sum(point.as_double for point in total.data_points) == 2000
    for point in total.data_points:
        assert 0 < point.start_time_unix_nano <= point.time_unix_nano <= end_ns
        assert point.time_unix_nano > newest_ns
    [rows_point] = found["ml.window.rows"].gauge.data_points
    assert rows_point.as_double == 2000
    assert {item.key: item.value.string_value for item in rows_point.attributes}["ml.model.name"] == "fraud"
    [accuracy] = found["ml.performance.accuracy"].gauge.data_points
    assert accuracy.as_double == pytest.approx(sum(row % 4 != 0 for row in range(1999)) / 1999)


def test_a_window_of_time_is_stamped_with_its_end_where_that_is_asked_for(run: Make, sink: Make, otlp: Any) -> None:
    behind = sink("grpc")
    changes = pipelines(derived={"otlp_grpc": exporter(behind.endpoint, timestamps="window_end")})
    first_ns = (time.time_ns() // 10**9 - 60) * 10**9
    with run(changes, size="10s", every="5s") as running:
        running.send("grpc", "traces", rows(otlp, 0, 1500, start_time_unix_nano=first_ns))
        running.wait(lambda: behind.received)
    points = [
        (point.time_unix_nano, point.as_double)
        for body in bodies(behind, "metrics")
        for resource_metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for metric in resource_metrics.scope_metrics[0].metrics
        if metric.name == "ml.window.rows"
        for point in metric.gauge.data_points
    ]
    pane_end_ns = (first_ns // (5 * 10**9) + 1) * 5 * 10**9
    assert points[0] == (pane_end_ns, 1500.0)
    assert [time_ns for time_ns, _ in points] == [pane_end_ns + step * 5 * 10**9 for step in range(len(points))]


def test_own_output_that_comes_back_is_refused_as_a_loop(run: Make, sink: Make, otlp: Any) -> None:
    behind = sink("grpc")
    with run(pipelines(derived={"otlp_grpc": exporter(behind.endpoint)}, received=True)) as running:
        assert running.send("grpc", "traces", rows(otlp, 0, 2000)).code == 0
        running.wait(lambda: behind.received)
        [own] = bodies(behind, "metrics")
        for protocol in ("grpc", "http"):
            answer = running.send(protocol, "metrics", own)
            assert answer.code == INVALID_ARGUMENT
            assert "leads from this service back into it" in answer.message
        assert running.counted("otel_ml_dropped_total", stage="receiver", reason="loop") > 0
        assert running.send("grpc", "metrics", received_metrics()).code == 0
        running.wait(lambda: len(behind.received) >= 2)
    assert bodies(behind, "metrics") == [own, received_metrics()]


def test_an_exporter_that_leads_straight_back_is_refused_at_the_start(run: Make) -> None:
    port = free_port()
    changes = pipelines({"otlp_http": exporter(f"http://127.0.0.1:{port}")})
    changes["receivers"] = {"otlp": {"protocols": {"http": {"endpoint": f"localhost:{port}"}}}}
    with pytest.raises(
        ConfigError, match=rf"exporters\.otlp_http\.endpoint: .*:{port} is receivers\.otlp\.protocols\.http"
    ):
        run(changes)


# --- a process of its own ------------------------------------------------------------------------------------
class Process:
    """A real ``otel-ml serve``, ready to be killed."""

    def __init__(self, directory: Path, config: Mapping[str, Any], number: int) -> None:
        file = directory / "otel-ml.yaml"
        file.write_text(yaml.safe_dump(config))
        self.log = directory / f"log-{number}.txt"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "collector_processor", "serve", "--config", str(file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._channel: grpc.Channel | None = None

    def ready(self) -> Process:
        """Waits until it says where it listens."""
        self.wait(self._is_ready)
        [line] = [line for line in self.log.read_text().splitlines() if "ready: " in line]
        listened = (entry.rpartition(" :") for entry in line.partition("ready: ")[2].split(", "))
        ports = {name: int(port) for name, _, port in listened}
        self.own, self.prometheus = ports["own metrics"], ports["prometheus"]
        assert requests.get(f"http://localhost:{ports['health_check']}/", timeout=5).status_code == 200
        self._channel = grpc.insecure_channel(f"localhost:{ports['grpc']}")
        return self

    def _is_ready(self) -> bool:
        log = self.log.read_text()
        assert self._process.poll() is None, log
        return "ready: " in log and log.endswith("\n")

    def wait(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen in time: {self.log.read_text()}"
            threading.Event().wait(0.02)

    def send(self, body: bytes) -> bool:
        """Whether the service has taken the request."""
        assert self._channel is not None
        with contextlib.suppress(grpc.RpcError):
            self._channel.unary_unary(CALLS["traces"])(body, timeout=30)
            return True
        return False

    def value(self, port: int, name: str, **wanted: str) -> float:
        text = requests.get(f"http://localhost:{port}/metrics", timeout=5).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(item.value for item in samples if item.name == name and wanted.items() <= item.labels.items())

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def exit_code(self) -> int:
        return self._process.wait(60)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def serve(tmp_path: Path, service_settings: Make) -> Iterator[Callable[..., Process]]:
    """Starts ``otel-ml serve`` with changed settings; killed at the end of the test, its state stays until then."""
    started: list[Process] = []

    def start(changes: Mapping[str, Any] | None = None) -> Process:
        started.append(Process(tmp_path, service_settings(tmp_path / "state", changes), len(started)))
        return started[-1].ready()

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_works_off_what_was_accepted_sends_it_on_and_exits_with_0(
    serve: Make, sink: Make, otlp: Any, number: signal.Signals
) -> None:
    originals, derived = sink("grpc"), sink("http")
    process = serve(
        pipelines({"otlp_grpc": exporter(originals.endpoint)}, {"otlp_http": exporter(derived.endpoint)})
    )  # fmt: skip
    sent = [rows(otlp, start, 100) for start in range(0, 2000, 100)]
    assert all(process.send(body) for body in sent)
    process.signal(number)
    assert process.exit_code() == 0, process.log.read_text()
    assert sorted(bodies(originals, "traces")) == sorted(sent)  # several consumers send at once
    assert any(b"ml.window.rows" in body for body in bodies(derived, "metrics"))
    assert "stopped" in process.log.read_text()


def test_sigterm_among_traffic_loses_nothing_that_was_acknowledged(serve: Make, sink: Make, otlp: Any) -> None:
    behind = sink("http")
    changes = pipelines({"otlp_http": exporter(behind.endpoint)})
    changes["connectors"] = {"ml_monitor": {"reference": {"learn": 100}, "window": {"size": "1000000 rows"}}}
    process, taken = serve(changes), list[int]()

    def keep_sending() -> None:
        number = 0
        while process.send(rows(otlp, number, 10)):
            taken.append(number)
            number += 10

    thread = threading.Thread(target=keep_sending)
    thread.start()
    process.wait(lambda: len(taken) >= 50)
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 0, process.log.read_text()
    thread.join()
    # A request that was taken, but whose acknowledgement got lost, may have come besides.
    assert len(taken) <= len(bodies(behind, "traces")) <= len(taken) + 1

    again = serve(changes)
    for number in taken:
        assert again.send(labels(otlp, number, 10))
    again.wait(lambda: again.value(again.own, "otel_ml_labels_total", outcome="joined") == 10 * len(taken))
    assert again.value(again.own, "otel_ml_labels_total", outcome="early") == 0


def test_a_killed_service_goes_on_from_its_last_snapshot(serve: Make, tmp_path: Path, otlp: Any) -> None:
    changes = {"extensions": {"file_storage": {"interval": "100ms"}}}
    process, snapshot = serve(changes), tmp_path / "state" / "state.snapshot"
    assert process.send(rows(otlp, 0, 1500))
    process.wait(lambda: process.value(process.own, "otel_ml_rows_total") == 1500)
    counted_ns = time.time_ns()
    process.wait(lambda: snapshot.exists() and snapshot.stat().st_mtime_ns > counted_ns)
    process.signal(signal.SIGKILL)
    assert process.exit_code() == -signal.SIGKILL

    again = serve(changes)
    assert again.send(labels(otlp, 0, 1500))
    assert again.send(rows(otlp, 1500, 500))
    again.wait(lambda: again.value(again.prometheus, "ml_window_rows") == 2000)
    assert again.value(again.prometheus, "ml_window_labels") == 1500


def test_a_name_from_the_network_forges_no_line_of_the_log(serve: Make, otlp: Any) -> None:
    process = serve()
    name = "x'\n2026-01-01 00:00:00,000 ERROR   collector_processor.service.run: all is lost \x1b[31m\u2028"
    assert process.send(otlp.request([otlp.prediction(name, {"ml.feature.x": 1.0})]))
    process.wait(lambda: "all is lost" in process.log.read_text())
    lines = process.log.read_text().split("\n")
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert r"model 'x'\n2026-01-01 00:00:00,000 ERROR" in process.log.read_text()
    assert "\x1b" not in process.log.read_text()


def test_a_second_signal_ends_a_drain_that_takes_long(serve: Make, otlp: Any) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        process = serve(pipelines({"otlp_http": exporter(endpoint, timeout="60s")}))
        assert process.send(rows(otlp, 0, 10))
        process.wait(lambda: process.value(process.own, "otelcol_exporter_queue_size", exporter="otlp_http") == 1)
        process.signal(signal.SIGTERM)
        process.wait(lambda: "stopping" in process.log.read_text())
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 128 + signal.SIGTERM
