"""Apprise against local servers: what a person gets, what is retried, and that no address is ever seen."""

from __future__ import annotations

import http.server
import json
import logging
import re
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest

from collector_processor.alerts.notice import Notice, Offender
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.exporters.apprise.component import APPRISE
from collector_processor.exporters.apprise.exporter import AppriseExporter, check_urls
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.own.install import install
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv
from support.waiting import wait_until

Start = Callable[..., Any]
RULE = AlertRule(
    "drift", semconv.DRIFT_BREACHED, "above", threshold=0.5, hold_ns=600 * 10**9, severity="critical",
    summary="it drifts", description="Something is off.", runbook="docs/runbooks/drift.md",
)  # fmt: skip
QUICK = RetryPolicy(initial_s=0.02, multiplier=1.0, max_s=0.05, max_elapsed_s=20.0)
SECRET = "T0ken-S3cr3t"
BEGIN = 1_750_000_000 * 10**9


def notice(state="firing", reason="new", *, model="fraud", features=("age", "amount"), count=None) -> Notice:
    offenders = tuple(Offender(((semconv.FEATURE_NAME, name), (semconv.DRIFT_METHOD, "psi")), 1.0) for name in features)
    ended_ns = 0 if state == "firing" else BEGIN + 60 * 10**9
    count = len(features) if count is None else count
    return Notice(RULE, ModelKey(model, "7"), state, reason, BEGIN, BEGIN, BEGIN, count, offenders, ended_ns)


class Server(http.server.ThreadingHTTPServer):
    """Keeps what is posted, after failing as often as it is told to, or once it is let go on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.failures = 0
        self.go_on = threading.Event()
        self.go_on.set()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.server.go_on.wait(30)
        if self.server.failures > 0:
            self.server.failures -= 1
            self.send_response(503)
        else:
            self.server.heard.append(json.loads(body))
            self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def serve() -> Iterator[Start]:
    running: list[tuple[Server, threading.Thread]] = []

    def start() -> Server:
        server = Server()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def exporter() -> Iterator[Start]:
    started: list[AppriseExporter] = []

    def start(*urls: str, **settings: Any) -> AppriseExporter:
        telemetry = Telemetry()
        made = AppriseExporter("apprise", urls, telemetry, **{"retry": QUICK, "timeout_s": 5.0, **settings})
        made.telemetry = telemetry
        made.start()
        started.append(made)
        return made

    yield start
    for each in started:
        each.shutdown(1.0)


def counted(exporter: Any, outcome: str, position: int = 0) -> float:
    labels = {"exporter": f"apprise[{position}]", "outcome": outcome}
    return exporter.telemetry.registry.get_sample_value("otel_ml_notifications_total", labels) or 0.0


def url(server: Server) -> str:
    return f"json://127.0.0.1:{server.server_port}/{SECRET}"


def test_a_person_reads_what_where_since_when_and_what_to_do(serve: Start, exporter: Start) -> None:
    server = serve()
    sending = exporter(url(server))
    sending.notify([notice(count=200), notice("resolved", "over")])
    wait_until(lambda: len(server.heard) == 2)
    fired, over = server.heard
    assert fired["title"] == "[critical] fraud 7: it drifts: age, amount and 198 more"
    assert fired["type"] == "failure"
    assert fired["message"].splitlines() == [
        "Something is off.",
        f"Rule drift (critical): {semconv.DRIFT_BREACHED} above 0.5 for 10m",
        "- feature age, method psi: 1",
        "- feature amount, method psi: 1",
        "- and 198 more",
        "Since 2025-06-15T15:06:40Z",
        "What to do: docs/runbooks/drift.md",
    ]
    assert (over["title"], over["type"]) == ("[resolved] fraud 7: it drifts", "success")
    assert over["message"].splitlines()[0] == "The problem is over."
    wait_until(lambda: counted(sending, "sent") == 2.0)


def test_what_only_updates_wakes_nobody(serve: Start, exporter: Start) -> None:
    server = serve()
    sending = exporter(url(server))
    sending.notify([notice(reason="resumed"), notice(reason="fewer"), notice(reason="repeat")])
    wait_until(lambda: server.heard)
    assert [message["title"] for message in server.heard] == ["[critical] fraud 7: it drifts: age, amount (still)"]


def test_a_failing_service_is_tried_again(serve: Start, exporter: Start) -> None:
    server = serve()
    server.failures = 3
    sending = exporter(url(server))
    sending.notify([notice()])
    wait_until(lambda: counted(sending, "sent") == 1.0)
    assert len(server.paths) == 4


def test_a_service_that_stays_away_is_given_up_and_counted(exporter: Start, caplog: pytest.LogCaptureFixture) -> None:
    sending = exporter(f"json://127.0.0.1:1/{SECRET}", retry=RetryPolicy(enabled=False))
    sending.notify([notice()])
    wait_until(lambda: counted(sending, "failed") == 1.0)
    wait_until(lambda: "gave up on" in caplog.text)


def test_a_slow_service_slows_no_other_and_its_queue_is_bounded(serve: Start, exporter: Start) -> None:
    slow, quick = serve(), serve()
    slow.go_on.clear()
    sending = exporter(url(slow), url(quick), queue_size=5, timeout_s=20.0)
    for number in range(20):
        sending.notify([notice(model=f"m{number}")])
        wait_until(lambda number=number: len(quick.heard) == number + 1)
    assert slow.heard == []
    assert counted(sending, "dropped") >= 14.0
    assert counted(sending, "dropped", 1) == 0.0
    slow.go_on.set()
    wait_until(lambda: counted(sending, "sent") >= 5)


def test_what_waits_for_a_slow_service_goes_together(serve: Start, exporter: Start) -> None:
    server = serve()
    server.go_on.clear()
    sending = exporter(url(server), timeout_s=20.0)
    sending.notify([notice(model="first")])
    wait_until(lambda: server.paths)
    other = replace(notice(model="m1"), rule=replace(RULE, name="other", summary="another thing"))
    over, again = notice("resolved", "over", model="m1"), notice(model="m1")
    sending.notify([*(notice(model=f"m{number}") for number in range(100)), other, over, again])
    server.go_on.set()
    wait_until(lambda: counted(sending, "sent") == 104.0)
    assert [message["title"] for message in server.heard] == [
        "[critical] first 7: it drifts: age, amount", "[critical] 100 models: it drifts",
        "[critical] m1 7: another thing: age, amount",
        "[resolved] m1 7: it drifts", "[critical] m1 7: it drifts: age, amount",
    ]  # fmt: skip
    lines = server.heard[1]["message"].splitlines()
    assert lines[2] == "- m0 7: feature age, method psi: 1"
    assert lines[-2:] == ["- and 80 more", "What to do: docs/runbooks/drift.md"]


def test_a_shutdown_sends_what_waits(serve: Start, exporter: Start) -> None:
    server = serve()
    sending = exporter(url(server))
    sending.notify([notice(model=f"m{number}") for number in range(5)])
    sending.shutdown(10.0)
    assert counted(sending, "sent") == 5
    assert "m4 7" in json.dumps(server.heard)
    sending.notify([notice()])
    assert counted(sending, "dropped") == 1.0


def test_no_address_is_logged_at_any_level(serve: Start, exporter: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    server.failures = 2
    with caplog.at_level(logging.DEBUG):
        sending = exporter(
            url(server).replace("json://", f"json://user:{SECRET}@"), f"json://127.0.0.1:1/{SECRET}",
            retry=RetryPolicy(initial_s=0.01, max_elapsed_s=0.2),
        )  # fmt: skip
        sending.notify([notice()])
        wait_until(lambda: counted(sending, "sent") == 1.0 and counted(sending, "failed", 1) == 1.0)
        problems = sending.probe(notice())
    assert server.paths
    assert "gave up on" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in "".join(problems)
    assert SECRET not in repr(vars(sending))


def test_a_name_from_the_network_calls_nobody(serve: Start, exporter: Start) -> None:
    server = serve()
    hostile = "<!channel> @everyone <a href='http://x'>\n\x07" + "z" * 5000
    exporter(url(server)).notify([notice(model=hostile, features=[hostile])])
    wait_until(lambda: server.heard)
    text = server.heard[0]["title"] + server.heard[0]["message"]
    assert not {"<", ">", "@", "\x07"} & set(text)
    assert len(text) < 1000
    assert "\n" not in server.heard[0]["title"]


def test_addresses_that_apprise_does_not_know_are_named_by_position() -> None:
    problems = check_urls("exporters.apprise", ["json://localhost/x", f"nothing://{SECRET}", SECRET])
    assert [problem.partition(":")[0] for problem in problems] == [
        "exporters.apprise.urls.1",
        "exporters.apprise.urls.2",
    ]
    assert SECRET not in "".join(problems)
    with pytest.raises(ValueError, match=r"exporters\.apprise\.urls\.0"):
        AppriseExporter("apprise", [f"nothing://{SECRET}"], Telemetry())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert list(APPRISE.missing("exporters.apprise")) == [
        f"exporters.apprise: needs the package apprise; install it with: {install('notify')}"
    ]
    with pytest.raises(OSError, match=re.escape(install("notify"))):
        AppriseExporter("apprise", ["json://localhost"], Telemetry())


def test_a_probe_names_the_services_that_did_not_take_it(serve: Start, exporter: Start) -> None:
    server = serve()
    sending = exporter(url(server), "json://127.0.0.1:1/", timeout_s=1.0)
    (problem,) = sending.probe(notice(reason="test"))
    assert problem.startswith("apprise[1]: ")
    assert server.heard[0]["title"] == "[test] otel-ml: this is a test alert; nothing is wrong"


# --- e-mail ---------------------------------------------------------------------------------------------------


class Smtp(socketserver.StreamRequestHandler):
    """As much of SMTP as takes one mail."""

    def handle(self) -> None:
        self.say("220 local")
        while line := self.rfile.readline().decode().strip():
            verb = line.upper().split(" ")[0]
            if verb == "DATA":
                self.say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 well")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[Any]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)
    server.mails = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_mail_arrives_with_subject_and_text(mail_server: Any, exporter: Start) -> None:
    port = mail_server.server_address[1]
    sending = exporter(f"mailto://127.0.0.1:{port}?from=otel-ml@example.org&to=ops@example.org&mode=insecure")
    sending.notify([notice()])
    wait_until(lambda: mail_server.mails)
    (mail,) = mail_server.mails
    assert mail["subject"] == "[critical] fraud 7: it drifts: age, amount"
    assert "ops@example.org" in mail["to"]
    text = "".join(part.get_content() for part in mail.walk() if part.get_content_maintype() == "text")
    assert "feature age, method psi: 1" in text
    wait_until(lambda: counted(sending, "sent") == 1.0)
