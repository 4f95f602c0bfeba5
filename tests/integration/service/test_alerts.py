"""The service with rules: drifted traffic fires, normal traffic resolves, restarts lose nothing, a loop is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.cli.main import main
from otel_ml import semconv
from support.servers import QuietHandler, serving

Make = Callable[..., Any]
RULES = {"feature_drift": {"for": "0s"}, "drifted": {"measurement": semconv.DRIFT_BREACHED, "above": 0.5}}
SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"


class LogsSink:
    """A real OTLP/gRPC server of logs."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": handler})])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _take(self, body: bytes, _: object) -> bytes:
        self.bodies.append(body)
        return ExportLogsServiceResponse().SerializeToString()

    @property
    def records(self) -> list[tuple[str, LogRecord, dict[str, Any]]]:
        """Scope, record and attributes of what came."""
        return [
            (
                scope.scope.name,
                record,
                {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in record.attributes},
            )
            for body in self.bodies
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def sink() -> Iterator[LogsSink]:
    made = LogsSink()
    yield made
    made.stop()


class Posted(QuietHandler):
    def do_POST(self) -> None:
        body = json.loads(self.body())
        self.server.titles.append(body["title"])
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def chat() -> Iterator[Any]:
    """A chat service that takes Apprise's JSON."""
    with serving(Posted, titles=[]) as server:
        yield server


def notifying(exporters: Mapping[str, Any], **alerts: Any) -> dict[str, Any]:
    return {"exporters": exporters, "alerts": {"notify": [*exporters], "rules": RULES, "defaults": False, **alerts}}


def to_sink(sink: LogsSink) -> dict[str, Any]:
    return {"otlp_grpc": {"endpoint": f"127.0.0.1:{sink.port}", "tls": {"insecure": True}}}


def to_chat(chat: Any) -> dict[str, Any]:
    return {"apprise": {"urls": [f"json://127.0.0.1:{chat.server_port}/s3cr3t"]}}


def test_drifted_traffic_fires_and_normal_traffic_resolves(
    run: Make, sender: Make, send: Make, sink: LogsSink, chat: Any
) -> None:
    with run(notifying({**to_sink(sink), **to_chat(chat), "debug": {}})) as running:
        with sender(running) as model:
            send(model, 2000, seed=1)
        running.wait(lambda: running.value("ml_window_rows") == 2000)
        assert sink.records == []
        with sender(running) as model:
            send(model, 2000, shift=1.0, seed=2)
        running.wait(lambda: len(sink.records) == 2)
        assert running.counted("otel_ml_alerts_firing", rule="feature_drift", severity="warning") == 1.0
        with sender(running) as model:
            send(model, 2000, seed=3)
        running.wait(lambda: len(sink.records) == 4 and len(chat.titles) == 4)
        running.wait(lambda: running.counted("otel_ml_notifications_total", exporter="apprise[0]", outcome="sent") == 4)
        assert running.counted("otel_ml_alerts_firing") == 0.0

    scope, record, attributes = next(found for found in sink.records if found[2][semconv.ALERT_NAME] == "drifted")
    assert (scope, record.event_name, record.severity_text) == (semconv.PROCESSOR_SCOPE, semconv.EVENT_ALERT, "WARN")
    assert attributes[semconv.ALERT_STATE] == "firing"
    assert attributes[semconv.MODEL_NAME] == "fraud"
    assert attributes[semconv.ALERT_VALUE] == 1.0
    assert attributes[semconv.ALERT_THRESHOLD] == 0.5
    assert attributes[semconv.ALERT_SERIES_COUNT] >= 4  # each method has its say, in one event
    assert "feature amount, method psi: 1" in record.body.string_value
    states = [(found[2][semconv.ALERT_NAME], found[2][semconv.ALERT_STATE]) for found in sink.records]
    assert sorted(states[:2]) == [("drifted", "firing"), ("feature_drift", "firing")]
    assert sorted(states[2:]) == [("drifted", "resolved"), ("feature_drift", "resolved")]
    assert sum("[resolved]" in title for title in chat.titles) == 2


def test_a_restart_between_loses_no_alert_and_tells_nothing_twice(
    run: Make, sender: Make, send: Make, sink: LogsSink
) -> None:
    changes = notifying(to_sink(sink))
    with run(changes) as running:
        with sender(running) as model:
            send(model, 2000, seed=1)
            send(model, 2000, shift=1.0, seed=2)
        running.wait(lambda: len(sink.records) == 2)
    with run(changes) as running:
        running.wait(lambda: running.counted("otel_ml_alerts_firing", rule="drifted") == 1.0)
        with sender(running) as model:
            send(model, 2000, seed=3)
        running.wait(lambda: len(sink.records) == 4)
    assert [found[2][semconv.ALERT_STATE] for found in sink.records] == ["firing"] * 2 + ["resolved"] * 2


def test_alertmanager_has_what_fires_until_it_is_over(run: Make, sender: Make, send: Make, alertmanager: Make) -> None:
    server = alertmanager()
    with run(notifying({"alertmanager": {"endpoint": server.url, "resend": "1s"}})) as running:
        with sender(running) as model:
            send(model, 2000, seed=1)
            send(model, 2000, shift=1.0, seed=2)
        found = server.wait_for(lambda alerts: len(alerts) == 2)
        assert {alert["labels"]["alertname"] for alert in found} == {"drifted", "feature_drift"}
        server.stop()
        server.start()
        server.wait_for(lambda alerts: len(alerts) == 2)
        with sender(running) as model:
            send(model, 2000, seed=3)
        server.wait_for(lambda alerts: not alerts)


def test_a_model_that_goes_silent_is_told_with_no_other_traffic_at_all(
    run: Make, sender: Make, send: Make, sink: LogsSink
) -> None:
    with run(notifying(to_sink(sink), rules={"silence": {"absent_for": "2s"}})) as running:
        with sender(running) as model:
            send(model, 2000, seed=1)
        running.wait(lambda: sink.records)
        with sender(running) as model:
            send(model, 100, seed=1)
        running.wait(lambda: len(sink.records) >= 2)
    (_, fired, attributes), (_, over, later) = sink.records[:2]
    assert attributes[semconv.MODEL_NAME] == "fraud"
    assert semconv.MODEL_VERSION not in attributes  # of no version: a new one would do
    assert attributes[semconv.ALERT_VALUE] >= 2.0
    assert fired.severity_text == "ERROR"
    assert (later[semconv.ALERT_STATE], over.severity_text) == ("resolved", "INFO")


def test_one_service_tells_another_over_http(service_type: Make, tmp_path: Path, sender: Make, send: Make) -> None:
    with service_type(tmp_path / "b") as other:
        to_other = {"otlp_http": {"endpoint": f"http://localhost:{other.port('http')}"}}
        with service_type(tmp_path / "a", notifying(to_other)) as running:
            with sender(running) as model:
                send(model, 2000, seed=1)
                send(model, 2000, shift=1.0, seed=2)
            running.wait(lambda: other.counted("otelcol_receiver_accepted_log_records_total") == 2.0)
        assert (
            running.service.telemetry.registry.get_sample_value(
                "otel_ml_notifications_total", {"exporter": "otlp_http", "outcome": "sent"}
            )
            == 2.0
        )
        assert other.counted("otel_ml_dropped_total") == 0.0


def test_alerts_that_come_back_in_are_refused(
    run: Make, service_type: Make, sender: Make, send: Make, sink: LogsSink, tmp_path: Path
) -> None:
    with run(notifying(to_sink(sink))) as running:
        with sender(running) as model:
            send(model, 2000, seed=1)
            send(model, 2000, shift=1.0, seed=2)
        running.wait(lambda: len(sink.bodies) == 2)
        for protocol in ("grpc", "http"):
            answer = running.send(protocol, "logs", sink.bodies[0])
            assert answer.code == 3
            assert "back into it" in answer.message
    with run() as restarted:
        assert restarted.send("grpc", "logs", sink.bodies[0]).code == 3
    with service_type(tmp_path / "other") as other:
        assert other.send("grpc", "logs", sink.bodies[0]).code == 0


# --- commands -------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path, service_settings: Make) -> Make:
    def write(changes: Mapping[str, Any]) -> str:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(service_settings(tmp_path / "state", changes)))
        return str(file)

    return write


def test_validate_prints_rules_silences_and_who_is_told(
    written: Make, chat: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = {"where": {semconv.MODEL_NAME: "old"}, "until": "2026-12-01T00:00:00Z", "comment": "on its way out"}
    file = written(notifying(to_chat(chat), silences=[silence], rules={**RULES, "silence": {"absent_for": "1h"}}))
    assert main(["validate", "--config", file]) == 0
    printed = capsys.readouterr().out
    assert "alerts: 3 rules, sent to apprise" in printed
    assert f"drifted (warning): {semconv.DRIFT_BREACHED} above 0.5" in printed
    assert f"silence (critical): {semconv.WINDOW_ROWS} absent for 1h" in printed
    assert f"silence until 2026-12-01T00:00:00+00:00: {semconv.MODEL_NAME}=old (on its way out)" in printed
    assert "s3cr3t" not in printed


def test_a_test_alert_goes_everywhere_and_tells_what_failed(
    written: Make, chat: Any, sink: LogsSink, capsys: pytest.CaptureFixture[str]
) -> None:
    exporters = {**to_sink(sink), **to_chat(chat), "alertmanager": {"endpoint": "http://127.0.0.1:1"}, "debug": {}}
    assert main(["alerts", "test", "--config", written(notifying(exporters))]) == 1
    printed = capsys.readouterr().out
    assert "otlp_grpc: sent" in printed
    assert "apprise: sent" in printed
    assert "alertmanager: failed" in printed
    assert "ALERT [test]" in printed
    assert chat.titles == ["[test] otel-ml: this is a test alert; nothing is wrong"]
    ((_, record, attributes),) = sink.records
    assert attributes[semconv.ALERT_REASON] == "test"
    assert record.severity_text == "INFO"


def test_a_test_alert_needs_somebody_to_tell(written: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "test", "--config", written({})]) == 2
    assert "alerts.notify is empty" in capsys.readouterr().err


def test_an_address_that_apprise_does_not_know_stops_the_start(
    written: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(notifying({"apprise": {"urls": ["nothing://s3cr3t"]}}))
    assert main(["validate", "--config", file]) == 2
    said = capsys.readouterr().err
    assert "exporters.apprise.urls.0: not an address that Apprise supports" in said
    assert "s3cr3t" not in said
