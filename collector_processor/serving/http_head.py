"""Parse the head of an HTTP/1.1 request: the request line and the headers, within a limit, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

_END: Final = b"\r\n\r\n"


class BadRequestError(Exception):
    """The bytes are not a request of HTTP/1.1, or exceed a limit; the connection cannot be used any longer."""


@dataclass
class Head:
    """The head of a request: names of ``fields`` are in lower case, ``length`` is None for a chunked body.

    A request to upgrade the connection to another protocol is read as what it is otherwise: a request of HTTP/1.1,
    whose body follows (RFC 9110, 7.8: a server may ignore an ``Upgrade`` header).
    """

    method: str
    path: str
    query: str
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None
    keep_alive: bool
    expects_continue: bool

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The last value of each header."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields}

    def values(self, name: str) -> list[bytes]:
        """Return every value of a header."""
        wanted = name.encode()
        return [value for each, value in self.fields if each == wanted]


class HeadReader:
    r"""Takes one head of at most ``max_bytes`` from the bytes of a connection.

    >>> pending = bytearray(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 5\r\n\r\nspans")
    >>> head = HeadReader(1000).take(pending)
    >>> head.method, head.path, head.length, pending
    ('POST', '/v1/traces', 5, bytearray(b'spans'))
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parser: HttpRequestParser | None = None
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._keep_alive = False
        self._parsed = 0

    def take(self, pending: bytearray) -> Head | None:
        """Remove the head from the start of ``pending``, and return it; None if its end is yet to come.

        Raises :class:`BadRequestError`.
        """
        if self._parser is None:
            # Empty lines may precede a request (RFC 9112, 2.2).
            del pending[: len(pending) - len(pending.lstrip(b"\r\n"))]
            if not pending:
                return None
            self._parser = HttpRequestParser(self)
        end = pending.find(_END, max(0, self._parsed - len(_END) + 1))
        stop = len(pending) if end < 0 else end + len(_END)
        if stop > self._max_bytes:
            raise BadRequestError(f"the request line and headers exceed the limit of {self._max_bytes} bytes")
        # The parser sees the head alone: it would treat what follows an Upgrade header as another protocol.
        try:
            with suppress(HttpParserUpgrade):
                self._parser.feed_data(bytes(pending[self._parsed : stop]))
        except HttpParserError as error:
            raise BadRequestError(f"not a request of HTTP/1.1: {error}") from error
        self._parsed = stop
        if self._complete != (end >= 0):
            raise BadRequestError("not a request of HTTP/1.1: lines must end in CR LF")
        if end < 0:
            return None
        del pending[:stop]
        return self._head(self._parser)

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the target, for the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, for the parser."""
        self._fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Note the end of the head, for the parser, which forgets the rest with the end of a request without body."""
        self._complete = True
        if self._parser is not None:
            self._keep_alive = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"

    def _head(self, parser: HttpRequestParser) -> Head:
        if parser.get_http_version() not in ("1.0", "1.1"):
            raise BadRequestError("not a request of HTTP/1.1")
        method = parser.get_method().decode("latin-1")
        try:
            target = parse_url(self._url)
            path, query = target.path or b"/", target.query or b""
        except HttpParserError:  # such as the host and port of CONNECT
            path, query = self._url, b""
        expects = dict(self._fields).get(b"expect", b"")
        return Head(
            method,
            unquote(path.decode("latin-1")),
            query.decode("latin-1"),
            tuple(self._fields),
            _length(self._fields),
            self._keep_alive and method != "CONNECT",
            expects.lower() == b"100-continue" and parser.get_http_version() == "1.1",
        )


def _length(fields: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return the length of the body; the parser has refused lengths that contradict each other or the coding."""
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if not codings:
        return int(dict(fields).get(b"content-length", b"0"))
    if codings != [b"chunked"]:
        raise BadRequestError("a transfer encoding other than chunked is not supported")
    return None
