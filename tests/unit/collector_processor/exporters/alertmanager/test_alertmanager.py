"""What goes to Alertmanager, and what happens when it refuses or is away; the real one is an integration test."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from collector_processor.alerts.notice import Notice, Offender
from collector_processor.alerts.rules import DEFAULT_RULES, AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.config import ConfigError, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.exporters.alertmanager.exporter import AlertmanagerExporter, alert
from collector_processor.exporters.alertmanager.mailbox import KEPT_S
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.client_tls import ClientTls
from collector_processor.service.build import Builder
from collector_processor.service.checks import exposures
from otel_ml import semconv
from support.servers import QuietHandler, serving
from support.waiting import wait_until

BEGIN = 1_750_000_000 * 10**9
RULE = AlertRule("drift", semconv.DRIFT_SHARE, "above", threshold=0.3, clear=0.3, summary="it drifts")
QUICK = RetryPolicy(initial_s=0.02, multiplier=1.0, max_s=0.02, max_elapsed_s=0.0, jitter=0.0)


def notice(name="fraud", state="firing", *, rule=RULE, started_ns=BEGIN, ended_ns=0, reason="new") -> Notice:
    offenders = (Offender(((semconv.FEATURE_NAME, "age"),), 0.5),)
    return Notice(rule, ModelKey(name, "7"), state, reason, started_ns, BEGIN, BEGIN, 1, offenders, ended_ns)


class Fake(QuietHandler):
    def do_POST(self) -> None:
        body = self.body()
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"said")


@pytest.fixture
def server() -> Iterator[Any]:
    """Answers with the ``answers`` in their order, then with 200; keeps what it was ``asked``."""
    with serving(Fake, asked=[], answers=[]) as made:
        yield made


@pytest.fixture
def exporter(server: Any) -> Iterator[Callable[..., Any]]:
    started: list[AlertmanagerExporter] = []

    def start(**settings: Any) -> AlertmanagerExporter:
        telemetry = Telemetry()
        url = settings.pop("url", f"http://127.0.0.1:{server.server_port}/base/")
        made = AlertmanagerExporter("am", url, telemetry, **{"retry": QUICK, "resend_s": 60.0, **settings})
        made.telemetry = telemetry
        made.start()
        started.append(made)
        return made

    yield start
    for each in started:
        each.shutdown(1.0)


def counted(exporter: Any, outcome: str) -> float:
    labels = {"exporter": "am", "outcome": outcome}
    return exporter.telemetry.registry.get_sample_value("otel_ml_notifications_total", labels) or 0.0


def sent(server: Any) -> list[str]:
    return [each["labels"].get("ml_model_name", "") for _, _, body in server.asked for each in body]


OVER = "2025-06-15T15:06:40.000Z"


def ends(server: Any, model: str) -> list[str]:
    bodies = [each for _, _, body in server.asked for each in body]
    return [each["endsAt"] for each in bodies if each["labels"]["ml_model_name"] == model]


def test_an_alert_keeps_its_labels_as_long_as_it_is_the_same() -> None:
    first, later = alert(notice(), BEGIN + 10**9, {}, ""), alert(notice(reason="repeat"), BEGIN + 2 * 10**9, {}, "")
    assert first["labels"] == later["labels"]
    assert first["endsAt"] < later["endsAt"]
    assert first["startsAt"] == "2025-06-15T15:06:40.000Z"
    assert "generatorURL" not in first
    over = alert(notice(state="resolved", reason="over", ended_ns=BEGIN + 5), 0, {}, "")
    assert (over["labels"], over["startsAt"]) == (first["labels"], first["startsAt"])


def test_an_end_is_never_before_the_start() -> None:
    back = alert(notice(state="resolved", reason="over", started_ns=BEGIN, ended_ns=BEGIN - 10**12), 0, {}, "")
    assert back["endsAt"] == back["startsAt"]


def test_labels_are_prometheus_label_names_and_the_users_win() -> None:
    found = alert(notice(), BEGIN, {"my-team.name": "risk", "severity": "page", "empty": ""}, "")["labels"]
    assert found["my_team_name"] == "risk"
    assert found["severity"] == "page"
    assert "empty" not in found
    assert "ml_model_version" in found


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_every_built_in_rule_has_what_alertmanagers_templates_expect(rule: AlertRule) -> None:
    found = alert(notice(rule=rule), BEGIN, {}, "")
    assert found["labels"]["alertname"] == rule.name
    assert found["annotations"]["summary"].startswith(rule.summary)
    assert rule.description in found["annotations"]["description"]
    assert found["annotations"]["runbook_url"].endswith(f"{rule.name}.md")
    assert all(isinstance(value, str) for value in (*found["labels"].values(), *found["annotations"].values()))


def test_path_and_headers_are_those_asked_for(server: Any, exporter: Callable[..., Any]) -> None:
    exporter(headers=lambda: {"Authorization": "Bearer x"}).notify([notice()])
    wait_until(lambda: server.asked)
    path, headers, _ = server.asked[0]
    assert path == "/base/api/v2/alerts"
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_fails_for_now_is_tried_again(server: Any, exporter: Callable[..., Any], status: int) -> None:
    server.answers = [status, status]
    sending = exporter()
    sending.notify([notice()])
    wait_until(lambda: counted(sending, "sent") == 1.0)
    assert len(server.asked) == 3
    assert counted(sending, "failed") == 0.0


def test_what_is_refused_is_counted_and_sent_anew_with_the_next_round(
    server: Any, exporter: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [400]
    sending = exporter(resend_s=0.2)
    sending.notify([notice()])
    wait_until(lambda: len(server.asked) >= 2)
    assert counted(sending, "failed") == 1.0
    assert "400" in caplog.text
    assert "said" in caplog.text


def test_one_that_is_away_gets_the_newest_state_when_it_is_back(server: Any, exporter: Callable[..., Any]) -> None:
    server.answers = [503] * 5
    sending = exporter(resend_s=0.05)
    sending.notify([notice("a"), notice("b")])
    wait_until(lambda: server.asked)
    sending.notify([notice("b", "resolved", reason="over", ended_ns=BEGIN + 1), notice("c")])
    wait_until(lambda: ends(server, "b")[-1:] == [OVER])
    assert ends(server, "b")[-2] != OVER
    assert set(sent(server)) == {"a", "b", "c"}


def test_an_alert_that_begins_and_ends_at_once_is_sent_as_firing_first(
    server: Any, exporter: Callable[..., Any]
) -> None:
    """Alertmanager never notifies about an alert that it first sees when it is over."""
    sending = exporter(resend_s=0.05)
    sending.notify([notice("b"), notice("b", "resolved", reason="over", ended_ns=BEGIN + 1)])
    wait_until(lambda: ends(server, "b")[-1:] == [OVER])
    assert ends(server, "b")[0] != OVER
    wait_until(lambda: counted(sending, "sent") == 2.0)


def test_everything_that_fires_is_sent_anew_and_what_is_over_for_a_while(
    server: Any, exporter: Callable[..., Any]
) -> None:
    clock = [BEGIN]
    sending = exporter(resend_s=0.05, clock=lambda: clock[0])
    sending.notify([notice("a"), notice("b", "resolved", reason="over", ended_ns=BEGIN)])
    wait_until(lambda: sent(server).count("b") >= 3)
    clock[0] += int((KEPT_S + 1) * 1e9)
    wait_until(lambda: [each["labels"]["ml_model_name"] for each in server.asked[-1][2]] == ["a"])
    assert counted(sending, "sent") == 2.0


def test_alerts_beyond_the_limit_are_dropped_and_counted(server: Any, exporter: Callable[..., Any]) -> None:
    sending = exporter(limit=2)
    sending.notify([notice("a"), notice("b"), notice("c"), notice("a")])
    wait_until(lambda: set(sent(server)) == {"a", "b"})
    assert counted(sending, "dropped") == 1.0


def test_a_shutdown_sends_what_is_not_known_there_once(server: Any, exporter: Callable[..., Any]) -> None:
    server.answers = [503] * 100
    sending = exporter(retry=RetryPolicy(initial_s=60.0))
    sending.notify([notice()])
    wait_until(lambda: server.asked)
    server.answers = []
    sending.shutdown(5.0)
    assert counted(sending, "sent") == 1.0


def test_a_dead_address_holds_up_nothing(exporter: Callable[..., Any]) -> None:
    sending = exporter(url="http://127.0.0.1:1", retry=RetryPolicy(enabled=False))
    for _ in range(100):
        sending.notify([notice()])
    wait_until(lambda: counted(sending, "failed"))
    assert sending.probe(notice())
    sending.shutdown(1.0)


@pytest.mark.parametrize(("trusted", "outcome"), [(True, 1.0), (False, 0.0)])
def test_tls_goes_to_whom_the_ca_knows_only(
    server: Any, exporter: Callable[..., Any], tmp_path: Path, trusted: bool, outcome: float
) -> None:
    ca, strange = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    (ca if trusted else strange).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    url, tls = f"https://127.0.0.1:{server.server_port}", ClientTls(ca_file=tmp_path / "ca.pem")
    sending = exporter(url=url, tls=tls, retry=RetryPolicy(enabled=False))
    sending.notify([notice()])
    wait_until(lambda: counted(sending, "sent") + counted(sending, "failed"))
    assert counted(sending, "sent") == outcome
    assert bool(server.asked) == trusted


def test_it_can_be_shut_down_without_a_start() -> None:
    AlertmanagerExporter("am", "http://127.0.0.1:1", Telemetry()).shutdown(0.1)


def built(server: Any, file: Path, **settings: Any) -> Any:
    document = {
        "receivers": {"otlp": None},
        "connectors": {"ml_monitor": None},
        "extensions": {"bearertokenauth": {"filename": str(file)}},
        "exporters": {
            "alertmanager": {
                "endpoint": f"http://127.0.0.1:{server.server_port}",
                "auth": {"authenticator": "bearertokenauth"},
                **settings,
            }
        },
        "alerts": {"notify": ["alertmanager"]},
        "service": {
            "extensions": ["bearertokenauth"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["ml_monitor"]}},
        },
    }
    return Builder(parse_config(yaml.safe_dump(document)), Telemetry(), "me").destination("alertmanager")


def test_a_bearer_token_is_sent_and_the_next_one_as_soon_as_its_file_has_it(server: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n", encoding="utf-8")
    sending = built(server, file, headers={"Authorization": "Basic other", "X-Scope": "ml"})
    assert sending.probe(notice()) == ()
    file.write_text("the second\n", encoding="utf-8")
    assert sending.probe(notice()) == (), "a file that holds no token changes nothing"
    file.write_text("second\n", encoding="utf-8")
    assert sending.probe(notice()) == ()
    sent = [[value for name, value in asked[1].items() if name.lower() == "authorization"] for asked in server.asked]
    assert sent == [["Bearer first"], ["Bearer first"], ["Bearer second"]]
    assert {asked[1]["X-Scope"] for asked in server.asked} == {"ml"}
    sending.shutdown(1.0)


def test_an_authenticator_that_is_not_there_is_told(server: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"exporters\.alertmanager\.auth\.authenticator: 'other' is not"):
        built(server, tmp_path, auth={"authenticator": "other"})


def test_a_token_that_would_leave_in_plain_text_is_told() -> None:
    document = yaml.safe_load(DEFAULT)
    document["exporters"]["alertmanager"] = {
        "endpoint": "http://alerts:9093", "auth": {"authenticator": "bearertokenauth"},
    }  # fmt: skip
    document["extensions"]["bearertokenauth"] = {"token": "x"}
    document["service"]["extensions"].append("bearertokenauth")
    document["alerts"] = {"notify": ["alertmanager"]}
    [told] = exposures(parse_config(yaml.safe_dump(document)))
    assert told == "exporters.alertmanager: sends its token in plain text; set tls"
