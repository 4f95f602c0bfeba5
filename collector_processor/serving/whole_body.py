"""A request body of known length, read from the socket to where it stays: no pieces, no joining, no copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

Progress = Callable[[int], None]
"""Is told how many bytes there are by now; what it raises is what the reading ends with."""


class _Kept(BytesIO):
    """Bytes that may be collected together with a view of them, in any order."""

    def close(self) -> None:
        with suppress(BufferError):
            super().close()


class WholeBody:
    """``length`` bytes that come in one after the other; ``done`` says whether all are there, or the sender hung up.

    Memory is asked for at once but not touched before bytes come, so that a length that is only announced costs
    nothing.

    >>> loop = asyncio.new_event_loop()
    >>> body = WholeBody(5, loop.create_future(), lambda size: None)
    >>> body.copy(b"spa"), body.copy(b"ns and more")
    (3, 2)
    >>> body.done.result(), body.octets()
    (True, b'spans')
    >>> loop.close()
    """

    def __init__(self, length: int, done: asyncio.Future[bool], progress: Progress) -> None:
        # A BytesIO gives the bytes that it was written into away without copying them, and zeros are not touched.
        self._kept = _Kept(bytes(length))
        self._room = self._kept.getbuffer()
        self._length = length
        self._got = 0
        self._progress = progress
        self.done = done

    @property
    def whole(self) -> bool:
        """Whether nothing is missing any more."""
        return self._got == self._length

    @property
    def room(self) -> memoryview:
        """Where the next bytes go."""
        return self._room[self._got :]

    @property
    def got(self) -> memoryview:
        """What has come so far."""
        return self._room[: self._got]

    def copy(self, piece: bytes | bytearray | memoryview) -> int:
        """Takes as much of a piece as belongs to this body; says how much that is."""
        taken = min(len(piece), self._length - self._got)
        self._room[self._got : self._got + taken] = piece[:taken]
        self.advance(taken)
        return taken

    def advance(self, size: int) -> None:
        """Says that ``size`` more bytes are in :attr:`room`."""
        self._got += size
        if self.done.done():
            return
        try:
            self._progress(self._got)
        except Exception as error:  # noqa: BLE001 -- handed to who waits for the body
            self.done.set_exception(error)
            return
        if self.whole:
            self.release()
            self.done.set_result(True)

    def octets(self) -> bytes:
        """All of the body, once it is done; copied only as long as somebody still has a view of :attr:`room`.

        The event loop has one while it says that bytes came, so this is for afterwards.
        """
        return self._kept.getvalue()

    def release(self) -> None:
        """Takes no more bytes."""
        self._room.release()

    def hung_up(self) -> None:
        """Ends the waiting: nothing more will come."""
        if not self.done.done():
            self.done.set_result(False)
