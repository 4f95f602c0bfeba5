"""Rules of the listeners for metrics, status and probes: bounded, guarded, and never held up by one another."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from prometheus_client import CollectorRegistry, Gauge

from collector_processor.own.telemetry import Telemetry
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard
from collector_processor.serving.admin import AdminServer
from collector_processor.serving.http_connection import HttpConnection
from collector_processor.serving.prometheus_text import metrics_handler
from collector_processor.serving.routes import HttpAnswer, HttpRequest, Routes
from collector_processor.serving.settings import AdminHttpListener
from support.waiting import wait_until

Serve = Callable[..., AdminServer]
LIMITS = AdminHttpListener().http_limits()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with some routes: ``serve({"/slow": handler}, quick={"/": handler}, guard=…)``."""
    started: list[AdminServer] = []

    def start(slow: dict[str, Any] | None = None, quick: dict[str, Any] | None = None, **options: Any) -> AdminServer:
        routes = Routes()
        for path, handler in (slow or {}).items():
            routes.add(path, handler)
        for path, handler in (quick or {}).items():
            routes.add(path, handler, quick=True)
        server = AdminServer("some.endpoint", "127.0.0.1:0", routes, **options)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(5.0)


def fine(request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(b"fine\n")


def fetch(server: AdminServer, path: str, **options: Any) -> requests.Response:
    return requests.request(
        options.pop("method", "GET"), f"http://127.0.0.1:{server.port}{path}", timeout=10, **options
    )


def test_answers_that_take_long_hold_up_no_probe(serve: Serve) -> None:
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    def slow(request: HttpRequest) -> HttpAnswer:
        waiting.release()
        assert go_on.wait(10)
        return HttpAnswer(b"slow\n")

    server = serve({"/slow": slow}, {"/health": fine})
    answers: list[bytes] = []
    askers = [threading.Thread(target=lambda: answers.append(fetch(server, "/slow").content)) for _ in range(10)]
    for asker in askers:
        asker.start()
    for _ in range(4):
        assert waiting.acquire(timeout=10)
    assert fetch(server, "/health").content == b"fine\n"
    go_on.set()
    for asker in askers:
        asker.join(10)
    assert answers == [b"slow\n"] * 10


def test_nothing_is_served_without_a_token_where_one_is_asked_for(serve: Serve) -> None:
    telemetry = Telemetry()
    server = serve({"/metrics": fine}, guard=Guard(Tokens("extensions.x", ("s3cret",), None), telemetry, key="some"))
    for path in ("/metrics", "/elsewhere"):
        answer = fetch(server, path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="otel-ml"')
        assert "authorization: Bearer <token>" in answer.text
    assert fetch(server, "/metrics", headers={"authorization": "Bearer s3cret"}).content == b"fine\n"
    labels = {"transport": "http", "reason": "missing"}
    assert telemetry.registry.get_sample_value("otel_ml_unauthenticated_total", labels) == 2


def test_a_path_that_is_not_there_names_those_that_are(serve: Serve) -> None:
    answer = fetch(serve({"/metrics": fine}, {"/status": fine}), "/metricz")
    assert (answer.status_code, answer.text) == (404, "no such path; use one of: /metrics, /status\n")


def test_only_get_and_head_are_answered(serve: Serve) -> None:
    server = serve({"/metrics": fine})
    assert fetch(server, "/metrics", method="POST", data=b"x" * 100_000).status_code == 405
    head = fetch(server, "/metrics", method="HEAD")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")


def test_a_handler_that_fails_is_logged_and_the_next_request_answered(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: HttpRequest) -> HttpAnswer:
        raise RuntimeError("secret path /etc")

    server = serve({"/broken": fail}, {"/also": fail, "/health": fine})
    with caplog.at_level(logging.ERROR):
        for path in ("/broken", "/also"):
            answer = fetch(server, path)
            assert answer.status_code == 500
            assert "secret" not in answer.text
    assert [record.message for record in caplog.records] == [
        "answering /broken failed",
        "answering /also failed",
    ]
    assert fetch(server, "/health").status_code == 200


def test_a_client_that_does_not_read_its_answer_is_hung_up_on(serve: Serve) -> None:
    size, telemetry = 64 * 2**20, Telemetry()
    server = serve(
        {"/metrics": lambda _: HttpAnswer(bytes(size))},
        telemetry=telemetry,
        limits=replace(LIMITS, write_timeout_s=0.2),
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: closed(telemetry, "slow_reader") == 1)
        received = 0
        while piece := client.recv(2**20):
            received += len(piece)
    assert received < size


def test_a_client_that_reads_gets_a_long_answer_whole(serve: Serve) -> None:
    size = 64 * 2**20
    server = serve({"/metrics": lambda _: HttpAnswer(bytes(size))})
    assert len(fetch(server, "/metrics").content) == size


def test_the_end_of_an_answer_is_not_kept_forever(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = threading.Event()
    made, gone = HttpConnection.connection_made, HttpConnection.connection_lost

    def connection_made(connection: HttpConnection, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(connection, transport)

    def connection_lost(connection: HttpConnection, exc: Exception | None) -> None:
        gone(connection, exc)
        lost.set()

    monkeypatch.setattr(HttpConnection, "connection_made", connection_made)
    monkeypatch.setattr(HttpConnection, "connection_lost", connection_lost)
    limits = replace(LIMITS, head_timeout_s=0.2)
    server = serve({"/metrics": lambda _: HttpAnswer(bytes(60_000))}, limits=limits)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(10)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert lost.wait(10), "the connection is still held"


def test_connections_that_trickle_shut_nobody_out(serve: Serve) -> None:
    telemetry = Telemetry()
    server = serve({"/metrics": fine}, {"/health": fine}, telemetry=telemetry)
    trickles = [
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a",
        b"GET /health HTTP/1.1\r\n\r\nGET /he",
        b"",
    ]
    slow: list[socket.socket] = []
    for number in range(80):
        slow.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        slow[-1].sendall(trickles[number % len(trickles)])
    for path in ("/health", "/metrics"):
        for _ in range(3):
            assert fetch(server, path).content == b"fine\n"
    assert closed(telemetry, "limit") >= 48
    assert closed(telemetry, "refused") == 0
    for each in slow:
        each.close()


def closed(telemetry: Telemetry, reason: str) -> float:
    labels = {"listener": "some.endpoint", "reason": reason}
    return telemetry.registry.get_sample_value("otel_ml_connections_closed_total", labels) or 0.0


def test_handshakes_under_way_count_as_connections(serve: Serve, tmp_path: Path) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = serve(quick={"/health": fine}, secure=lambda: context)
    url = f"https://localhost:{server.port}/health"
    mute = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(31)]
    with requests.get(url, verify=str(tmp_path / "ca.pem"), timeout=10) as answer:
        assert answer.status_code == 200, "a handshake that does not go on holds up no other"
    mute += [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(3)]
    assert mute[0].recv(1) == b"", "beyond the limit the oldest handshake makes room"
    assert requests.get(url, verify=str(tmp_path / "ca.pem"), timeout=10).status_code == 200
    for each in mute:
        each.close()


def test_metrics_may_be_asked_for_by_name() -> None:
    registry = CollectorRegistry()
    for name in ("one", "two"):
        Gauge(name, "a figure", registry=registry)
    answer = metrics_handler(registry)(HttpRequest("GET", "/metrics", {"name[]": ["two"]}))
    assert b"two 0.0" in answer.body
    assert b"one" not in answer.body


def test_a_path_has_one_handler() -> None:
    routes = Routes()
    routes.add("/api/*", fine)
    routes.add("/api/v1/*", fine, quick=True)
    with pytest.raises(ValueError, match="already has a handler"):
        routes.add("/api/*", fine)
    deepest, other = routes.find("/api/v1/models"), routes.find("/api/v2")
    assert deepest is not None
    assert other is not None
    assert (deepest.quick, other.quick) == (True, False)
