"""Rules of the health check: 200 while all is well, 503 with the reason, on any address, whoever asks."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from collector_processor.extensions.health_check.server import HealthServer
from collector_processor.serving.listen import split_endpoint
from support.waiting import wait_until


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a health server with a status and returns its URL."""
    started: list[HealthServer] = []

    def start(status: Callable[[], str] = lambda: "", host: str = "localhost") -> str:
        server = HealthServer(f"{host}:0", status)
        server.start()
        started.append(server)
        return f"http://{host}:{server.port}"

    yield start
    for server in started:
        server.stop()


def test_the_status_is_asked_at_each_request_and_told_at_every_path(serve: Callable[..., str]) -> None:
    problems: list[str] = []
    url = serve(lambda: "; ".join(problems))
    for path in ("/", "/health", "/status?verbose"):
        answer = requests.get(url + path, timeout=5)
        assert (answer.status_code, answer.json()) == (200, {"status": "Server available"})
    problems.append("the statistics have stopped")
    answer = requests.get(url, timeout=5)
    assert (answer.status_code, answer.json()) == (503, {"status": "the statistics have stopped"})
    problems.clear()
    assert requests.get(url, timeout=5).status_code == 200


def test_a_head_request_has_the_status_and_no_body(serve: Callable[..., str]) -> None:
    answer = requests.head(serve(lambda: "no"), timeout=5)
    assert (answer.status_code, answer.content) == (503, b"")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"])
def test_it_listens_on_names_and_on_addresses_of_both_versions(serve: Callable[..., str], host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert requests.get(serve(host=host), timeout=5).status_code == 200


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_used_address_and_an_unknown_host_are_told_with_the_key() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            OSError, match=rf"extensions\.health_check\.endpoint: cannot listen on {endpoint}: .*in use"
        ):
            HealthServer(endpoint, str).start()
    with pytest.raises(OSError, match=r"extensions\.health_check\.endpoint: cannot listen on nowhere\.invalid:80"):
        HealthServer("nowhere.invalid:80", str).start()


def test_stopping_frees_the_address_and_is_safe_without_a_start() -> None:
    server = HealthServer("127.0.0.1:0", str)
    assert server.port == 0
    server.stop()
    server.start()
    port = server.port
    server.stop()
    server.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_nonsense_and_silence_keep_nobody_else_from_an_answer(serve: Callable[..., str]) -> None:
    url = serve()
    host, port = split_endpoint(url.removeprefix("http://"))
    silent = [socket.create_connection((host, port)) for _ in range(8)]
    with socket.create_connection((host, port)) as rude:
        rude.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert b"400" in rude.recv(1000)
    assert requests.get(url, timeout=5).status_code == 200
    for each in silent:
        each.close()


def test_a_flood_of_connections_makes_no_flood_of_threads(serve: Callable[..., str]) -> None:
    url = serve()
    address = split_endpoint(url.removeprefix("http://"))
    before = set(threading.enumerate())
    flood = [socket.create_connection(address) for _ in range(60)]
    # Those that get no thread are hung up on, which makes them readable.
    wait_until(lambda: len(select.select(flood, [], [], 0)[0]) >= 60 - 16)
    assert len(set(threading.enumerate()) - before) <= 16
    for each in flood:
        each.close()
    wait_until(lambda: _answers(url))


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
