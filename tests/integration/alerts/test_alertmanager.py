"""A real Alertmanager: alerts fire, are sent anew, survive its restart, resolve, and reach who it tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from collector_processor.alerts.notice import Notice, Offender
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.exporters.alertmanager.exporter import AlertmanagerExporter
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv
from support.servers import QuietHandler, serving

Start = Callable[..., Any]
RULE = AlertRule(
    "drift", semconv.DRIFT_BREACHED, "above", severity="critical", summary="it drifts", runbook="docs/x.md"
)
QUICK = RetryPolicy(initial_s=0.05, multiplier=1.0, max_s=0.1, max_elapsed_s=0.0)


def notice(state="firing", *, model=ModelKey("fraud", "7"), reason=None, features=("age",), started_ns=None):  # noqa: B008
    now_ns = time.time_ns()
    offenders = tuple(Offender(((semconv.FEATURE_NAME, name),), 1.0) for name in features)
    started_ns = now_ns if started_ns is None else started_ns
    reason = reason or ("new" if state == "firing" else "over")
    ended_ns = 0 if state == "firing" else now_ns
    return Notice(RULE, model, state, reason, started_ns, now_ns, now_ns, len(features), offenders, ended_ns)


@pytest.fixture
def exporter() -> Iterator[Start]:
    started: list[AlertmanagerExporter] = []

    def start(url: str, **settings: Any) -> AlertmanagerExporter:
        telemetry = Telemetry()
        made = AlertmanagerExporter("alertmanager", url, telemetry, retry=QUICK, **{"resend_s": 0.5, **settings})
        made.telemetry = telemetry
        made.start()
        started.append(made)
        return made

    yield start
    for each in started:
        each.shutdown(1.0)


def counted(exporter: Any, outcome: str) -> float:
    labels = {"exporter": "alertmanager", "outcome": outcome}
    return exporter.telemetry.registry.get_sample_value("otel_ml_notifications_total", labels) or 0.0


def test_an_alert_fires_is_sent_anew_and_resolves(alertmanager: Start, exporter: Start) -> None:
    server = alertmanager()
    sending = exporter(server.url, extra_labels={"team": "risk"}, generator_url="http://localhost/dashboard")
    fired = notice()
    sending.notify([fired])
    (found,) = server.wait_for(len)
    assert found["labels"] == {
        "alertname": "drift", "severity": "critical", "service": "otel-ml", "team": "risk",
        "ml_model_name": "fraud", "ml_model_version": "7",
    }  # fmt: skip
    assert found["annotations"]["summary"] == "it drifts: age"
    assert "feature age" in found["annotations"]["description"]
    assert found["annotations"]["runbook_url"] == "docs/x.md"
    assert found["generatorURL"] == "http://localhost/dashboard"
    server.wait_for(lambda alerts: alerts and alerts[0]["endsAt"] > found["endsAt"])
    assert counted(sending, "sent") == 1.0
    sending.notify([notice("resolved", started_ns=fired.started_ns)])
    server.wait_for(lambda alerts: not alerts)
    assert counted(sending, "sent") == 2.0


def test_an_alertmanager_that_was_restarted_is_told_everything_anew(alertmanager: Start, exporter: Start) -> None:
    server = alertmanager()
    sending = exporter(server.url)
    sending.notify([notice(), notice(model=ModelKey("churn"))])
    server.wait_for(lambda alerts: len(alerts) == 2)
    server.stop()
    sending.notify([notice(model=ModelKey("price"), started_ns=time.time_ns() - 10**9)])
    sending.notify([notice("resolved", model=ModelKey("churn"))])
    server.start()
    found = server.wait_for(lambda alerts: len(alerts) == 2)
    assert {alert["labels"]["ml_model_name"] for alert in found} == {"fraud", "price"}


def test_many_alerts_and_odd_names_all_arrive(alertmanager: Start, exporter: Start) -> None:
    server = alertmanager()
    sending = exporter(server.url, extra_labels={"größe-1": "L"}, resend_s=60.0)
    odd = ['"quoted"', "new\nline", "größe 模型", "{a=b}", "x" * 3000]
    sending.notify([notice(model=ModelKey(name)) for name in odd])
    sending.notify([notice(model=ModelKey(f"model-{number}"), features=["f"] * 20) for number in range(600)])
    found = server.wait_for(lambda alerts: len(alerts) == 605)
    assert set(odd) <= {alert["labels"]["ml_model_name"] for alert in found}
    assert {alert["labels"]["gr__e_1"] for alert in found} == {"L"}
    assert counted(sending, "sent") == 605


def test_an_alert_ends_by_itself_when_the_service_is_gone(alertmanager: Start, exporter: Start) -> None:
    server = alertmanager()
    sending = exporter(server.url, resend_s=0.3)
    sending.notify([notice()])
    server.wait_for(len)
    sending.shutdown(1.0)
    server.wait_for(lambda alerts: not alerts)


class Hooked(QuietHandler):
    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.body()))
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def webhook() -> Iterator[Any]:
    with serving(Hooked, heard=[]) as server:
        yield server


def test_who_alertmanager_tells_hears_that_it_fires_and_that_it_is_over(
    alertmanager: Start, exporter: Start, webhook: Any
) -> None:
    server = alertmanager(f"http://127.0.0.1:{webhook.server_port}/")
    sending = exporter(server.url)
    fired = notice()
    sending.notify([fired])
    server.wait_for(lambda _: webhook.heard)
    sending.notify([notice("resolved", started_ns=fired.started_ns)])
    server.wait_for(lambda _: len(webhook.heard) > 1)
    assert [message["status"] for message in webhook.heard[:2]] == ["firing", "resolved"]
    assert webhook.heard[0]["commonAnnotations"]["summary"] == "it drifts: age"
