"""The HTTP server of everything except OTLP: own metrics, health, the Prometheus exporter's ``/metrics``.

Each listener has its own thread and event loop. The service's loop receives OTLP, and a delay there must not make a
probe fail; nor may a flood on one address affect the others. Handlers that compute (``/metrics`` renders thousands of
series) run in a few more threads, so that quick answers never wait for them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from collector_processor.security.guard import HEADER, Guard
from collector_processor.serving.http_protocol import HANG_UP, BoundedHttp
from collector_processor.serving.http_server import HttpServer, Receive, Scope, Send
from collector_processor.serving.listen import listen, split_endpoint
from collector_processor.serving.routes import HttpAnswer, HttpRequest, Routes

_IDLE_S: Final = 10
"""How long a client may take for its request, for each piece of its answer, and until its next request."""
_PIECE_BYTES: Final = 2**16
_THREADS: Final = 4
_log = logging.getLogger(__name__)
_SILENT: Final = logging.getLogger(f"{__name__}.requests")
_SILENT.disabled = True


class AdminHttp(BoundedHttp):
    """Limits of one connection; a scraper or a probe needs one connection and a small head."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.logger = _SILENT  # whoever can connect could fill the log

    max_connections: ClassVar[int] = 32
    max_head_bytes: ClassVar[int] = 16 * 2**10
    head_timeout_s: ClassVar[float] = _IDLE_S


class AdminServer:
    """Serves ``routes`` at ``endpoint`` (``host:port``, port 0 for any free one); ``key`` is for error texts.

    Raises ``ValueError`` if the endpoint is not ``host:port``. ``secure`` returns the TLS context, at the start. With a
    ``guard``, nothing is served without a token.
    """

    def __init__(
        self,
        key: str,
        endpoint: str,
        routes: Routes,
        *,
        secure: Callable[[], ssl.SSLContext] | None = None,
        guard: Guard | None = None,
        protocol: type[BoundedHttp] = AdminHttp,
    ) -> None:
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        self._key = key
        self._endpoint = endpoint
        self._secure = secure
        self._protocol = protocol
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="admin")
        self._app = _App(routes, guard, self._pool)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending = asyncio.Event()
        self._grace_s = 0.0
        self._port = 0

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self._port

    def start(self) -> None:
        """Start to answer; raise ``OSError`` with the address and the key if the address cannot be used."""
        context = None if self._secure is None else self._secure()
        sockets = listen(self._endpoint, self._key)
        self._port = sockets[0].getsockname()[1]
        server = HttpServer(self._app, sockets, keep_alive_s=_IDLE_S, context=context, protocol=self._protocol)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop, server), name="admin-http", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop answering and free the address; safe to call without start."""
        if self._loop is None or self._thread is None:
            return
        self._grace_s = timeout_s
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(timeout_s + 1.0)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop = self._thread = None
        self._port = 0

    def _run(self, loop: asyncio.AbstractEventLoop, server: HttpServer) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(server))
        finally:
            loop.close()

    async def _serve(self, server: HttpServer) -> None:
        server.start()
        await self._ending.wait()
        await server.stop(self._grace_s)


class _App:
    """The routes as an ASGI application."""

    def __init__(self, routes: Routes, guard: Guard | None, pool: ThreadPoolExecutor) -> None:
        self._routes = routes
        self._guard = guard
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._unauthorized(scope) or await self._answer(scope)
        headers = [
            (b"content-type", answer.content_type.encode("latin-1")),
            (b"content-length", str(len(answer.body)).encode()),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        try:
            for message in _pieces(body):
                await asyncio.wait_for(send(message), _IDLE_S)
        except asyncio.TimeoutError:
            # The client does not read; without this, what it has not read would be kept in memory.
            scope["extensions"][HANG_UP]()
            await asyncio.sleep(0)

    def _unauthorized(self, scope: Scope) -> HttpAnswer | None:
        if self._guard is None:
            return None
        sent: list[bytes] = [value for name, value in scope["headers"] if name == HEADER.encode()]
        client: Sequence[Any] | None = scope.get("client")
        peer = str(client[0]) if client else "an unknown address"
        message = self._guard.refusal(sent, "http", "", peer)
        if message is None:
            return None
        challenge = (("www-authenticate", f'{self._guard.scheme} realm="otel-ml"'),)
        return HttpAnswer(f"{message}\n".encode(), status=401, headers=challenge)

    async def _answer(self, scope: Scope) -> HttpAnswer:
        route = self._routes.find(scope["path"])
        if route is None:
            return HttpAnswer(f"no such path; use one of: {', '.join(self._routes.paths)}\n".encode(), status=404)
        if scope["method"] not in ("GET", "HEAD"):
            return HttpAnswer(b"use GET\n", status=405, headers=(("allow", "GET, HEAD"),))
        request = _request(scope)
        try:
            if route.quick:
                return route.handler(request)
            return await asyncio.get_running_loop().run_in_executor(self._pool, route.handler, request)
        except Exception:  # noqa: BLE001 -- one failed answer must not end the server
            _log.exception("answering %s failed", scope["path"])
            return HttpAnswer(b"this could not be answered; see the service's log for the reason\n", status=500)


def _request(scope: Scope) -> HttpRequest:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=None)
    return HttpRequest(scope["method"], scope["path"], query, headers)


def _pieces(body: bytes) -> Iterator[dict[str, object]]:
    """Split a body into ASGI messages small enough to notice a client that does not read."""
    last = max(0, len(body) - 1) // _PIECE_BYTES
    for piece in range(last + 1):
        octets = body[piece * _PIECE_BYTES : (piece + 1) * _PIECE_BYTES]
        yield {"type": "http.response.body", "body": octets, "more_body": piece < last}
