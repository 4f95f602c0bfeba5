"""Messages between two processes over one socket: a kind, a JSON head, and buffers that are sent without a copy."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["begin", "ready", "failed", "request", "metrics", "counted", "reload", "stop"]
_KINDS: Final[tuple[Kind, ...]] = ("begin", "ready", "failed", "request", "metrics", "counted", "reload", "stop")
_PREFIX: Final = struct.Struct("<BIQ")
_MOST_BUFFERS: Final = 512
"""Most buffers in one call; Linux accepts 1024."""
_BUFFER_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Message:
    """A received message: ``head`` is JSON, ``block`` holds the bytes after it."""

    kind: Kind
    head: bytes
    block: bytearray

    def value(self) -> Any:
        """Return the head, parsed."""
        return json.loads(self.head)


class Link:
    """One end of a link. Any thread may send, one receives; a broken link raises ``OSError`` or returns None."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def send(self, kind: Kind, head: bytes = b"null", buffers: Sequence[memoryview] = ()) -> None:
        """Send a message; wait while the other side does not read."""
        prefix = _PREFIX.pack(_KINDS.index(kind), len(head), sum(len(buffer) for buffer in buffers))
        pieces = [memoryview(prefix), memoryview(head), *buffers]
        with self._lock:
            for start in range(0, len(pieces), _MOST_BUFFERS):
                self._send_all(pieces[start : start + _MOST_BUFFERS])

    def send_value(self, kind: Kind, value: object = None) -> None:
        """Send a message that consists of a JSON value only."""
        self.send(kind, json.dumps(value).encode())

    def receive(self) -> Message | None:
        """Return the next message; None when the other side has closed."""
        prefix = self._read(_PREFIX.size)
        if prefix is None:
            return None
        kind, head_size, size = _PREFIX.unpack(prefix)
        head, block = self._read(head_size), self._read(size)
        if head is None or block is None:
            return None
        return Message(_KINDS[kind], bytes(head), block)

    def close(self) -> None:
        """Close this end, and wake the thread that receives."""
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
