"""The proxies of the environment: used, excepted or refused in the same way for gRPC and HTTP, against a real proxy."""

from __future__ import annotations

import contextlib
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.delivery.proxy import proxy_of
from collector_processor.exporters.delivery.retry import Delivery
from collector_processor.exporters.otlp.connection import connect
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpHttpSettings, OtlpSettings
from collector_processor.own.telemetry import Telemetry
from collector_processor.settings.target import parse_target
from support.sinks import grpc_sink, http_sink

Protocol = Literal["grpc", "http"]
NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")
NOWHERE = "collector.invalid"
"""A host that no DNS knows: it can only be reached through the proxy."""


@dataclass
class Proxy:
    """Takes ``CONNECT`` and absolute URLs for any host, and passes everything on to one port of this machine."""

    to: int
    port: int = 0
    heads: list[str] = field(default_factory=list[str])

    def serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        self.heads.append(head.decode("latin-1"))
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            if head.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(head)
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join(10)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxying(to: int) -> Iterator[Proxy]:
    proxy = Proxy(to)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy.port = listening.getsockname()[1]

        def run() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for spelling in (name, name.upper()):
            monkeypatch.delenv(spelling, raising=False)


def settings_of(protocol: Protocol, endpoint: str) -> OtlpSettings:
    kind = OtlpGrpcSettings if protocol == "grpc" else OtlpHttpSettings
    return kind.model_validate({"endpoint": endpoint})


def send(protocol: Protocol, endpoint: str) -> Delivery:
    context = ExporterContext("otlp", Telemetry(), "one", expiration_s=60.0, max_series=10)
    connection = connect(settings_of(protocol, endpoint), context, protocol)
    try:
        return connection.use(lambda sender: sender.send("traces", b"\x0a\x00", 10.0))
    finally:
        connection.close()


GRPC_NAMES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
HTTP_NAMES = ("http_proxy", "all_proxy")
USED = [(protocol, name) for protocol, names in (("grpc", GRPC_NAMES), ("http", HTTP_NAMES)) for name in names]


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
@pytest.mark.parametrize(("protocol", "variable"), USED)
def test_every_spelling_of_a_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, variable: str, spelled: Callable[[str], str]
) -> None:
    with (grpc_sink if protocol == "grpc" else http_sink)("127.0.0.1:0") as sink, proxying(sink.port) as proxy:
        monkeypatch.setenv(spelled(variable), f"http://us%20er:p%40ss@127.0.0.1:{proxy.port}")
        delivery = send(protocol, f"http://{NOWHERE}:4317")
    assert delivery.outcome == "sent", delivery
    [head] = proxy.heads
    assert NOWHERE in head
    assert f"basic {b64encode(b'us er:p@ss').decode()}".lower() in head.lower()


@pytest.mark.parametrize("exception", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    ("protocol", "variable"), [("grpc", "https_proxy"), ("grpc", "HTTPS_PROXY"), ("http", "HTTP_PROXY")]
)
def test_every_spelling_of_an_exception_is_respected(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, variable: str, exception: str
) -> None:
    with (grpc_sink if protocol == "grpc" else http_sink)("127.0.0.1:0") as sink, proxying(sink.port) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv(exception, "example.org, .invalid")
        assert send(protocol, f"http://{NOWHERE}:4317").outcome == "retry"
        # What is on this machine is reached directly, without an exception.
        monkeypatch.delenv(exception)
        assert send(protocol, f"http://localhost:{sink.port}").outcome == "sent"
    assert proxy.heads == []


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ALL_PROXY", "socks5://user:s3cret@127.0.0.1:1080", "only HTTP proxies are supported"),
        ("all_proxy", "socks5h://127.0.0.1:1080", "only HTTP proxies are supported"),
        ("HTTP_PROXY", "SOCKS4://127.0.0.1:1080", "only HTTP proxies are supported"),
        ("http_proxy", "https://user:s3cret@127.0.0.1:3128", "only HTTP proxies are supported"),
        ("http_proxy", "http://user:s3cret@proxy:port", "is not an address"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    [problem] = settings_of(protocol, f"http://{NOWHERE}:4317").problems("exporters.otlp")
    assert variable in problem
    assert reason in problem
    assert "s3cret" not in problem
    assert list(settings_of(protocol, "http://localhost:4317").problems("exporters.otlp")) == []
    assert list(settings_of(protocol, "unix:///run/s").problems("exporters.otlp")) == []
    monkeypatch.setenv("NO_PROXY", NOWHERE)
    assert list(settings_of(protocol, f"http://{NOWHERE}:4317").problems("exporters.otlp")) == []


@pytest.mark.parametrize(
    ("exceptions", "host", "direct"),
    [
        ("*", "collector.example.org", True),
        ("example.org", "collector.example.org", True),
        (".example.org", "collector.example.org", True),
        ("*.example.org", "collector.example.org", True),
        ("Example.ORG", "COLLECTOR.example.org.", True),
        ("example.org", "notexample.org", False),
        ("collector.example.org:4318", "collector.example.org", True),
        ("collector.example.org:4317", "collector.example.org", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:4318", "10.1.2.3", True),
        ("fd00::/8", "[fd00::1]", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]:4318", "[fd00::1]", True),
        ("a b,,  ,10.0.0.0/8", "10.1.2.3", True),
        ("", "collector.example.org", False),
        (",", "collector.example.org", False),
        (".", "collector.example.org", False),
    ],
)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_exceptions_are_hosts_domains_networks_and_ports(
    protocol: Protocol, exceptions: str, host: str, direct: bool
) -> None:
    environment = {"HTTP_PROXY": "proxy", "NO_PROXY": exceptions}
    proxy = proxy_of(parse_target(f"http://{host}:4318"), protocol, secure=False, environment=environment)
    assert (proxy is None) == direct
    assert proxy is None or proxy.url == "http://proxy:80"


def test_grpc_has_variables_of_its_own_that_come_first() -> None:
    target = parse_target("collector:4317")
    environment = {"GRPC_PROXY": "first", "https_proxy": "second", "no_grpc_proxy": "other", "no_proxy": "collector"}
    proxy = proxy_of(target, "grpc", secure=True, environment=environment)
    assert proxy is not None
    assert proxy.target.host == "first"
    assert proxy_of(target, "http", secure=True, environment=environment) is None
