"""A request body in chunks, whose length is not known in advance."""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from typing import Final

from collector_processor.serving.http_head import BadRequestError
from collector_processor.serving.whole_body import Progress

_LINE_END: Final = b"\r\n"
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class ChunkedBody:
    r"""Collects the chunks of one body; ``done`` as for :class:`.WholeBody`.

    What is not body (sizes, extensions, trailers) is discarded; more than ``max_bare_bytes`` of it in a row is an
    error.

    >>> loop = asyncio.new_event_loop()
    >>> body = ChunkedBody(loop.create_future(), lambda size: None, max_bare_bytes=1000)
    >>> pending = bytearray(b"5\r\nspans\r\n0\r\n\r\nGET")
    >>> body.take(pending)
    >>> body.whole, body.octets(), pending
    (True, b'spans', bytearray(b'GET'))
    >>> loop.close()
    """

    def __init__(
        self, done: asyncio.Future[bool], progress: Progress, *, max_bare_bytes: int, keeps: bool = True
    ) -> None:
        self.done = done
        self.whole = False
        self._progress = progress
        self._max_bare_bytes = max_bare_bytes
        self._kept = BytesIO() if keeps else None
        self._left = 0
        self._ends_chunk = False
        self._in_trailers = False
        self._bare_bytes = 0

    def take(self, pending: bytearray) -> None:
        """Remove what belongs to the body from the start of ``pending``; raise :class:`.BadRequestError`."""
        while not self.whole:
            if self._left:
                if not pending:
                    return
                self._take_octets(pending)
                continue
            line = self._line(pending)
            if self._bare_bytes + (len(pending) if line is None else 0) > self._max_bare_bytes:
                raise BadRequestError(f"more than {self._max_bare_bytes} bytes between the chunks of a body")
            if line is None:
                return
            self._take_line(line)
        if not self.done.done():
            self.done.set_result(True)

    def octets(self) -> bytes:
        """Return the body so far."""
        return b"" if self._kept is None else self._kept.getvalue()

    def release(self) -> None:
        """Discard what came and what comes."""
        self._kept = None

    def hung_up(self) -> None:
        """End the wait: nothing more will come."""
        if not self.done.done():
            self.done.set_result(False)

    def _take_octets(self, pending: bytearray) -> None:
        size = min(self._left, len(pending))
        if self._kept is not None:
            self._kept.write(memoryview(pending)[:size])
            try:
                self._progress(self._kept.tell())
            except Exception as error:  # noqa: BLE001 -- passed to the caller that waits for the body
                self._kept = None
                if not self.done.done():
                    self.done.set_exception(error)
        del pending[:size]
        self._left -= size
        self._ends_chunk = not self._left
        self._bare_bytes = 0

    def _line(self, pending: bytearray) -> bytes | None:
        end = pending.find(_LINE_END)
        if end < 0:
            return None
        line = bytes(pending[:end])
        del pending[: end + len(_LINE_END)]
        self._bare_bytes += end + len(_LINE_END)
        return line

    def _take_line(self, line: bytes) -> None:
        if self._ends_chunk:
            self._ends_chunk = False
            if line:
                raise BadRequestError("a chunk is longer than its size says")
        elif self._in_trailers:
            self.whole = not line
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise BadRequestError("a chunk has no size")
            self._left = int(size[1], 16)
            self._in_trailers = not self._left
