"""A request body of known length, read from the socket into its final place: no pieces, no joining, no copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Final

Progress = Callable[[int], None]
"""Called with the number of bytes received so far; an error that it raises ends the reading."""
_DISCARDED_BYTES: Final = 2**16


class _Kept(BytesIO):
    """Bytes that may be garbage-collected before or after a view of them."""

    def close(self) -> None:
        with suppress(BufferError):
            super().close()


class WholeBody:
    """Collects ``length`` bytes; ``done`` is True when all have arrived, and False if the sender hung up.

    Memory is allocated at once but not touched before bytes arrive, so a length that is only announced costs nothing.
    Unless it ``keeps`` them, it counts the bytes and discards them.

    >>> loop = asyncio.new_event_loop()
    >>> body = WholeBody(5, loop.create_future(), lambda size: None)
    >>> pending = bytearray(b"spa")
    >>> body.take(pending)
    >>> pending += b"ns and more"
    >>> body.take(pending)
    >>> body.done.result(), body.octets(), pending
    (True, b'spans', bytearray(b' and more'))
    >>> loop.close()
    """

    def __init__(
        self, length: int, done: asyncio.Future[bool], progress: Progress = lambda size: None, *, keeps: bool = True
    ) -> None:
        self.done = done
        self._length = length
        self._got = 0
        self._progress = progress
        # A BytesIO returns its bytes without copying them, and zeros are not touched.
        self._kept = _Kept(bytes(length if keeps else 0))
        self._room = self._kept.getbuffer()
        self._discards = False
        if not keeps:
            self.release()

    @property
    def whole(self) -> bool:
        """Whether all bytes have arrived."""
        return self._got == self._length

    @property
    def room(self) -> memoryview:
        """The part of the buffer for the next bytes."""
        return self._room[: self._length - self._got] if self._discards else self._room[self._got :]

    def take(self, pending: bytearray) -> None:
        """Remove what belongs to the body from the start of ``pending``."""
        size = min(len(pending), self._length - self._got)
        if not self._discards:
            with memoryview(pending) as octets:
                self._room[self._got : self._got + size] = octets[:size]
        del pending[:size]
        self.advance(size)

    def advance(self, size: int) -> None:
        """Record that ``size`` more bytes are in :attr:`room`."""
        self._got += size
        if self.done.done() or self._discards:
            return
        try:
            self._progress(self._got)
        except Exception as error:  # noqa: BLE001 -- passed to the caller that waits for the body
            self.done.set_exception(error)
            self.release()
            return
        if self.whole:
            self._room.release()
            self.done.set_result(True)

    def octets(self) -> bytes:
        """Return the whole body, once it is done; copied only while a view of :attr:`room` exists.

        The event loop has a view while it reports that bytes came, so call this afterwards.
        """
        return self._kept.getvalue()

    def release(self) -> None:
        """Discard what came and what comes."""
        self._discards = True
        self._kept = _Kept()
        self._room = memoryview(bytearray(0 if self.whole else _DISCARDED_BYTES))

    def hung_up(self) -> None:
        """End the wait: nothing more will come."""
        if not self.done.done():
            self.done.set_result(False)
