"""Collect request bodies: count them and inflate them piece by piece, never beyond the limit."""

from __future__ import annotations

import sys
import zlib
from typing import Final, Literal, Protocol

from collector_processor.columns.batch import MalformedRequestError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding = Literal["identity", "gzip", "deflate", "zstd"]
CODINGS: Final[dict[str, Coding]] = {
    "": "identity",
    "identity": "identity",
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zlib": "deflate",
    "zstd": "zstd",
}
"""The supported values of ``Content-Encoding``."""
GZIP_MAGIC: Final = b"\x1f\x8b"
"""The first bytes of every gzip stream, and of no protobuf message."""
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""The first bytes of every zstd frame; in protobuf they would be a field 5, which no request of OTLP has."""
_GZIP_WINDOW: Final = 31
_ZSTD_WINDOW: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
"""8 MiB, which RFC 8878 recommends; a frame may ask for 2 GiB of memory otherwise."""
_MAX_MEMBERS: Final = 1024
"""A stream of gzip or zstd may consist of several; each costs a copy of what follows it, so their number is limited."""
_PIECE_BYTES: Final = 2**16


class TooLargeError(Exception):
    """The request is larger than the limit, on the wire or inflated; sending it again does not help."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request is larger than the limit of {limit} bytes (after decompression)")


class Body:
    """Collects one request body of at most ``limit`` bytes, both as sent and inflated.

    :meth:`feed` and :meth:`finish` raise :class:`TooLargeError` and
    :class:`~collector_processor.columns.batch.MalformedRequestError`. Nothing past the limit is ever inflated.

    >>> import gzip
    >>> body = Body("gzip", limit=1000)
    >>> body.feed(gzip.compress(b"spans"))
    >>> body.finish()
    b'spans'
    >>> body = Body("gzip", limit=1000)
    >>> body.feed(gzip.compress(bytes(1001)))
    Traceback (most recent call last):
    collector_processor.receivers.inflate.TooLargeError: the request is larger than the limit of 1000 bytes ...
    """

    def __init__(self, coding: Coding, limit: int) -> None:
        self._coding: Coding = coding
        self._limit = limit
        self._sent = 0
        self._pieces: list[bytes] = []
        self._members = 0
        self._stream = None if coding == "identity" else _stream(coding)
        self.size = 0

    @property
    def coding(self) -> Coding:
        """The compression of the pieces."""
        return self._coding

    @property
    def compressed(self) -> bool:
        """Whether pieces have to be inflated."""
        return self._stream is not None

    def feed(self, piece: bytes) -> None:
        """Add the next piece, as it came over the wire."""
        self._sent += len(piece)
        if self._sent > self._limit:
            raise TooLargeError(self._limit)
        while piece:
            piece = self._take(piece)

    def finish(self) -> bytes:
        """Return the whole body; an unfinished stream is malformed, and no bytes at all are an empty body."""
        if self._sent and self._stream is not None and not self._stream.eof:
            raise MalformedRequestError(f"the body is not a whole {self._coding} stream: it ends too early")
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _take(self, piece: bytes) -> bytes:
        """Keep a piece, inflated; return the rest of it, which belongs to the next member of the stream."""
        if self._stream is None:
            self._keep(piece)
            return b""
        if self._stream.eof:
            self._members += 1
            if self._coding == "deflate" or self._members >= _MAX_MEMBERS:
                raise MalformedRequestError(f"the body is not one {self._coding} stream: bytes follow its end")
            self._stream = _stream(self._coding)
        try:
            inflated = self._stream.decompress(piece, self._limit - self.size + 1)
        except (zlib.error, zstd.ZstdError) as error:
            raise MalformedRequestError(f"the body is not a {self._coding} stream: {error}") from error
        self._keep(inflated)
        return self._stream.unused_data

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            self._pieces.clear()
            raise TooLargeError(self._limit)
        if piece:
            self._pieces.append(piece)


class _Stream(Protocol):
    """What both libraries have."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, _data: bytes, _limit: int, /) -> bytes: ...


def _stream(coding: Coding) -> _Stream:
    if coding == "zstd":
        return zstd.ZstdDecompressor(options=_ZSTD_WINDOW)
    return zlib.decompressobj(_GZIP_WINDOW if coding == "gzip" else zlib.MAX_WBITS)


def inflate_message(message: bytes, limit: int) -> bytes:
    """Return a gRPC message, inflated if it is compressed.

    gRPC's own inflating is off (up to grpcio 1.80 it has no limit), and without it there is no flag that says whether a
    message is compressed. Its first bytes show it as well: ``1f 8b`` is gzip and never starts a protobuf message (wire
    type 7 does not exist); a zlib header would be a field 15, which OTLP does not have, and is treated as that field if
    it does not inflate.

    >>> import gzip
    >>> inflate_message(gzip.compress(b"spans"), 100), inflate_message(b"spans", 100)
    (b'spans', b'spans')
    """
    coding = _coding_of(message)
    if coding == "identity":
        return message
    try:
        body = Body(coding, limit)
        # In pieces, because each member of a stream costs a copy of what follows it in its piece.
        for start in range(0, len(message), _PIECE_BYTES):
            body.feed(message[start : start + _PIECE_BYTES])
        return body.finish()
    except MalformedRequestError:
        if coding == "deflate":
            return message
        raise


def _coding_of(message: bytes) -> Coding:
    if message.startswith(GZIP_MAGIC):
        return "gzip"
    if message.startswith(_ZSTD_MAGIC):
        return "zstd"
    if message[:1] == b"\x78" and len(message) > 1 and int.from_bytes(message[:2], "big") % 31 == 0:
        return "deflate"
    return "identity"
