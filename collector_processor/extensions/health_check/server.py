"""The health check: answers 200 while every part of the service is alive, 503 with the reason otherwise."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final

from collector_processor.serving.listen import split_endpoint

_KEY: Final = "extensions.health_check.endpoint"
_PROBES: Final = 16
"""Probes answered at once; connections beyond are closed."""
_IDLE_S: Final = 5.0


class HealthServer:
    """Serves the status at every path of one address.

    ``status`` returns the empty string when all is well, else what is wrong; it is asked at each request.
    """

    def __init__(self, endpoint: str, status: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._status = status
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before the start."""
        return self._server.server_port if self._server is not None else 0

    def start(self) -> None:
        """Begins to answer; ``OSError`` with the configuration key when the address cannot be had."""
        try:
            self._server = _Server(self._endpoint, self._status)
        except OSError as error:
            raise OSError(f"{_KEY}: cannot listen on {self._endpoint}: {error.strerror or error}") from None
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="health", daemon=True).start()

    def stop(self) -> None:
        """Stops answering; safe to call without start."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    """A thread for each probe, up to a limit; on the host's IPv4 address where there is a choice."""

    daemon_threads = True
    request_queue_size = 4 * _PROBES

    def __init__(self, endpoint: str, status: Callable[[], str]) -> None:
        host, port = split_endpoint(endpoint)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        self._free = threading.BoundedSemaphore(_PROBES)
        super().__init__((str(address[0]), int(address[1])), _handler(status))

    def server_bind(self) -> None:
        """Binds without the base class's look-up of this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

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
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers and gives the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that hangs up is no error of ours."""


def _handler(status: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    """A handler that answers every path with the status."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _IDLE_S

        def do_GET(self) -> None:
            problem = status()
            body = json.dumps({"status": problem or "Server available"}).encode()
            self.send_response(503 if problem else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- signature of the base
            """Probes come every few seconds; they are not worth a line."""

    return Handler
