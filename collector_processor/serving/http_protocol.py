"""What uvicorn leaves open: how many connections, how large a head, and how long one may take over it."""

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
"""The extension that ends a request's connection at once, with whatever the client has not read."""


class _Scratch(threading.local):
    """What is read before it is known whose it is; parsed at once, so that one a loop does for all connections."""

    def __init__(self) -> None:
        self.octets = memoryview(bytearray(32 * 2**10))


_SCRATCH: Final = _Scratch()


class BoundedHttp(HttpToolsProtocol, asyncio.BufferedProtocol):
    """HTTP/1.1 on one connection, within limits.

    A head (request line and headers) must be whole within ``head_timeout_s`` and smaller than about ``max_head_bytes``,
    and so must what stands between or behind the chunks of a body, which is thrown away;
    what a sender goes on to send after it was answered is thrown away, for as long. A client that does not read its
    answer is hung up on after the same time. The server closes connections over ``max_connections`` at once.
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
        """Takes the connection."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of the clock."""
        self._stop_clock()
        if self._filling is not None:
            self._filling.hung_up()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop reads to: straight into a body where one is waited for."""
        return _SCRATCH.octets if self._filling is None else self._filling.room

    def buffer_updated(self, nbytes: int) -> None:
        """Takes what has been read there."""
        if self._filling is None:
            self.data_received(bytes(_SCRATCH.octets[:nbytes]))
        else:
            self._filling.advance(nbytes)
            self._look_at_filling()

    def data_received(self, data: bytes) -> None:
        """Parses, and looks whether the head grows too large."""
        if self._filling is not None:
            # Some event loops hand bytes over instead of asking for a place to put them.
            data = data[self._filling.copy(data) :]
            self._look_at_filling()
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
            # Extensions of a chunk, or trailers, without end.
            self.transport.close()
            return
        if self._deadline is None and not self._at_work:
            self._start_clock()

    def on_message_begin(self) -> None:
        """Begins a head."""
        self._in_head = True
        self._head_bytes = self._bare_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header; a trailer, which comes behind a body, is none."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Ends a head; its body has a time-out of its own."""
        self._in_head = False
        self._bare_bytes = 0
        self._at_work = True
        self._stop_clock()
        super().on_headers_complete()
        cycle = self.cycle
        extensions: dict[str, Any] = {WHOLE_BODY: partial(self.whole_body, cycle), HANG_UP: self.transport.abort}
        cycle.scope["extensions"] = extensions

    def on_body(self, body: bytes) -> None:
        """Keeps a piece of a body, unless nobody will ask for it any more."""
        self._bare_bytes = 0
        if self.cycle is not self._given_up:
            super().on_body(body)

    def on_response_complete(self) -> None:
        """Goes on to the next request that waits, if one does."""
        self._at_work = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing() and self in self.connections:
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        """Ends a connection on which no further request came."""
        self._end()

    async def whole_body(
        self, cycle: RequestResponseCycle, length: int, timeout_s: float, progress: Progress
    ) -> bytes | None:
        """The body of ``length`` bytes that belongs to ``cycle``, None when the sender hung up.

        Raises ``asyncio.TimeoutError`` after ``timeout_s``, and what ``progress`` raises; what still comes of the body
        after that is thrown away. Only for a request whose head says how long its body is.
        """
        if cycle.disconnected:
            return None
        filling = WholeBody(length, self.loop.create_future(), progress)
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        came, cycle.body = cycle.body, bytearray()
        filling.copy(came)
        # A request that was sent behind another may have come with it, and be whole already.
        if not filling.done.done() and cycle is self.cycle and cycle.more_body:
            self._filling = filling
            self.flow.resume_reading()
        clock = self.loop.call_later(timeout_s, _time_out, filling.done)
        try:
            return filling.octets() if await filling.done else None
        finally:
            clock.cancel()
            self._give_up(cycle, filling, len(came))
            filling.release()

    def _look_at_filling(self) -> None:
        """Goes back to parsing when the body is whole."""
        filling = self._filling
        if filling is not None and filling.whole:
            self._filling = None
            self.cycle.more_body = False
            # The parser has seen the head only, and would take what comes next for the body.
            self.parser = HttpRequestParser(self)
            with suppress(AttributeError):
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _give_up(self, cycle: RequestResponseCycle, filling: WholeBody, parsed: int) -> None:
        """Lets the parser count what came of a body that is not waited for any more, so that it finds its end."""
        if filling.whole or cycle is not self.cycle:
            return
        self._given_up = cycle
        if self._filling is filling:
            self._filling = None
            if self in self.connections:
                self.parser.feed_data(filling.got[parsed:])

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._end)

    def _end(self) -> None:
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """Hangs up, unless the client reads the rest of its answer in time."""
        self._stop_clock()
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _time_out(done: asyncio.Future[bool]) -> None:
    if not done.done():
        done.set_exception(asyncio.TimeoutError())
