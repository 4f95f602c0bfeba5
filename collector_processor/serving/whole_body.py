"""A request body of known length, read from the socket into its final place: no pieces, no joining, no copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

Progress = Callable[[int], None]
"""Called with the number of bytes received so far; an error that it raises ends the reading."""


class _Kept(BytesIO):
    """Bytes that may be garbage-collected before or after a view of them."""

    def close(self) -> None:
        with suppress(BufferError):
            super().close()


class WholeBody:
    """Collects ``length`` bytes; ``done`` is True when all have arrived, and False if the sender hung up.

    Memory is allocated at once but not touched before bytes arrive, so a length that is only announced costs nothing.

    >>> loop = asyncio.new_event_loop()
    >>> body = WholeBody(5, loop.create_future(), lambda size: None)
    >>> body.copy(b"spa"), body.copy(b"ns and more")
    (3, 2)
    >>> body.done.result(), body.octets()
    (True, b'spans')
    >>> loop.close()
    """

    def __init__(self, length: int, done: asyncio.Future[bool], progress: Progress) -> None:
        # A BytesIO returns its bytes without copying them, and zeros are not touched.
        self._kept = _Kept(bytes(length))
        self._room = self._kept.getbuffer()
        self._length = length
        self._got = 0
        self._progress = progress
        self.done = done

    @property
    def whole(self) -> bool:
        """Whether all bytes have arrived."""
        return self._got == self._length

    @property
    def room(self) -> memoryview:
        """The part of the buffer for the next bytes."""
        return self._room[self._got :]

    @property
    def received(self) -> memoryview:
        """The bytes received so far."""
        return self._room[: self._got]

    def copy(self, piece: bytes | bytearray | memoryview) -> int:
        """Copy as much of a piece as belongs to this body; return how much that is."""
        taken = min(len(piece), self._length - self._got)
        self._room[self._got : self._got + taken] = piece[:taken]
        self.advance(taken)
        return taken

    def advance(self, size: int) -> None:
        """Record that ``size`` more bytes are in :attr:`room`."""
        self._got += size
        if self.done.done():
            return
        try:
            self._progress(self._got)
        except Exception as error:  # noqa: BLE001 -- passed to the caller that waits for the body
            self.done.set_exception(error)
            return
        if self.whole:
            self.release()
            self.done.set_result(True)

    def octets(self) -> bytes:
        """Return the whole body, once it is done; copied only while a view of :attr:`room` exists.

        The event loop has a view while it reports that bytes came, so call this afterwards.
        """
        return self._kept.getvalue()

    def release(self) -> None:
        """Accept no more bytes."""
        self._room.release()

    def hung_up(self) -> None:
        """End the wait: nothing more will come."""
        if not self.done.done():
            self.done.set_result(False)
