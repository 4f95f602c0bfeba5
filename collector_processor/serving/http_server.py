"""An HTTP server for a shared event loop: bounded, without logs, and without signal handlers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from typing import Any, Final, cast

import uvicorn
from uvicorn.server import ServerState

from collector_processor.serving.http_protocol import BoundedHttp

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""
HANDSHAKE_TIMEOUT_S: Final = 20.0
_AT_ONCE: Final = 64
"""Connections to accept in a row before other work gets a turn."""
_TICK_S: Final = 1.0
_POLL_S: Final = 0.01
_TLS_CLOSE_S: Final = 1.0
"""How long a client may take to answer the end of TLS; a client that only hangs up never answers it."""
_FLUSH_S: Final = 0.5
"""How long the last answers may take to be sent, regardless of the grace time."""


class HttpServer:
    """Serves an ASGI application on listening sockets, and closes them at the end.

    uvicorn parses and answers; this class accepts connections, because uvicorn's own server takes over signals and
    limits neither connections nor TLS handshakes. ``protocol`` is the class of one connection, with its limits.
    """

    def __init__(
        self,
        app: App,
        sockets: Sequence[socket.socket],
        *,
        keep_alive_s: int,
        context: ssl.SSLContext | None = None,
        protocol: type[BoundedHttp] = BoundedHttp,
    ) -> None:
        self._sockets = tuple(sockets)
        self._context = context
        self._protocol = protocol
        # Only uvicorn's types know what a scope holds.
        self._config = uvicorn.Config(
            cast("Any", app),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive_s,
        )
        self._config.load()
        self._state = ServerState()
        self._clock: asyncio.Task[None] | None = None
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._arriving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start to accept, in the running loop."""
        self._set_date()
        self._clock = asyncio.create_task(self._tick(), name="http-date")
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    async def stop(self, grace_s: float) -> None:
        """Close idle connections, wait for the others, cancel them after the grace time, and disconnect the rest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        for pause in self._paused.values():
            pause.cancel()
        ending = [*self._arriving, *filter(None, [self._clock])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        connections, tasks = self._state.connections, self._state.tasks
        for connection in list(connections):
            connection.shutdown()
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=grace_s)
        for task in tuple(tasks):
            task.cancel()
        deadline = max(deadline, loop.time() + _FLUSH_S)
        while (tasks or connections) and loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
        for connection in tuple(connections):
            cast("BoundedHttp", connection).transport.abort()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._set_date()

    def _set_date(self) -> None:
        date = (b"date", formatdate(usegmt=True).encode())
        self._state.default_headers = [date, *self._config.encoded_headers]

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No file descriptor is available; trying again at once would only keep the processor busy.
                loop = asyncio.get_running_loop()
                loop.remove_reader(sock)
                self._paused[sock] = loop.call_later(_TICK_S, loop.add_reader, sock, self._accept, sock)
                return
            if len(self._state.connections) + len(self._arriving) >= self._protocol.max_connections:
                connection.close()
                continue
            connection.setblocking(False)
            task = asyncio.create_task(self._take(connection), name="http-connection")
            self._arriving.add(task)
            task.add_done_callback(partial(self._taken, connection))

    async def _take(self, connection: socket.socket) -> None:
        """Hand a connection to the protocol, after its TLS handshake where there is one."""
        secure: dict[str, float] = {}
        if self._context is not None:
            secure["ssl_handshake_timeout"] = HANDSHAKE_TIMEOUT_S
            if sys.version_info >= (3, 11):
                secure["ssl_shutdown_timeout"] = _TLS_CLOSE_S
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connected, connection, ssl=self._context, **secure
            )

    def _taken(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        if task.cancelled():
            # The task may have been canceled before it used the connection.
            connection.close()

    def _connected(self) -> BoundedHttp:
        return self._protocol(self._config, self._state, {}, asyncio.get_running_loop())
