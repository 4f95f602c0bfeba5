"""One connection of HTTP/1.1, within limits: requests one at a time, and every wait for the client has an end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, cast

from collector_processor.serving.chunked_body import ChunkedBody
from collector_processor.serving.http_head import BadRequestError, Head, HeadReader
from collector_processor.serving.routes import HttpAnswer
from collector_processor.serving.whole_body import Progress, WholeBody

if TYPE_CHECKING:
    from collector_processor.serving.http_server import HttpServer

ClosedFor = Literal["limit", "refused", "head_timeout", "bad_request", "slow_reader", "no_descriptor"]
"""Why a connection was closed before its time."""
_READ_BYTES: Final = 2**15
_PIECE_BYTES: Final = 2**16
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_SHOWN: Final = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one listener.

    A head (request line and headers) must be complete within ``head_timeout_s`` and have at most ``max_head_bytes``.
    The same limits hold for what comes between or after the chunks of a body, and the time for what a sender continues
    to send after the answer. A client must read its answer within ``write_timeout_s``. It may take ``idle_timeout_s``
    until its next request. At ``max_connections``, a new connection takes the place of the one that has kept the server
    waiting longest between requests.
    """

    max_connections: int
    max_head_bytes: int
    head_timeout_s: float
    write_timeout_s: float
    idle_timeout_s: float


class _Scratch(threading.local):
    """The buffer for bytes that are parsed as soon as they are read, so one per loop serves all connections."""

    def __init__(self) -> None:
        self.octets = memoryview(bytearray(_READ_BYTES))


_SCRATCH: Final = _Scratch()


def _ignore(_: int) -> None: ...


class HttpCall:
    """One request, as a handler sees it."""

    def __init__(self, head: Head, peer: str, connection: HttpConnection) -> None:
        self.head = head
        self.peer = peer
        self._connection = connection

    async def read(self, timeout_s: float, progress: Progress = _ignore) -> bytes | None:
        """Return the whole body, or None if the sender hung up; call it once.

        ``progress`` is called with the number of bytes so far. Raises ``asyncio.TimeoutError`` after ``timeout_s``,
        :class:`.BadRequestError`, and what ``progress`` raises; the rest of the body is then discarded.
        """
        if self.head.length == 0:
            return b""
        return await self._connection.read_body(self.head, timeout_s, progress)


HttpHandler = Callable[[HttpCall], Awaitable[HttpAnswer | None]]
"""Answers a request; None closes the connection without an answer."""


class HttpConnection(asyncio.BufferedProtocol):
    """HTTP/1.1 on one connection.

    A connection reads a head, then waits for the handler, which may read the body, then writes the answer and discards
    what is left of the body. What a client sends ahead waits in ``_pending``.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._pending = bytearray()
        self._reader = HeadReader(self._limits.max_head_bytes)
        self._head: Head | None = None
        self._body: WholeBody | ChunkedBody | None = None
        self._answered = False
        self._broken = False
        self._used = False
        """Whether a request has been answered, so that the client may be idle."""
        self._keep_alive = True
        self._clock: asyncio.TimerHandle | None = None
        self._written: asyncio.Future[None] | None = None
        self._peer = ""
        self._transport: asyncio.Transport

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection."""
        self._transport = cast("asyncio.Transport", transport)
        name: object = transport.get_extra_info("peername")
        self._peer = str(cast("tuple[object, ...]", name)[0]) if isinstance(name, tuple) else "a local process"
        self._server.opened(self)
        self._start_clock(self._limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every wait."""
        self._stop_clock()
        self._keep_alive = False
        self._server.lost(self)
        if self._body is not None:
            self._body.hung_up()
        self.resume_writing()

    def eof_received(self) -> bool:
        """Answer a request that is complete; there will not be another one."""
        self._keep_alive = False
        complete = self._head is not None and (self._head.length == 0 or (self._body is not None and self._body.whole))
        if self._body is not None and not complete:
            self._body.hung_up()
        # Over TLS there is no half of a connection.
        return complete and not self._answered and self._transport.get_extra_info("sslcontext") is None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the event loop reads to: directly into a body of known length if one is expected."""
        body = self._body
        return body.room if isinstance(body, WholeBody) and not body.whole else _SCRATCH.octets

    def buffer_updated(self, nbytes: int) -> None:
        """Process what has been read there."""
        body = self._body
        if isinstance(body, WholeBody) and not body.whole:
            body.advance(nbytes)
            if body.whole:
                self._advance()
        else:
            self.data_received(_SCRATCH.octets[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        """Take bytes; some event loops hand them over instead of asking for a buffer."""
        if self._broken:
            return
        self._pending += data
        self._advance()

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        self._written = self._loop.create_future()

    def resume_writing(self) -> None:
        """Continue to write."""
        if self._written is not None and not self._written.done():
            self._written.set_result(None)
        self._written = None

    # What the server calls.

    @property
    def peer(self) -> str:
        """The client's address, for the log."""
        return self._peer

    def end(self) -> None:
        """Close the connection after the answer to a request in progress, at once if there is none."""
        self._keep_alive = False
        if self._head is None or self._answered:
            self._transport.close()

    def close(self) -> None:
        """Close the connection; abort it if the client does not read what was written to it in time."""
        self._keep_alive = False
        self._transport.close()
        self._stop_clock()
        self._clock = self._loop.call_later(self._limits.head_timeout_s, self._transport.abort)

    def abort(self) -> None:
        """Close the connection without sending what was written to it."""
        self._keep_alive = False
        self._transport.abort()

    # One request after the other.

    def _advance(self) -> None:
        """Process the bytes that have come, as far as is possible now."""
        try:
            while not self._transport.is_closing() and self._step():
                pass
        except BadRequestError as error:
            self._refuse(error)
            return
        if self._transport.is_closing():
            return
        # A head, and what is between chunks, has its own limit; what a client sends ahead has this one.
        ahead = self._head is not None and (self._body is None or self._body.whole)
        if ahead and len(self._pending) > _READ_BYTES:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _step(self) -> bool:
        """Process bytes; return whether there may be more to process."""
        if self._head is None:
            return bool(self._pending) and self._begin()
        if self._body is not None and not self._body.whole:
            self._body.take(self._pending)
        if self._answered and self._body is not None and self._body.whole:
            self._next()
            return True
        return False

    def _begin(self) -> bool:
        """Begin a request if its head is complete."""
        if self._used:
            self._used = False
            self._start_clock(self._limits.head_timeout_s)
        head = self._reader.take(self._pending)
        if head is None:
            return False
        self._stop_clock()
        self._head = head
        self._server.begun(self, self._loop.create_task(self._answer(head), name="http-request"))
        return False

    def _next(self) -> None:
        """Wait for the next request."""
        self._head = self._body = None
        self._answered = False
        self._used = True
        self._reader = HeadReader(self._limits.max_head_bytes)
        self._start_clock(self._limits.idle_timeout_s)

    def _refuse(self, error: BadRequestError) -> None:
        """Handle bytes that are not HTTP: nothing after them on this connection can be read."""
        self._keep_alive = False
        self._broken = True
        self._server.closes("bad_request", self._peer, str(error))
        if self._head is None:
            self._transport.write(self._encoded(None, HttpAnswer(f"{error}\n".encode(), status=400)))
            self.close()
        elif self._body is not None and not self._answered and not self._body.done.done():
            self._body.done.set_exception(error)
        else:
            self.close()

    # The body.

    async def read_body(self, head: Head, timeout_s: float, progress: Progress) -> bytes | None:
        """Return the body of the current request; see :meth:`HttpCall.read`."""
        body = self._body_of(head, progress)
        if not self._keep_alive and self._transport.is_closing():
            return None
        if head.expects_continue and not self._pending:
            self._transport.write(_CONTINUE)
        self._body = body
        clock = self._loop.call_later(timeout_s, _time_out, body.done)
        try:
            self._advance()
            return body.octets() if await body.done else None
        finally:
            clock.cancel()
            body.release()

    def _body_of(self, head: Head, progress: Progress = _ignore, *, keeps: bool = True) -> WholeBody | ChunkedBody:
        done: asyncio.Future[bool] = self._loop.create_future()
        if head.length is None:
            return ChunkedBody(done, progress, max_bare_bytes=self._limits.max_head_bytes, keeps=keeps)
        return WholeBody(head.length, done, progress, keeps=keeps)

    # The answer.

    async def _answer(self, head: Head) -> None:
        try:
            answer = await self._server.handler(HttpCall(head, self._peer, self))
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception:  # noqa: BLE001 -- one failed answer must not end the server
            _log.exception("answering %s failed", head.path[:_SHOWN])
            answer = HttpAnswer(b"this could not be answered; see the service's log for the reason\n", status=500)
        if self._transport.is_closing():
            return
        if answer is None:
            self.close()
            return
        self._keep_alive = self._keep_alive and head.keep_alive and ("connection", "close") not in answer.headers
        # Without an invitation the client may or may not send the body: its end cannot be found.
        self._keep_alive = self._keep_alive and not (head.expects_continue and self._body is None)
        await self._write(head, answer)
        self._finish(head)

    async def _write(self, head: Head, answer: HttpAnswer) -> None:
        octets = self._encoded(head, answer)
        deadline_s = self._loop.time() + self._limits.write_timeout_s
        for start in range(0, len(octets), _PIECE_BYTES):
            if self._transport.is_closing():
                return
            self._transport.write(octets[start : start + _PIECE_BYTES])
            if self._written is None:
                continue
            try:
                await asyncio.wait_for(asyncio.shield(self._written), deadline_s - self._loop.time())
            except asyncio.TimeoutError:
                # What the client has not read would be kept in memory.
                self._server.closes("slow_reader", self._peer, "the client did not read its answer in time")
                self.abort()
                return

    def _encoded(self, head: Head | None, answer: HttpAnswer) -> memoryview:
        lines = [
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}",
            f"date: {self._server.date}",
            f"content-type: {answer.content_type}",
            f"content-length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        if not self._keep_alive and ("connection", "close") not in answer.headers:
            lines.append("connection: close")
        encoded = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return memoryview(encoded if head is not None and head.method == "HEAD" else encoded + answer.body)

    def _finish(self, head: Head) -> None:
        """Discard what is left of the body, and continue with the next request."""
        if self._transport.is_closing():
            return
        if not self._keep_alive:
            self.close()
            return
        self._server.waits(self)
        if self._body is None and head.length != 0:
            self._body = self._body_of(head, keeps=False)
        self._answered = True
        if self._body is None or self._body.whole:
            self._next()
        else:
            self._start_clock(self._limits.head_timeout_s)
        if self._pending:
            self._advance()

    # Time.

    def _start_clock(self, timeout_s: float) -> None:
        self._stop_clock()
        self._clock = self._loop.call_later(timeout_s, self._time_out)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _time_out(self) -> None:
        if not self._used:
            self._server.closes("head_timeout", self._peer, "a request did not arrive in time")
        self.close()


def _time_out(done: asyncio.Future[bool]) -> None:
    if not done.done():
        done.set_exception(asyncio.TimeoutError())
