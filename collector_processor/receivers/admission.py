"""The one place where both transports hand a request in; what becomes of it is decided and counted here.

Order: room for one more request and for its bytes, memory, reading, decoding, journal. Only what the journal has
taken is acknowledged. A request whose items cannot be counted (refused before it was decoded, or not decodable)
counts as one item.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, TypeVar

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.otlp.metrics import LoopError
from collector_processor.journal.base import Journal, JournalFullError, Request, Signal
from collector_processor.own.memory import MemoryLimit, resident_bytes
from collector_processor.own.telemetry import Telemetry, Transport
from collector_processor.receivers.inflate import TooLargeError

Verdict = Literal["accepted", "partial", "malformed", "too_large", "timed_out", "busy", "failed"]
Decode = Callable[[Signal, bytes, int], Decoded]
"""``(signal, body, received_ns)`` to columns; raises :class:`MalformedRequestError`."""

DEFAULT_MAX_REQUESTS: Final = 1024
_COMPLAINT_INTERVAL_S: Final = 10.0
_COMPLAINT_CHARACTERS: Final = 500
_PATIENCE_S: Final = 0.25
"""How long a decoded request waits for room in the journal, in the thread that decoded it."""
_POLL_S: Final = 0.005
DEFAULT_MAX_REQUEST_BYTES: Final = 256 * 2**20
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class BusyError(Exception):
    """There is no room now; the sender is asked to come back."""


class TimedOutError(Exception):
    """The body did not come in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, as the sender is told.

    ``rejected`` items of a *partial* one could not be read, the rest was taken. A *busy* one may be sent again after
    ``retry_after_s``; sending any other again cannot help.
    """

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    retry_after_s: float | None = None


class Admission:
    """Admits requests into a journal.

    ``decode`` gives a request's columns. ``max_requests`` may be in flight
    at once, their bodies together ``max_request_bytes`` (one alone may be larger); above ``memory_limit_bytes`` of
    resident memory, as ``resident`` has it, none is taken. Beyond any of these the sender is asked to come back after
    ``retry_after_s``.
    Decoding runs in ``threads`` threads.
    """

    def __init__(
        self,
        journal: Journal,
        decode: Decode,
        telemetry: Telemetry,
        *,
        max_requests: int = DEFAULT_MAX_REQUESTS,
        max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES,
        memory_limit_bytes: int | None = None,
        retry_after_s: float = 1.0,
        threads: int | None = None,
        resident: Callable[[], int | None] = resident_bytes,
    ) -> None:
        self._journal = journal
        self._decode = decode
        self._telemetry = telemetry
        self._memory = MemoryLimit(memory_limit_bytes, resident=resident)
        self._retry_after_s = retry_after_s
        self._next_complaint_s = 0.0
        self._patient = True
        self._room = _Room(max_requests, max_request_bytes)
        self._pool = ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="decode")

    def enter(self, signal: Signal, transport: Transport) -> Ticket:
        """A place for one request, given back by leaving it as a context; none when ``ticket.refusal`` is set."""
        return Ticket(self, signal, transport, self._refusal(signal, transport))

    def close(self) -> None:
        """Waits for what is being decoded; to be called after the receivers have stopped."""
        self._pool.shutdown(wait=True)

    def _refusal(self, signal: Signal, transport: Transport) -> Outcome | None:
        if self._memory.exceeded():
            return self.judge(BusyError("memory is short"), signal, transport)
        if not self._room.enter():
            return self.judge(BusyError("too many requests are in flight"), signal, transport)
        return None

    def take(self, ticket: Ticket, load: Callable[[], bytes]) -> Outcome:
        """Reads, decodes and journals one request in the calling thread."""
        signal, transport = ticket.signal, ticket.transport
        items = 1
        try:
            body = load()
            ticket.holds(len(body) + len(ticket.gzipped))
            received_ns = time.time_ns()
            decoded = self._decode(signal, body, received_ns)
            items = decoded.items
            if body:
                self._append(Request(signal, body, decoded, items, received_ns, ticket.gzipped))
        except Exception as error:  # noqa: BLE001 -- a request must not end the receiver; judge() logs what is unexpected
            return self.judge(error, signal, transport, items)
        return self._accept(ticket, decoded)

    def _append(self, request: Request) -> None:
        """Journals a request, with a moment's patience: to refuse it means to receive and decode it all again.

        A journal that has no room after that is given no more time until it has taken something.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not self._appended(request, deadline):
            time.sleep(_POLL_S)

    def _appended(self, request: Request, deadline: float) -> bool:
        try:
            self._journal.append(request)
        except JournalFullError:
            self._patient = self._patient and time.monotonic() < deadline
            if not self._patient:
                raise
            return False
        self._patient = True
        return True

    def judge(self, error: Exception, signal: Signal, transport: Transport, items: int = 1) -> Outcome:
        """What an error means for the sender, counted."""
        if isinstance(error, BusyError | JournalFullError):
            self._telemetry.received("refused", signal, transport, items)
            return Outcome("busy", str(error), retry_after_s=self._retry_after_s)
        if isinstance(error, TooLargeError):
            self._telemetry.received("refused", signal, transport, items)
            return Outcome("too_large", str(error))
        if isinstance(error, LoopError):
            self._telemetry.received("refused", signal, transport, error.items)
            self._telemetry.dropped(("receiver", "loop"), error.items)
            return Outcome("malformed", str(error))
        self._telemetry.received("failed", signal, transport, items)
        if isinstance(error, MalformedRequestError):
            self._complain(signal, f"malformed: {error}")
            return Outcome("malformed", str(error))
        if isinstance(error, TimedOutError):
            return Outcome("timed_out", str(error))
        self._telemetry.errors.labels("receiver").inc()
        _log.error("a %s request could not be handled", signal, exc_info=error)
        return Outcome("failed", "the request could not be handled; the service's log says why")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Runs something long off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @property
    def room(self) -> _Room:
        """The account of what is in flight."""
        return self._room

    def _complain(self, signal: Signal, message: str) -> None:
        """Logs what is wrong with a sender, now and then: most SDKs do not show it, and the counters count it all."""
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s:
            self._next_complaint_s = now_s + _COMPLAINT_INTERVAL_S
            # The text is the sender's: lone surrogates could not be written, and it may be as long as it likes.
            told = message[:_COMPLAINT_CHARACTERS].encode("utf-8", "backslashreplace").decode()
            _log.warning("a %s request: %s", signal, told)

    def _accept(self, ticket: Ticket, decoded: Decoded) -> Outcome:
        # A batch span may hold more rejected rows than the request has items.
        rejected = min(decoded.rejected, decoded.items)
        self._telemetry.received("accepted", ticket.signal, ticket.transport, decoded.items - rejected)
        if not decoded.rejected:
            return Outcome("accepted")
        self._telemetry.received("failed", ticket.signal, ticket.transport, rejected)
        self._complain(ticket.signal, f"{decoded.rejected} rejected: {decoded.message}")
        return Outcome("partial", decoded.message, rejected=decoded.rejected)


class Ticket:
    """One request in flight: leave the context to give its room back.

    Who reads the body sets ``gzipped`` to it as it came, if that is gzip, so that it can go on without being compressed
    anew.
    """

    def __init__(self, admission: Admission, signal: Signal, transport: Transport, refusal: Outcome | None) -> None:
        self.signal: Final[Signal] = signal
        self.transport: Final[Transport] = transport
        self.refusal: Final = refusal
        self.place: Final = _Place()
        self.gzipped = b""
        self._admission = admission

    def holds(self, size: int) -> None:
        """Says that the body takes ``size`` bytes by now; raises :class:`BusyError` when there is no room for them."""
        self._admission.room.hold(self.place, size)

    async def admit(self, load: Callable[[], bytes]) -> Outcome:
        """Decodes and journals the body that ``load`` gives, off the event loop."""
        return await self._admission.run(lambda: self._admission.take(self, load))

    def judge(self, error: Exception) -> Outcome:
        """What an error means for the sender, counted."""
        return self._admission.judge(error, self.signal, self.transport)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.refusal is None:
            self._admission.room.leave(self.place)


@dataclass(slots=True)
class _Place:
    """One request's share of the room."""

    bytes: int = 0
    left: bool = False


class _Room:
    """How many requests are in flight and how many bytes they hold."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes = 0

    def enter(self) -> bool:
        with self._lock:
            if self.requests >= self._max_requests:
                return False
            self.requests += 1
            return True

    def hold(self, place: _Place, size: int) -> None:
        with self._lock:
            # A sender that hung up has given its room back, while a thread may still be at work on what it sent.
            if place.left:
                return
            others = self.bytes - place.bytes
            if size > place.bytes and others and others + size > self._max_bytes:
                raise BusyError("too many bytes of requests are in flight")
            self.bytes = others + size
            place.bytes = size

    def leave(self, place: _Place) -> None:
        with self._lock:
            place.left = True
            self.requests -= 1
            self.bytes -= place.bytes
