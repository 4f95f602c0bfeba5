"""The spine: every admitted request goes through one bounded log that each consumer reads at its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from collector_processor.columns.batch import Decoded

Signal = Literal["traces", "logs", "metrics"]


@dataclass(frozen=True, slots=True)
class Request:
    """One admitted OTLP request: its protobuf bytes, unchanged and uncompressed, and what was decoded from them.

    ``items`` is the number of spans, log records or metric points in it; ``received_ns`` when it
    came (Unix nanoseconds). ``gzipped`` is the body as it came, if it came compressed with gzip, and empty otherwise.
    """

    signal: Signal
    body: bytes
    decoded: Decoded
    items: int
    received_ns: int
    gzipped: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request at its place in the log."""

    offset: int
    request: Request


class JournalFullError(Exception):
    """No room until an essential consumer catches up; the sender is asked to come back later."""


class Journal(Protocol):
    """A bounded log with one cursor a consumer; safe to use from many threads.

    An *essential* consumer (the statistics) is waited for: while it lags by the whole capacity, :meth:`append` raises
    :class:`JournalFullError`. Any other lags alone and loses its oldest entries, counted.
    """

    def subscribe(self, consumer: str, *, essential: bool = False, signals: Sequence[Signal] = ()) -> None:
        """Registers a consumer from the next offset on; ``signals`` limits what it reads (all when empty)."""
        ...

    def append(self, request: Request) -> int:
        """Adds a request and returns its offset; raises :class:`JournalFullError` when there is no room."""
        ...

    def read(self, consumer: str, *, limit: int = 64, timeout_s: float | None = None) -> Sequence[Entry]:
        """The entries after what was last read, waiting up to ``timeout_s`` for the first; empty on close."""
        ...

    def commit(self, consumer: str, offset: int) -> None:
        """Says that everything up to and including ``offset`` is done with, so that its room may be used again."""
        ...

    def close(self) -> None:
        """Refuses further appends and wakes all readers; what is in the log can still be read."""
        ...
