"""The HTTP server behind ``/metrics``: bounded, quiet, and gone when it is stopped."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

_CONNECTIONS: Final = 32
"""Requests answered at once; a scraper needs one."""
_IDLE_S: Final = 10.0
Respond = Callable[[str, list[tuple[str, str]]], object]


class MetricsServer:
    """Serves one registry at ``GET /metrics`` of ``endpoint``; ``key`` is the configuration key for error texts.

    ``ValueError`` when the endpoint is no ``host:port``. An empty host means all interfaces, port 0 any free one.
    ``secure`` gives the context of TLS, at the start; its handshakes take place in the threads that answer.
    """

    def __init__(
        self,
        key: str,
        endpoint: str,
        registry: CollectorRegistry,
        secure: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        host, separator, port = endpoint.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{key}: {endpoint!r} is not an address; write host:port, such as localhost:9464")
        self._key = key
        self._endpoint = endpoint
        self._secure = secure
        self._host, self._port = host.strip("[]"), int(port)
        self._app = _only_metrics(make_wsgi_app(registry))
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before the start."""
        return 0 if self._server is None else self._server.server_port

    def start(self) -> None:
        """Begins to answer; ``OSError`` names the address and the key when the address cannot be had."""
        context = None if self._secure is None else self._secure()
        try:
            server = _Server(_best_address(self._host, self._port), context)
        except OSError as error:
            raise OSError(f"{self._key}: cannot listen on {self._endpoint}: {error.strerror or error}") from error
        server.set_app(self._app)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics-http", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stops answering and frees the address; safe to call without start."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout_s)
        self._server = self._thread = None


Address = tuple[socket.AddressFamily, Any]


def _best_address(host: str, port: int) -> Address:
    """Family and address to bind, IPv4 where there is a choice."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address


def _only_metrics(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The application for ``/metrics``, and a hint everywhere else."""

    def respond(environ: dict[str, Any], start_response: Respond) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/metrics":
            return app(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"see /metrics\n"]

    return respond


class _Handler(WSGIRequestHandler):
    """Lets go of clients that say nothing."""

    timeout = _IDLE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class calls it so
        """A scrape is no news."""

    def address_string(self) -> str:
        """The client's address, without asking the DNS for its name."""
        return str(self.client_address[0])


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request, up to a limit; connections beyond it are closed at once."""

    daemon_threads = True
    request_queue_size = 2 * _CONNECTIONS

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self.address_family = address[0]
        self._context = context
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address[1], _Handler)

    def server_bind(self) -> None:
        """Binds without the base class's look-up of this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        """The next connection; its handshake, if there is one, waits for its first read."""
        request, address = super().get_request()
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread of its own, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be started, so nobody else will give the place back.
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers and gives the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""
