"""The limits that uvicorn lacks: number of connections, size of a head, and time to send it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from collector_processor.serving.whole_body import Progress, WholeBody

WHOLE_BODY: Final = "otel_ml.whole_body"
"""The extension in a request's scope that reads a body of known length in one go (:meth:`BoundedHttp.whole_body`)."""
HANG_UP: Final = "otel_ml.hang_up"
"""The extension that ends a request's connection at once, including what the client has not read."""


class _Scratch(threading.local):
    """The buffer for bytes that are parsed as soon as they are read, so one per loop serves all connections."""

    def __init__(self) -> None:
        self.octets = memoryview(bytearray(32 * 2**10))


_SCRATCH: Final = _Scratch()


class BoundedHttp(HttpToolsProtocol, asyncio.BufferedProtocol):
    """HTTP/1.1 on one connection, within limits.

    A head (request line and headers) must be complete within ``head_timeout_s`` and smaller than about
    ``max_head_bytes``. The same limits hold for what comes between or after the chunks of a body, which is discarded.
    What a sender continues to send after the answer is discarded, for the same time. A client that does not read its
    answer is disconnected after the same time. The server closes connections beyond ``max_connections`` at once.
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
        self._bare_bytes = 0
        self._at_work = False
        self._filling: WholeBody | None = None
        self._given_up: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept the connection."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock and a wait for a body."""
        self._stop_clock()
        if self._filling is not None:
            self._filling.hung_up()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the event loop reads to: directly into a body if one is expected."""
        return _SCRATCH.octets if self._filling is None else self._filling.room

    def buffer_updated(self, nbytes: int) -> None:
        """Process what has been read there."""
        if self._filling is None:
            self.data_received(bytes(_SCRATCH.octets[:nbytes]))
        else:
            self._filling.advance(nbytes)
            self._finish_filling()

    def data_received(self, data: bytes) -> None:
        """Parse, and check whether the head grows too large."""
        if self._filling is not None:
            # Some event loops hand over bytes instead of asking for a buffer.
            data = data[self._filling.copy(data) :]
            self._finish_filling()
            if not data:
                return
        self._bare_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self.send_400_response("Request head too large.")
                return
        elif self._bare_bytes > self.max_head_bytes:
            # Endless extensions of a chunk, or trailers.
            self.transport.close()
            return
        if self._deadline is None and not self._at_work:
            self._start_clock()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = self._bare_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; ignore a trailer, which comes after a body."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head; its body has a separate timeout."""
        self._in_head = False
        self._bare_bytes = 0
        self._at_work = True
        self._stop_clock()
        super().on_headers_complete()
        cycle = self.cycle
        extensions: dict[str, Any] = {WHOLE_BODY: partial(self.whole_body, cycle), HANG_UP: self.transport.abort}
        cycle.scope["extensions"] = extensions

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body, unless the request no longer needs it."""
        self._bare_bytes = 0
        if self.cycle is not self._given_up:
            super().on_body(body)

    def on_response_complete(self) -> None:
        """Continue with the next waiting request, if there is one."""
        self._at_work = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing() and self in self.connections:
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no further request came."""
        self._end()

    async def whole_body(
        self, cycle: RequestResponseCycle, length: int, timeout_s: float, progress: Progress
    ) -> bytes | None:
        """Return the body of ``length`` bytes that belongs to ``cycle``, or None if the sender hung up.

        Raises ``asyncio.TimeoutError`` after ``timeout_s``, and what ``progress`` raises; the rest of the body is then
        discarded. Only for a request whose head has the length of its body.
        """
        if cycle.disconnected:
            return None
        filling = WholeBody(length, self.loop.create_future(), progress)
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        received, cycle.body = cycle.body, bytearray()
        filling.copy(received)
        # A pipelined request may have arrived together with the one before it, and be complete already.
        if not filling.done.done() and cycle is self.cycle and cycle.more_body:
            self._filling = filling
            self.flow.resume_reading()
        clock = self.loop.call_later(timeout_s, _time_out, filling.done)
        try:
            return filling.octets() if await filling.done else None
        finally:
            clock.cancel()
            self._give_up(cycle, filling, len(received))
            filling.release()

    def _finish_filling(self) -> None:
        """Return to parsing when the body is complete."""
        filling = self._filling
        if filling is not None and filling.whole:
            self._filling = None
            self.cycle.more_body = False
            # The parser has seen only the head, and would mistake what comes next for the body.
            self.parser = HttpRequestParser(self)
            with suppress(AttributeError):
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _give_up(self, cycle: RequestResponseCycle, filling: WholeBody, parsed: int) -> None:
        """Let the parser count what came of an abandoned body, so that it finds the end of the body."""
        if filling.whole or cycle is not self.cycle:
            return
        self._given_up = cycle
        if self._filling is filling:
            self._filling = None
            if self in self.connections:
                self.parser.feed_data(filling.received[parsed:])

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._end)

    def _end(self) -> None:
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """Disconnect unless the client reads the rest of its answer in time."""
        self._stop_clock()
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _time_out(done: asyncio.Future[bool]) -> None:
    if not done.done():
        done.set_exception(asyncio.TimeoutError())
