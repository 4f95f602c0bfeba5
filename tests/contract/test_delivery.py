"""Everything that leaves the service is delivered by the same rules, whatever it is: tested against real servers."""

from __future__ import annotations

import gzip
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from collector_processor.alerts.notice import Notice, Offender
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import Decoded, ModelKey
from collector_processor.exporters.alertmanager.exporter import AlertmanagerExporter
from collector_processor.exporters.apprise.exporter import AppriseExporter
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import RetryPolicy, Sender
from collector_processor.exporters.otlp.alert_events import AlertEvents
from collector_processor.exporters.otlp.exporter import OtlpExporter
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.journal.base import Request
from collector_processor.journal.memory import MemoryJournal
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv
from support.ports import free_port
from support.waiting import wait_until

NAME: Final = "exporter"
PATIENT: Final = RetryPolicy(initial_s=0.02, multiplier=1.0, max_s=0.02, max_elapsed_s=0.0, jitter=0.0)
ONCE: Final = RetryPolicy(enabled=False)
ITEM: Final = re.compile(rb"item(\d+)!")
RULE: Final = AlertRule("drift", semconv.DRIFT_SHARE, "above", threshold=0.3, clear=0.3, summary="it drifts")


class Server:
    """An HTTP destination: keeps the numbers of the items that came (``tried``) and of those that it took."""

    def __init__(self, port: int = 0) -> None:
        self.tried: Counter[int] = Counter()
        self.taken: Counter[int] = Counter()
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.token = ""
        self.poison: set[int] = set()
        self.refused = threading.Event()
        self.on_refusal: Callable[[], None] = lambda: None
        self.hold = threading.Event()
        self.hold.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
                numbers = {int(number) for number in ITEM.findall(plain)}
                server.tried.update(numbers)
                server.hold.wait(30)
                status = server.status
                if server.token and self.headers["Authorization"] != server.token:
                    status = 401
                    server.on_refusal()
                if numbers & server.poison:
                    status = 503
                if status == 200:
                    server.taken.update(numbers)
                self.send_response(status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.hold.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@dataclass
class Token:
    """Credentials that are replaced while the exporter runs."""

    value: str = ""
    changed: bool = False

    def replace(self, value: str) -> None:
        self.value, self.changed = value, True

    def is_new(self) -> bool:
        new, self.changed = self.changed, False
        return new

    def headers(self) -> dict[str, str]:
        return {"Authorization": self.value} if self.value else {}


@dataclass
class Setup:
    """What a kind of exporter is built with."""

    port: int
    retry: RetryPolicy = PATIENT
    timeout_s: float = 20.0
    room: int = 1000
    token: Token = field(default_factory=Token)
    telemetry: Telemetry = field(default_factory=Telemetry)

    def connection(self) -> Connection[Sender]:
        def connect() -> Sender:
            return HttpSender(f"http://127.0.0.1:{self.port}", headers=self.token.headers())

        return Connection(NAME, connect, self.token.is_new)

    def sample(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def model(number: int) -> ModelKey:
    return ModelKey(f"item{number}!", "7")


def notice(number: int) -> Notice:
    # A rule each, so that Apprise does not join their messages.
    rule = AlertRule(f"r{number}", RULE.measurement, "above", threshold=0.3, clear=0.3, summary="it drifts")
    offenders = (Offender(((semconv.FEATURE_NAME, "age"),), 0.5),)
    return Notice(rule, model(number), "firing", "new", 10**18, 10**18, 10**18, 1, offenders)


class Measurements:
    """Measurements over OTLP."""

    waits = True
    """Whether the destination can ask for a wait."""
    renews = True
    """Whether credentials can change while it runs."""
    refuses = True
    """Whether the destination can say that an item will never be taken."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exporter: Any = OtlpExporter(
            NAME,
            setup.connection(),
            setup.telemetry,
            instance_id="one",
            retry=setup.retry,
            timeout_s=setup.timeout_s,
            queue_size=setup.room,
        )

    def put(self, *numbers: int) -> None:
        for number in numbers:
            attributes = ((semconv.MODEL_NAME, model(number).name),)
            self.exporter.export([Measurement(semconv.WINDOW_ROWS, 1.0, semconv.UNIT_ROW, attributes, 1)])

    def start(self) -> None:
        self.exporter.start()

    def shutdown(self, timeout_s: float) -> None:
        self.exporter.shutdown(timeout_s)

    def counted(self, outcome: str) -> float:
        verb = {"sent": "sent", "failed": "send_failed", "dropped": "enqueue_failed"}[outcome]
        return self.setup.sample(f"otelcol_exporter_{verb}_metric_points_total", exporter=NAME)

    def waiting(self) -> float:
        return self.setup.sample("otelcol_exporter_queue_size", exporter=NAME, data_type="measurements")

    def kept(self, numbers: Sequence[int], room: int) -> Sequence[int]:
        """Which of the items stay when only ``room`` of them fit."""
        return numbers[:room]


class Originals(Measurements):
    """Original requests out of the journal; their queue is the journal, which loses the oldest."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.journal = MemoryJournal(setup.telemetry, max_entries=setup.room)
        self.journal.subscribe(NAME)
        self.exporter = OriginalsForwarder(
            NAME, self.journal, setup.connection(), setup.telemetry, retry=setup.retry, timeout_s=setup.timeout_s
        )

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.journal.append(Request("traces", b"item%d!" % number, Decoded(items=1), 1, 0))

    def counted(self, outcome: str) -> float:
        verb = {"sent": "sent", "failed": "send_failed", "dropped": "enqueue_failed"}[outcome]
        return self.setup.sample(f"otelcol_exporter_{verb}_spans_total", exporter=NAME)

    def waiting(self) -> float:
        return self.setup.sample("otelcol_exporter_queue_size", exporter=NAME, data_type="originals")

    def kept(self, numbers: Sequence[int], room: int) -> Sequence[int]:
        return numbers[-room:]


class Events(Measurements):
    """Alerts as OTLP log events."""

    label = NAME

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exporter = AlertEvents(
            NAME,
            setup.connection(),
            setup.telemetry,
            instance_id="one",
            retry=setup.retry,
            timeout_s=setup.timeout_s,
            queue_size=setup.room,
        )

    def put(self, *numbers: int) -> None:
        self.exporter.notify([notice(number) for number in numbers])

    def counted(self, outcome: str) -> float:
        return self.setup.sample("otel_ml_notifications_total", exporter=self.label, outcome=outcome)

    def waiting(self) -> float:
        return self.setup.sample("otelcol_exporter_queue_size", exporter=self.label, data_type="alerts")


class Apprise(Events):
    """Alerts as messages for people. The library says only whether a message was taken, and its URL is the token."""

    label = f"{NAME}[0]"
    waits, renews, refuses = False, False, False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exporter = AppriseExporter(
            NAME,
            [f"json://127.0.0.1:{setup.port}/"],
            setup.telemetry,
            retry=setup.retry,
            timeout_s=setup.timeout_s,
            queue_size=setup.room,
        )


class Alertmanager(Events):
    """The alerts that fire, as states."""

    waits = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exporter = AlertmanagerExporter(
            NAME,
            f"http://127.0.0.1:{setup.port}",
            setup.telemetry,
            headers=setup.token.headers,
            changed=setup.token.is_new,
            retry=setup.retry,
            timeout_s=setup.timeout_s,
            resend_s=3600.0,
            limit=setup.room,
        )


KINDS: Final[Sequence[type[Measurements]]] = (Measurements, Originals, Events, Apprise, Alertmanager)
Build = Callable[..., Measurements]


def kinds(those: Callable[[type[Measurements]], bool]) -> pytest.MarkDecorator:
    """Runs a test with the kinds that have what it is about."""
    return pytest.mark.parametrize(
        "build", [*filter(those, KINDS)], indirect=True, ids=lambda kind: kind.__name__.lower()
    )


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.lower())
def build(request: pytest.FixtureRequest) -> Iterator[Build]:
    built: list[Measurements] = []

    def make(port: int, **settings: Any) -> Measurements:
        built.append(request.param(Setup(port, **settings)))
        return built[-1]

    yield make
    for kind in built:
        kind.shutdown(0.1)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(port: int = 0) -> Server:
        started.append(Server(port))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


def test_a_destination_that_is_down_gets_everything_once_it_is_up(
    build: Build, serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    kind = build(port)
    kind.start()
    kind.put(0, 1, 2)
    wait_until(lambda: "trying again" in caplog.text)
    kind.put(3, 4)
    server = serve(port)
    wait_until(lambda: kind.counted("sent") == 5)
    assert server.taken == dict.fromkeys(range(5), 1)
    assert (kind.counted("failed"), kind.counted("dropped"), kind.waiting()) == (0, 0, 0)


def test_what_is_refused_for_good_is_counted_once_and_not_retried(build: Build, server: Server) -> None:
    server.status = 400
    kind = build(server.port)
    if not kind.refuses:
        kind = build(server.port, retry=ONCE)
    kind.put(0, 1)
    kind.start()
    wait_until(lambda: kind.counted("failed") == 2)
    server.status = 200
    kind.put(2)
    wait_until(lambda: kind.counted("sent") == 1)
    assert server.tried == {0: 1, 1: 1, 2: 1}
    assert (server.taken, kind.counted("failed")) == ({2: 1}, 2)


@kinds(lambda kind: kind is not Alertmanager)  # it gets states, all in one request
def test_an_item_that_always_fails_holds_up_no_other(build: Build, server: Server) -> None:
    server.poison = {0}
    kind = build(server.port)
    kind.start()
    kind.put(0)
    wait_until(lambda: server.tried[0] > 1)
    kind.put(1, 2, 3)
    wait_until(lambda: kind.counted("sent") == 3)
    assert server.taken == {1: 1, 2: 1, 3: 1}
    server.poison = set()
    wait_until(lambda: kind.counted("sent") == 4)
    assert (kind.counted("failed"), kind.counted("dropped")) == (0, 0)


def test_the_retry_policy_ends_what_keeps_failing(build: Build, server: Server) -> None:
    server.status = 503
    kind = build(server.port, retry=RetryPolicy(initial_s=0.01, max_s=0.01, max_elapsed_s=0.2))
    kind.put(0, 1)
    kind.start()
    wait_until(lambda: kind.counted("failed") == 2)
    assert server.tried[0] > 1
    assert (kind.counted("sent"), kind.waiting()) == (0, 0)


@kinds(lambda kind: kind.waits)
@pytest.mark.parametrize("asked", ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "3600"])
def test_a_wait_that_a_destination_asks_for_is_never_shorter_than_ours(
    build: Build, server: Server, asked: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.status, server.headers = 503, {"Retry-After": asked}
    ours_s = 1.0 if asked == "3600" else 3600.0
    kind = build(server.port, retry=RetryPolicy(initial_s=ours_s, max_s=ours_s, max_elapsed_s=0.0, jitter=0.0))
    kind.put(0)
    kind.start()
    wait_until(lambda: "trying again in 3600.0 s" in caplog.text)
    assert server.tried[0] == 1
    server.status = 200
    kind.shutdown(30)
    assert kind.counted("sent") == 1


def test_a_shutdown_delivers_what_waits(build: Build, server: Server) -> None:
    kind = build(server.port)
    kind.put(*range(5))
    kind.start()
    kind.shutdown(30)
    assert server.taken == dict.fromkeys(range(5), 1)
    assert (kind.counted("sent"), kind.counted("failed"), kind.waiting()) == (5, 0, 0)


def test_a_shutdown_does_not_wait_for_a_destination_that_hangs_and_counts_what_is_left(
    build: Build, server: Server
) -> None:
    server.hold.clear()
    kind = build(server.port, timeout_s=25.0)
    kind.start()
    kind.put(0)
    wait_until(lambda: server.tried[0] == 1)
    kind.put(1, 2)
    kind.shutdown(0.1)
    assert not server.hold.is_set(), "it returned while the destination still had not answered"
    assert kind.counted("sent") == 0
    assert kind.counted("failed") + kind.waiting() == 3


def test_a_shutdown_tries_once_more_what_waits_for_its_next_try(build: Build, server: Server) -> None:
    server.status = 503
    kind = build(server.port, retry=RetryPolicy(initial_s=3600.0, max_s=3600.0, max_elapsed_s=0.0))
    kind.start()
    kind.put(0)
    wait_until(lambda: server.tried[0] == 1)
    server.status = 200
    kind.shutdown(30)
    assert (server.taken, kind.counted("sent")) == ({0: 1}, 1)


def test_what_does_not_fit_is_dropped_and_counted(build: Build, server: Server) -> None:
    kind = build(server.port, room=2)
    kind.put(*range(5))
    assert kind.counted("dropped") == 3
    kind.start()
    wait_until(lambda: kind.counted("sent") == 2)
    assert server.taken == dict.fromkeys(kind.kept(range(5), 2), 1)


@kinds(lambda kind: kind.renews)
def test_new_credentials_are_used_even_for_the_request_that_the_old_ones_failed(build: Build, server: Server) -> None:
    token = Token("first")
    kind = build(server.port, token=token)
    server.token = "first"
    kind.start()
    kind.put(0)
    wait_until(lambda: kind.counted("sent") == 1)
    # The destination knows the new token first; ours is replaced while the old one is being refused.
    server.on_refusal = lambda: token.replace("second")
    server.token = "second"
    kind.put(1)
    wait_until(lambda: kind.counted("sent") == 2)
    assert server.tried == {0: 1, 1: 2}
    assert kind.counted("failed") == 0


@kinds(lambda kind: kind is not Originals)  # their journal is closed before
def test_nothing_is_accepted_after_the_shutdown(build: Build, server: Server) -> None:
    kind = build(server.port)
    kind.start()
    kind.shutdown(30)
    kind.put(0)
    assert (kind.counted("dropped"), server.tried) == (1, {})
