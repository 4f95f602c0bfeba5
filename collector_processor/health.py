"""The health check: answers 200 while every part of the service is alive, 503 with the reason otherwise."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port of ``host:port``, brackets of an IPv6 address removed.

    >>> split_endpoint("[::1]:80")
    ('::1', 80)
    """
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


class HealthServer:
    """Serves the status at every path of one address.

    ``status`` returns the empty string when all is well, else what is wrong; it is asked at each request.
    """

    def __init__(self, endpoint: str, status: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._status = status
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before the start."""
        return self._server.server_port if self._server is not None else 0

    def start(self) -> None:
        """Begins to answer; ``OSError`` with the configuration key when the address cannot be had."""
        status = self._status

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                problem = status()
                body = json.dumps({"status": problem or "Server available"}).encode()
                self.send_response(503 if problem else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- signature of the base
                """Probes come every few seconds; they are not worth a line."""

        try:
            self._server = ThreadingHTTPServer(split_endpoint(self._endpoint), Handler)
        except OSError as error:
            raise OSError(
                f"extensions.health_check.endpoint: cannot listen on {self._endpoint}: {error.strerror or error}"
            ) from None
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stops answering; safe to call without start."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
