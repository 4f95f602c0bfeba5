"""The journal: every accepted request goes through one bounded log that each consumer reads at its own pace."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from collector_processor.columns.batch import Decoded
from collector_processor.own.telemetry import Signal


@dataclass(frozen=True, slots=True)
class Request:
    """One accepted OTLP request: its protobuf bytes, unchanged and uncompressed, and what was decoded from them.

    ``items`` is the number of spans, log records or metric points in it; ``received_ns`` is when it came (Unix
    nanoseconds). ``gzipped`` is the body as it came if it was compressed with gzip, and empty otherwise. ``via`` names
    the services that it has passed through (:mod:`~collector_processor.own.via`).
    """

    signal: Signal
    body: bytes
    decoded: Decoded
    items: int
    received_ns: int
    gzipped: bytes = b""
    via: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request and its offset in the log."""

    offset: int
    request: Request


class JournalFullError(Exception):
    """Raised if there is no room until an essential consumer catches up; the sender is asked to retry later."""


class Journal(Protocol):
    """A bounded log with a cursor for each consumer; thread-safe.

    The journal waits for an *essential* consumer (the statistics): while it lags by the whole capacity, :meth:`append`
    raises :class:`JournalFullError`. Any other consumer that lags loses its oldest entries, which are counted.
    """

    def subscribe(self, consumer: str, *, essential: bool = False, signals: Sequence[Signal] = ()) -> None:
        """Register a consumer from the next offset on; ``signals`` limits what it reads (empty means all)."""
        ...

    def append(self, request: Request) -> int:
        """Add a request and return its offset; raise :class:`JournalFullError` if there is no room."""
        ...

    def read(
        self,
        consumer: str,
        *,
        limit: int = 64,
        timeout_s: float | None = None,
        skipping: Collection[Signal] = (),
    ) -> Sequence[Entry]:
        """Return the entries after those last read, waiting up to ``timeout_s`` for the first; empty once closed.

        Entries of the signals in ``skipping`` are left for a later call.
        """
        ...

    def commit(self, consumer: str, offset: int) -> None:
        """Mark everything up to and including ``offset`` as done, so that its room can be reused."""
        ...

    def release(self, consumer: str, offset: int) -> None:
        """Mark one entry as done, for a consumer that is done with entries in another order than theirs."""
        ...

    def remaining(self, consumer: str) -> Sequence[Request]:
        """Return what a consumer has neither committed nor released, in order.

        What made way while the consumer had taken it is there without its content.
        """
        ...

    def close(self) -> None:
        """Refuse further appends and wake all readers; what is in the log can still be read."""
        ...
