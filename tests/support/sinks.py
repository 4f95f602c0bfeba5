"""Destinations of OTLP on every kind of address: real servers that keep what they got."""

from __future__ import annotations

import gzip
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import grpc

SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}


@dataclass
class Sink:
    """What came: the path or signal, the headers with names in lower case, the plain body."""

    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])
    port: int = 0

    def headers(self, name: str) -> list[str | None]:
        return [headers.get(name) for _, headers, _ in self.got]


@dataclass(frozen=True)
class Pem:
    """A certificate with its key."""

    cert_file: Path
    key_file: Path


@contextmanager
def grpc_sink(address: str, pem: Pem | None = None) -> Iterator[Sink]:
    """Serve on ``127.0.0.1:0``, ``[::1]:0``, ``unix:/path`` or ``unix-abstract:name``."""
    sink = Sink()

    def handler(signal: str) -> grpc.GenericRpcHandler:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            sink.got.append((signal, {key: str(value) for key, value in context.invocation_metadata()}, body))
            return b""

        method = grpc.unary_unary_rpc_method_handler(export)
        return grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": method})

    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, [handler(signal) for signal in SERVICES], options=[("grpc.so_reuseport", 0)])
        if pem is None:
            sink.port = server.add_insecure_port(address)
        else:
            pair = (pem.key_file.read_bytes(), pem.cert_file.read_bytes())
            sink.port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        server.start()
        try:
            yield sink
        finally:
            server.stop(None).wait(10)


@contextmanager
def http_sink(address: str, pem: Pem | None = None) -> Iterator[Sink]:
    """Serve on ``127.0.0.1:0``, ``[::1]:0`` or ``unix:/path``."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            plain = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
            sink.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, plain))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        allow_reuse_address = True
        address_family = (
            socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET6 if "[" in address else socket.AF_INET
        )

        def handle_error(self, *_: object) -> None: ...

    place: str | tuple[str, int] = address.removeprefix("unix:")
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        place = (host.strip("[]"), int(port))
    server = Server(place, Handler)  # pyright: ignore[reportArgumentType]
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem.cert_file, pem.key_file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    if not address.startswith("unix:"):
        sink.port = server.socket.getsockname()[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
