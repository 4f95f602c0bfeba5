"""Bodies of HTTP requests, read and inflated within limits, and the status that answers each verdict on them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Final

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.admission import Hold, HungUpError, Outcome, TimedOutError, Verdict
from collector_processor.receivers.inflate import CODINGS, Body, Coding, TooLargeError
from collector_processor.serving.http_connection import HttpCall
from collector_processor.serving.http_head import BadRequestError

STATUSES: Final[Mapping[Verdict, int]] = {
    "accepted": 200,
    "partial": 200,
    "malformed": 400,
    "too_large": 413,
    "timed_out": 408,
    "busy": 503,
    "failed": 500,
}
_INFLATED_BYTES: Final = 2**16
"""Compressed bytes to inflate before reserving room for them."""


class HttpBody:
    """The body of ``call``, of at most ``max_bytes`` as sent and inflated, complete within ``timeout_s``."""

    def __init__(self, call: HttpCall, coding: Coding, max_bytes: int, timeout_s: float) -> None:
        self._call = call
        self._body = Body(coding, max_bytes)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self.octets = b""

    @property
    def coding(self) -> Coding:
        """The compression of the body."""
        return self._body.coding

    async def read(self, hold: Hold) -> None:
        """Read the whole body into ``octets``, as :meth:`.Incoming.read` does."""
        if (self._call.head.length or 0) > self._max_bytes:
            raise TooLargeError(self._max_bytes)
        try:
            octets = await self._call.read(self._timeout_s, partial(self._hold, hold))
        except asyncio.TimeoutError:
            raise TimedOutError(f"the body did not arrive within {self._timeout_s:g} s") from None
        except BadRequestError as error:
            raise MalformedRequestError(str(error)) from error
        if octets is None:
            raise HungUpError
        self.octets = octets

    def inflated(self, hold: Hold) -> bytes:
        """Inflate piece by piece, so that the body cannot exceed a limit."""
        if not self._body.compressed:
            return self.octets
        for start in range(0, len(self.octets), _INFLATED_BYTES):
            self._body.feed(self.octets[start : start + _INFLATED_BYTES])
            hold(self._body.size + len(self.octets))
        return self._body.finish()

    def _hold(self, hold: Hold, size: int) -> None:
        if size > self._max_bytes:
            raise TooLargeError(self._max_bytes)
        hold(size)


def coding_names() -> str:
    """Return the supported compressions, for answers.

    >>> coding_names()
    'gzip, deflate, zstd'
    """
    return ", ".join(name for name in CODINGS if name not in ("", "identity", "x-gzip", "zlib"))


def retry_headers(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer that say when to send again, and that the connection ends after a timeout."""
    headers: list[tuple[str, str]] = []
    if outcome.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(outcome.retry_after_s)))))
    if outcome.verdict == "timed_out":
        headers.append(("connection", "close"))
    return tuple(headers)
