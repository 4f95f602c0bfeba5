"""Messages between two processes over one socket: a kind, a description, and buffers that are not copied to be sent."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["begin", "ready", "failed", "request", "metrics", "counted", "stop"]
_KINDS: Final[tuple[Kind, ...]] = ("begin", "ready", "failed", "request", "metrics", "counted", "stop")
_PREFIX: Final = struct.Struct("<BIQ")
_MOST_BUFFERS: Final = 512
"""Of one call; Linux takes 1024."""
_BUFFER_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Message:
    """What came: ``head`` is JSON, ``block`` what stood behind it."""

    kind: Kind
    head: bytes
    block: bytearray

    def described(self) -> Any:
        """The head, read."""
        return json.loads(self.head)


class Link:
    """One end. Any thread may send, one receives; a broken link raises ``OSError`` or gives None."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def send(self, kind: Kind, head: bytes = b"null", buffers: Sequence[memoryview] = ()) -> None:
        """Sends a message, waiting for as long as the other side does not read."""
        prefix = _PREFIX.pack(_KINDS.index(kind), len(head), sum(len(buffer) for buffer in buffers))
        pieces = [memoryview(prefix), memoryview(head), *buffers]
        with self._lock:
            for start in range(0, len(pieces), _MOST_BUFFERS):
                self._send_all(pieces[start : start + _MOST_BUFFERS])

    def tell(self, kind: Kind, described: object = None) -> None:
        """Sends a message that is a description only."""
        self.send(kind, json.dumps(described).encode())

    def receive(self) -> Message | None:
        """The next message; None when the other side has closed."""
        prefix = self._read(_PREFIX.size)
        if prefix is None:
            return None
        kind, head_size, size = _PREFIX.unpack(prefix)
        head, block = self._read(head_size), self._read(size)
        if head is None or block is None:
            return None
        return Message(_KINDS[kind], bytes(head), block)

    def close(self) -> None:
        """Closes this end, and wakes whoever receives."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _send_all(self, pieces: list[memoryview]) -> None:
        sent = self.sock.sendmsg(pieces)
        for piece in pieces:
            if sent < len(piece):
                self.sock.sendall(piece[sent:])
            sent = max(0, sent - len(piece))

    def _read(self, size: int) -> bytearray | None:
        block = bytearray(size)
        room, got = memoryview(block), 0
        while got < size:
            count = self.sock.recv_into(room[got:])
            if not count:
                return None
            got += count
        return block
