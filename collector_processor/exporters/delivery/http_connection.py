"""One open connection to an HTTP server: the body is sent as it is, and httptools parses the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import socket
from typing import Final

import httptools

MAX_ANSWER_BYTES: Final = 64 * 2**10
"""The limit of an answer's body; a longer one is cut, and its connection is closed."""
_MAX_HEAD_BYTES: Final = 64 * 2**10
_MAX_RECEIVED_BYTES: Final = 2**20
"""The limit of one answer with its framing: chunks of one byte take six bytes each, and trailers have no limit."""
_SEND_BYTES: Final = 2**20
_RECEIVE_BYTES: Final = 16 * 2**10


@dataclass(slots=True)
class Answer:
    """The answer: header names in lower case, and as much of the body as was read."""

    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class HttpConnection:
    """One open connection. httptools calls its ``on_…`` methods while it parses an answer."""

    def __init__(self, sock: socket, origin: str, prefix: str, proxy_headers: Mapping[str, str]) -> None:
        self.sock = sock
        self.origin = origin
        self.prefix = prefix
        self.proxy_headers = proxy_headers
        self.reusable = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._answer = Answer()
        self._body: list[bytes] = []
        self._length = 0
        self._in_body = False
        self._whole = False
        self._more = False

    def exchange(self, head: bytes, body: bytes, deadline: float) -> Answer:
        """Send a request and read the answer."""
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self._begin()
        self._wait_at_most(deadline)
        broken: OSError | None = None
        try:
            self._send(head, body, deadline)
        except (BrokenPipeError, ConnectionResetError) as error:
            # A destination that stops reading may have sent the reason.
            broken = error
        try:
            self._receive(deadline)
        except OSError as error:
            raise broken or error from None
        answer = self._answer
        answer.body = b"".join(self._body)[:MAX_ANSWER_BYTES]
        self.reusable = self._whole and broken is None and self.reusable and not self._more
        return answer

    def _send(self, head: bytes, body: bytes, deadline: float) -> None:
        self.sock.sendall(head)
        # In pieces: larger ones do not fit the processor's cache, and smaller ones wake the other side too often.
        octets = memoryview(body)
        for start in range(0, len(octets), _SEND_BYTES):
            self._wait_at_most(deadline)
            self.sock.sendall(octets[start : start + _SEND_BYTES])

    def _receive(self, deadline: float) -> None:
        received = 0
        while not self._whole and self._length < MAX_ANSWER_BYTES:
            self._wait_at_most(deadline)
            piece = self.sock.recv(_RECEIVE_BYTES)
            if not piece:
                if self._in_body and not {"content-length", "transfer-encoding"} & self._answer.headers.keys():
                    return
                raise ConnectionError("the connection was closed before the answer was complete")
            received += len(piece)
            if not self._in_body and received > _MAX_HEAD_BYTES:
                raise ConnectionError("the head of the answer is too long")
            if received > _MAX_RECEIVED_BYTES:
                raise ConnectionError("the answer is too long")
            try:
                self._parser.feed_data(piece)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                raise ConnectionError(f"the answer is not HTTP: {error}") from error

    def _wait_at_most(self, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(left_s)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def on_message_begin(self) -> None:
        """Note that an answer begins; a second one answers no request, and is ignored."""
        self._more = self._whole

    def on_status(self, status: bytes) -> None:
        """Add a piece of the reason phrase."""
        if self._more:
            return
        self._answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store one header; ignore trailers, which follow the body."""
        if self._in_body:
            return
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        if self._more:
            return
        self._answer.status = self._parser.get_status_code()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """Add a piece of the body."""
        if self._more:
            return
        self._length += len(body)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Note that the answer is complete, unless it is an interim one (100 Continue)."""
        if self._more:
            return
        if 100 <= self._answer.status < 200:
            self._begin()
            return
        self._whole = True
        self.reusable = self._parser.should_keep_alive()
