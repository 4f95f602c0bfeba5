"""The HTTP server of everything except OTLP: own metrics, health, the Prometheus exporter's ``/metrics``.

Each listener has its own thread and event loop. The service's loop receives OTLP, and a delay there must not make a
probe fail; nor may a flood on one address affect the others. Handlers that compute (``/metrics`` renders thousands of
series) run in a few more threads, so that quick answers never wait for them.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import parse_qs

from collector_processor.own.telemetry import Telemetry
from collector_processor.security.guard import HEADER, Guard
from collector_processor.serving.http_connection import HttpCall, HttpLimits
from collector_processor.serving.http_head import Head
from collector_processor.serving.http_server import HttpServer
from collector_processor.serving.listen import listen, split_endpoint
from collector_processor.serving.routes import HttpAnswer, HttpRequest, Routes
from collector_processor.serving.settings import AdminHttpListener

_THREADS: Final = 4


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
        limits: HttpLimits | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        self._key = key
        self._endpoint = endpoint
        self._secure = secure
        self._limits = AdminHttpListener().http_limits() if limits is None else limits
        self._telemetry = telemetry
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="admin")
        self._handler = _Handler(routes, guard, self._pool)
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
        server = HttpServer(self._key, self._handler, sockets, self._telemetry, limits=self._limits, context=context)
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


class _Handler:
    """Answers a call by the routes."""

    def __init__(self, routes: Routes, guard: Guard | None, pool: ThreadPoolExecutor) -> None:
        self._routes = routes
        self._guard = guard
        self._pool = pool

    async def __call__(self, call: HttpCall) -> HttpAnswer:
        return self._unauthorized(call) or await self._answer(call.head)

    def _unauthorized(self, call: HttpCall) -> HttpAnswer | None:
        if self._guard is None:
            return None
        message = self._guard.refusal(call.head.values(HEADER), "http", "", call.peer)
        if message is None:
            return None
        challenge = (("www-authenticate", f'{self._guard.scheme} realm="otel-ml"'),)
        return HttpAnswer(f"{message}\n".encode(), status=401, headers=challenge)

    async def _answer(self, head: Head) -> HttpAnswer:
        route = self._routes.find(head.path)
        if route is None:
            return HttpAnswer(f"no such path; use one of: {', '.join(self._routes.paths)}\n".encode(), status=404)
        if head.method not in route.methods:
            allowed = (("allow", ", ".join(route.methods)),)
            return HttpAnswer(f"use {route.methods[0]}\n".encode(), status=405, headers=allowed)
        if route.changes and "origin" in head.headers:
            return HttpAnswer(b"a web page of another site cannot change anything here\n", status=403)
        query = parse_qs(head.query, keep_blank_values=True, max_num_fields=None)
        request = HttpRequest(head.method, head.path, query, head.headers)
        if route.quick:
            return route.handler(request)
        return await asyncio.get_running_loop().run_in_executor(self._pool, route.handler, request)
