"""The HTTP client of the senders against servers that answer in every way, word for word."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest

from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.exporters.delivery.http_connection import MAX_ANSWER_BYTES, Answer
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Compression

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Play = Callable[[socket.socket], None]


@dataclass
class Server:
    """Plays one part a connection, in turn, the last one over and over; keeps what was sent to it."""

    parts: list[Play]
    requests: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, connection: socket.socket) -> bool:
        """One request; False at the end of the connection."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return False
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append((head, body))
        return True

    def answers(self, *answers: bytes) -> Play:
        """Answers one request with each, then hangs up."""

        def play(connection: socket.socket) -> None:
            for answer in answers:
                if not self.read(connection):
                    return
                connection.sendall(answer)

        return play


@contextmanager
def serving(*parts: Play) -> Generator[Server]:
    found = Server(list(parts))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found.port = listening.getsockname()[1]

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                part = found.parts[min(found.connections, len(found.parts) - 1)]
                found.connections += 1
                with connection:
                    connection.settimeout(10)
                    try:
                        part(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def post(url: str, body: bytes = b"body", timeout_s: float = 10.0, headers: dict[str, str] | None = None) -> Answer:
    with closing(HttpClient(url, headers or {}, tls=None)) as client:
        return client.post("/v1/traces", body, timeout_s, {})


def replying(*answers: bytes) -> Play:
    """Reads a request and answers with some bytes, in pieces."""

    def play(connection: socket.socket) -> None:
        Server([]).read(connection)
        for answer in answers:
            connection.sendall(answer)

    return play


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([OK], 200, b"ok"),
        ([OK[:9], OK[9:20], OK[20:]], 200, b"ok"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"], 200, b"ok"),
        ([b"HTTP/1.0 503 Busy\r\n\r\nuntil ", b"the end"], 503, b"until the end"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n", OK], 200, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", bytes(200_000)], 200, bytes(MAX_ANSWER_BYTES)),
    ],
)
def test_any_whole_answer_is_understood(pieces: list[bytes], status: int, body: bytes) -> None:
    with serving(replying(*pieces)) as server:
        answer = post(server.url)

    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        b"no HTTP at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
    ],
)
def test_half_an_answer_or_none_may_be_tried_again(answer: bytes) -> None:
    with serving(replying(answer)) as server, pytest.raises(OSError, match=r"."):
        post(server.url)


def test_why_a_body_is_not_wanted_is_heard_before_it_is_sent() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with serving(refuse) as server:
        assert post(server.url, bytes(32 * 2**20)).status == 413


def test_an_answer_that_trickles_does_not_outlast_the_timeout() -> None:
    def trickle(connection: socket.socket) -> None:
        Server([]).read(connection)
        for octet in OK * 100:
            connection.sendall(bytes([octet]))
            threading.Event().wait(0.05)

    with serving(trickle) as server:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            post(server.url, timeout_s=0.3)

    assert time.monotonic() - began < 5.0


def test_a_connection_is_kept() -> None:
    with serving() as server:
        server.parts.append(server.answers(*[OK] * 5))
        with closing(HttpClient(server.url, {}, tls=None)) as client:
            bodies = [b"%d" % number for number in range(5)]
            for body in bodies:
                client.post("/v1/traces", body, 10.0, {})

    assert server.connections == 1
    assert [body for _, body in server.requests] == bodies


@pytest.mark.parametrize("last", [OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
def test_a_connection_that_was_closed_meanwhile_is_made_anew(last: bytes) -> None:
    with serving() as server:
        server.parts.append(server.answers(last))
        with closing(HttpClient(server.url, {}, tls=None)) as client:
            for _ in range(3):
                assert client.post("/v1/traces", b"body", 10.0, {}).status == 200
                wait_until_closed(client)

    assert server.connections == 3


def wait_until_closed(client: HttpClient) -> None:
    """Until the end of the idle connection, if one was kept, has come here."""
    for connection in client.idle:
        connection.sock.settimeout(10)
        assert connection.sock.recv(1, socket.MSG_PEEK) == b""


def test_headers_that_cannot_be_are_refused() -> None:
    with serving(replying(OK)) as server, pytest.raises(ValueError, match="'X-Token' has characters"):
        post(server.url, headers={"X-Token": "a\r\nX-Other: b"})


@pytest.mark.parametrize("url", ["http://[bad", "ftp://somewhere", "http://", "http://host:port"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        post(url)


def test_the_url_may_say_who_we_are_and_have_a_path() -> None:
    with serving(replying(OK)) as server:
        server.parts = [server.answers(OK)]
        post(f"http://me:s%20p@127.0.0.1:{server.port}/b%20se/")
    [(head, _)] = server.requests

    assert head.startswith(b"POST /b%20se/v1/traces HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic bWU6cyBw\r\n" in head + b"\r\n"
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n".encode() in head


def test_the_proxy_of_the_environment_is_asked_for_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        server.parts.append(server.answers(OK))
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{server.port}")
        monkeypatch.setenv("no_proxy", "")
        post("http://collector.example:4318")
    [(head, _)] = server.requests

    assert head.startswith(b"POST http://collector.example:4318/v1/traces HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0" in head


def test_tls_goes_through_a_tunnel_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with serving(refuse) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(OSError, match="403"):
            post("https://collector.example:4318")

    assert asked[0].startswith(b"CONNECT collector.example:4318 HTTP/1.")


@pytest.mark.parametrize("gzipped", [b"", gzip.compress(b"body", 9)], ids=["plain", "gzip"])
@pytest.mark.parametrize("compression", ["none", "gzip", None])
def test_what_came_compressed_is_not_compressed_anew(compression: Compression | None, gzipped: bytes) -> None:
    with serving() as server:
        server.parts.append(server.answers(OK))
        with closing(HttpSender(server.url, compression=compression)) as sender:
            assert sender.send("traces", b"body", 10.0, gzipped).outcome == "sent"
    [(head, sent)] = server.requests
    compressed = b"content-encoding: gzip" in head.lower()

    assert compressed == (compression == "gzip" or (compression is None and bool(gzipped)))
    assert (gzip.decompress(sent) if compressed else sent) == b"body"
    assert not (compressed and gzipped) or sent == gzipped


@pytest.mark.parametrize(
    "second", [b"HTTP/1.1 500 Oh\r\nRetry-After: 9\r\nContent-Length: 3\r\n\r\nwhy", b"HTTP/1.1 4"]
)
def test_an_answer_behind_the_answer_is_not_taken_for_one(second: bytes) -> None:
    with serving(replying(OK + second)) as server, closing(HttpClient(server.url, {}, tls=None)) as client:
        for _ in range(2):
            answer = client.post("/v1/traces", b"body", 10.0, {})
            assert (answer.status, answer.reason, answer.body) == (200, "OK", b"ok")
            assert answer.headers == {"content-length": "2"}
        assert server.connections == 2


def test_trailers_are_no_headers_and_have_an_end() -> None:
    chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
    with serving(replying(chunked + b"Retry-After: 9\r\n\r\n")) as server:
        answer = post(server.url)
        assert (answer.body, answer.headers) == (b"ok", {"transfer-encoding": "chunked"})
    endless = replying(chunked, *[b"A: b\r\n" * 10_000] * 1000)
    with serving(endless) as server, pytest.raises(ConnectionError, match="too long"):
        post(server.url, timeout_s=30.0)
