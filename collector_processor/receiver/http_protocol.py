"""What uvicorn leaves open: how many connections, how large a head, and how long one may take over it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TICK_S: Final = 1.0
_POLL_S: Final = 0.01
_FLUSH_S: Final = 0.5
"""How long the last answers may take to leave, whatever the grace time."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 on one connection, within limits.

    A head (request line and headers) must be whole within ``head_timeout_s`` and smaller than about ``max_head_bytes``;
    what a sender goes on to send after it was answered is thrown away, for as long. Connections over
    ``max_connections`` are closed at once.
    """

    max_connections: ClassVar[int] = 2048
    max_head_bytes: ClassVar[int] = 64 * 2**10
    head_timeout_s: ClassVar[float] = 20.0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.access_log = False
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._at_work = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Takes the connection, if there is room for one more."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.close()
            return
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses, and looks whether the head grows too large."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self.send_400_response("Request head too large.")
                return
        if self._deadline is None and not self._at_work:
            self._start_clock()

    def on_message_begin(self) -> None:
        """Begins a head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Ends a head; its body has a time-out of its own."""
        self._in_head = False
        self._at_work = True
        self._stop_clock()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Goes on to the next request that waits, if one does."""
        self._at_work = bool(self.pipeline)
        super().on_response_complete()

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class QuietServer(uvicorn.Server):
    """A uvicorn server in an event loop that is not its own.

    It leaves signals alone, says when it listens, and ends without a word.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._ending = asyncio.Event()
        self._grace_s = 0.0

    def end(self, grace_s: float) -> None:
        """Makes ``serve()`` end: it takes no new requests and waits up to ``grace_s`` for those in flight."""
        self._grace_s = grace_s
        self.should_exit = True
        self._ending.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Captures none; the service has its own."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept."""
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        """Keeps the ``Date`` header right until it is time to end."""
        while not await self.on_tick(0):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes what is idle, waits for what is not, cancels what outlasts the grace time, hangs up on the rest."""
        deadline = asyncio.get_running_loop().time() + self._grace_s
        for server in self.servers:
            server.close()
        connections, tasks = self.server_state.connections, self.server_state.tasks
        for connection in list(connections):
            connection.shutdown()
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=self._grace_s)
        for task in tuple(tasks):
            task.cancel()
        deadline = max(deadline, asyncio.get_running_loop().time() + _FLUSH_S)
        while (tasks or connections) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)
        for connection in tuple(connections):
            connection.transport.abort()
