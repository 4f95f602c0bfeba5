"""An HTTP server for a shared event loop: bounded, and without signal handlers."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from typing import Final

from collector_processor.own.telemetry import Telemetry
from collector_processor.own.throttle import Throttle
from collector_processor.serving.http_connection import ClosedFor, HttpConnection, HttpHandler, HttpLimits

HANDSHAKE_TIMEOUT_S: Final = 20.0
_AT_ONCE: Final = 64
"""Connections to accept in a row before other work gets a turn."""
_TICK_S: Final = 1.0
_POLL_S: Final = 0.01
_TLS_CLOSE_S: Final = 1.0
"""How long a client may take to answer the end of TLS; a client that only hangs up never answers it."""
_FLUSH_S: Final = 0.5
"""How long the last answers may take to be sent, regardless of the grace time."""
_log = logging.getLogger(__name__)


class HttpServer:
    """Serves a handler on listening sockets, and closes them at the end.

    ``key`` is the listener's place in the configuration, for the log and the counters of connections that are closed
    before their time.
    """

    def __init__(
        self,
        key: str,
        handler: HttpHandler,
        sockets: Sequence[socket.socket],
        telemetry: Telemetry | None = None,
        *,
        limits: HttpLimits,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.handler: Final = handler
        self.limits: Final = limits
        self.date = ""
        self._key = key
        self._sockets = tuple(sockets)
        self._telemetry = telemetry
        self._context = context
        self._connections: set[HttpConnection] = set()
        self._waiting: dict[HttpConnection, None] = {}
        """Connections without a request in progress; the one that has waited longest comes first."""
        self._arriving: dict[asyncio.Task[None], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock: asyncio.Task[None] | None = None
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._throttles: dict[ClosedFor, Throttle] = {}

    def start(self) -> None:
        """Start to accept, in the running loop."""
        self.date = formatdate(usegmt=True)
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
        for connection in tuple(self._connections):
            connection.end()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
        for task in tuple(self._tasks):
            task.cancel()
        deadline = max(deadline, loop.time() + _FLUSH_S)
        while (self._tasks or self._connections) and loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
        for connection in tuple(self._connections):
            connection.abort()

    # What a connection reports.

    def opened(self, connection: HttpConnection) -> None:
        """Count a connection."""
        self._connections.add(connection)
        self._waiting[connection] = None

    def lost(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)

    def begun(self, connection: HttpConnection, task: asyncio.Task[None]) -> None:
        """Keep the task of a request until it is done."""
        self._waiting.pop(connection, None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def waits(self, connection: HttpConnection) -> None:
        """Note that a connection waits for its client's next request."""
        self._waiting[connection] = None

    def closes(self, why: ClosedFor, peer: str, message: str) -> None:
        """Count a connection that is closed before its time, and log it at intervals."""
        if self._telemetry is not None:
            self._telemetry.connections_closed.labels(self._key, why).inc()
        held_back = self._throttles.setdefault(why, Throttle()).permit()
        if held_back is not None:
            more = f" ({held_back} more like this since the last line)" if held_back else ""
            what = "cannot accept" if why == "no_descriptor" else "closed"
            _log.warning("%s: %s a connection from %s: %s%s", self._key, what, peer, message, more)

    # Accepting.

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.date = formatdate(usegmt=True)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No file descriptor is available; trying again at once would only keep the processor busy.
                self.closes("no_descriptor", "a client", f"{error.strerror}; raise the limit of open files (ulimit -n)")
                loop = asyncio.get_running_loop()
                loop.remove_reader(sock)
                self._paused[sock] = loop.call_later(_TICK_S, loop.add_reader, sock, self._accept, sock)
                return
            if not self._has_room():
                peer = str(address[0]) if isinstance(address, tuple) and address else "a local process"
                self.closes("refused", peer, f"all {self.limits.max_connections} have a request in progress")
                connection.close()
                continue
            connection.setblocking(False)
            task = asyncio.create_task(self._take(connection), name="http-connection")
            self._arriving[task] = None
            task.add_done_callback(partial(self._taken, connection))

    def _has_room(self) -> bool:
        """Return whether there is room for one more connection, after closing one without a request if need be."""
        if len(self._connections) + len(self._arriving) < self.limits.max_connections:
            return True
        for connection in self._waiting:
            self.closes("limit", connection.peer, f"max_connections is {self.limits.max_connections}, and it was idle")
            connection.abort()
            self.lost(connection)
            return True
        for task in self._arriving:
            self.closes("limit", "a client", f"max_connections is {self.limits.max_connections}, and TLS was not ready")
            task.cancel()
            del self._arriving[task]
            return True
        return False

    async def _take(self, connection: socket.socket) -> None:
        """Hand a connection to the protocol, after its TLS handshake where there is one."""
        secure: dict[str, float] = {}
        if self._context is not None:
            secure["ssl_handshake_timeout"] = HANDSHAKE_TIMEOUT_S
            if sys.version_info >= (3, 11):
                secure["ssl_shutdown_timeout"] = _TLS_CLOSE_S
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: HttpConnection(self), connection, ssl=self._context, **secure
            )

    def _taken(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._arriving.pop(task, None)
        if task.cancelled():
            # The task may have been canceled before it used the connection.
            connection.close()
