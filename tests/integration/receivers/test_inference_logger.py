"""Inference events over real sockets, into the real journal: answers, limits, forwarding, and whose tokens count."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from collector_processor.decode import concatenate, decode
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import Admission
from collector_processor.receivers.inference_logger.events import STRUCTURED
from collector_processor.receivers.inference_logger.http import InferenceLoggerReceiver
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard
from support.inference_events import kserve, post
from support.waiting import wait_until

KEY = "receivers.inference_logger"
REQUEST, RESPONSE = {"instances": [[1.5, "a"], [2.5, "b"]]}, {"predictions": ["yes", "no"]}


class Service:
    """One receiver in front of one memory journal, in a thread with its own event loop."""

    def __init__(self, settings: dict[str, Any], guard: Callable[[Telemetry], Guard] | None, instance_id: str) -> None:
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry, max_bytes=settings.pop("journal", 2**26))
        self.journal.subscribe("test", essential=True)
        self.admission = Admission(self.journal, decode, self.telemetry, instance_id=instance_id)
        self.receiver = InferenceLoggerReceiver(
            InferenceLoggerSettings.model_validate(settings),
            self.admission,
            KEY,
            endpoint="127.0.0.1:0",
            guard=None if guard is None else guard(self.telemetry),
            shared=False,
        )
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.receiver.start(), self.loop).result(30)
        self.port = self.receiver.port

    def rows(self) -> int:
        entries = self.journal.read("test", limit=10_000, timeout_s=0.0)
        return sum(len(batch) for entry in entries for batch in entry.request.decoded.predictions)

    def sample(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.receiver.stop(5.0), self.loop).result(30)

    def close(self) -> None:
        self.stop()
        self.admission.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    services: list[Service] = []

    def run(
        *, guard: Callable[[Telemetry], Guard] | None = None, instance_id: str = "here", **settings: Any
    ) -> Service:
        services.append(Service(settings, guard, instance_id))
        return services[-1]

    yield run
    for service in services:
        service.close()


def call(service: Service, identity: str, **more: str) -> None:
    assert post(service.port, kserve("request", identity) | more, REQUEST)[0] == 200
    assert post(service.port, kserve("response", identity) | more, RESPONSE)[0] == 200


def test_a_call_is_journaled_when_its_second_event_is_answered_with_200(start: Start) -> None:
    service = start()
    assert post(service.port, kserve("request", "1"), REQUEST) == (200, "")
    assert service.rows() == 0
    assert post(service.port, kserve("response", "1"), RESPONSE) == (200, "")
    [entry] = service.journal.read("test", limit=10, timeout_s=0.0)
    batch = concatenate(entry.request.decoded.predictions)
    assert (str(batch.model), len(batch), sorted(batch.features)) == ("churn", 2, ["x0", "x1"])
    # The original, which destinations of traces get, is a request of OTLP.
    assert decode("traces", entry.request.body, 0).items == 1
    accepted = {"receiver": "inference_logger", "transport": "http"}
    assert service.sample("otelcol_receiver_accepted_spans_total", **accepted) == 1


def test_a_replay_counts_nothing_twice(start: Start) -> None:
    service = start()
    for _ in range(3):
        call(service, "1")
    assert service.rows() == 2
    copies = {"stage": "events", "reason": "copy", "intentional": "true"}
    assert service.sample("otel_ml_dropped_total", **copies) == 4


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        ({}, b"{}", 400, "type is missing"),
        ({"Ce-Type": "x.inference.request"}, b"{}", 400, "id is missing"),
        ({"Content-Type": STRUCTURED}, b"{", 400, "not the JSON of a CloudEvent"),
        (kserve("request", "1") | {"Content-Encoding": "br"}, b"{}", 415, "use one of: gzip, deflate, zstd"),
        (kserve("request", "1") | {"Content-Encoding": "gzip"}, b"{}", 400, ""),
        (kserve("request", "1"), b" " * 5000, 413, "larger than the limit of 4096 bytes"),
        (kserve("request", "1") | {"Content-Encoding": "gzip"}, gzip.compress(bytes(10**6)), 413, "larger than"),
        (kserve("request", "1") | {"Otel-Ml-Via": "here"}, b"{}", 400, "passed through this service before"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_answered_at_once(
    start: Start, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    service = start(max_request_body_size=4096)
    answered, text = post(service.port, headers, body)
    assert (answered, said in text) == (status, True)
    call(service, "after")
    assert service.rows() == 2


def test_other_methods_are_refused(start: Start) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", start().port, timeout=10)) as connection:
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("allow")) == (405, "POST")


def test_a_body_that_never_ends_is_given_up(start: Start) -> None:
    service = start(read_timeout="50ms")
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in kserve("request", "1").items())
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 100\r\n\r\n{{".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
    call(service, "after")


def test_a_full_journal_is_answered_with_503_and_a_time(start: Start) -> None:
    service = start(journal=1)
    call(service, "1")
    assert post(service.port, kserve("request", "2"), REQUEST)[0] == 200
    status, _ = post(service.port, kserve("response", "2"), RESPONSE)
    assert status == 503
    refused = {"receiver": "inference_logger", "transport": "http"}
    assert service.sample("otelcol_receiver_refused_spans_total", **refused) == 1


def test_senders_without_a_token_are_refused(start: Start) -> None:
    service = start(guard=lambda telemetry: Guard(Tokens(KEY, ("sesame",)), telemetry, key=KEY))
    status, text = post(service.port, kserve("request", "1"), REQUEST)
    assert (status, "requires a bearer token" in text) == (401, True)
    refused = {"receiver": "inference_logger", "transport": "http"}
    assert service.sample("otelcol_receiver_refused_spans_total", **refused) == 1
    call(service, "1", Authorization="Bearer sesame")
    assert service.rows() == 2


def test_lonely_requests_expire_without_other_traffic(start: Start) -> None:
    service = start(pairs={"wait": "1ms"})
    assert post(service.port, kserve("request", "1"), REQUEST)[0] == 200
    expired = {"store": "inference_requests", "reason": "expired"}
    wait_until(lambda: service.sample("otel_ml_evicted_total", **expired) == 1)


def test_events_that_wait_at_the_end_are_counted(start: Start) -> None:
    service = start()
    assert post(service.port, kserve("response", "1"), RESPONSE)[0] == 200
    service.stop()
    stopped = {"store": "inference_responses", "reason": "stopped"}
    assert service.sample("otel_ml_evicted_total", **stopped) == 1


class Sink:
    """Another sink, which remembers what it gets, and waits with its answers while it is held."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.free = threading.Event()
        self.free.set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sink.free.wait(30)
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(sink.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/logs"

    def close(self) -> None:
        self.free.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    running = Sink()
    yield running
    running.close()


def test_events_are_forwarded_as_they_came_once_and_marked(start: Start, sink: Sink) -> None:
    service = start(forward_to={"endpoint": sink.url})
    call(service, "1", **{"Content-Encoding": ""})
    assert post(service.port, kserve("request", "2") | {"Content-Encoding": "gzip"}, gzip.compress(b"[]"))[0] == 200
    wait_until(lambda: len(sink.posts) == 3)
    bodies = sorted(body for _, body in sink.posts)
    assert bodies == sorted([json.dumps(REQUEST).encode(), json.dumps(RESPONSE).encode(), b"[]"])
    for headers, _ in sink.posts:
        assert headers["ce-inferenceservicename"] == "churn"
        assert headers["content-type"] == "application/json"
        assert headers["otel-ml-via"] == "here"
        assert "authorization" not in headers


def test_a_slow_sink_costs_the_events_that_do_not_fit_and_nothing_else(start: Start, sink: Sink) -> None:
    sink.free.clear()
    service = start(forward_to={"endpoint": sink.url, "queue_size": 2, "connections": 1})
    for number in range(10):
        call(service, str(number))
    assert service.rows() == 20
    full = {"stage": "events", "reason": "forward_queue_full", "intentional": "true"}
    lost = service.sample("otel_ml_dropped_total", **full)
    assert lost >= 17
    sink.free.set()
    wait_until(lambda: len(sink.posts) == 20 - lost)


def test_a_sink_that_refuses_is_counted(start: Start, sink: Sink) -> None:
    sink.status = 500
    service = start(forward_to={"endpoint": sink.url})
    call(service, "1")
    failed = {"stage": "events", "reason": "forward_failed", "intentional": "false"}
    wait_until(lambda: service.sample("otel_ml_dropped_total", **failed) == 2)
    assert service.rows() == 2
