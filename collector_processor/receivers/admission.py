"""Admit requests from both transports: decide and count what happens to each.

The order is: memory, room for one more request, reading and room for its bytes, decoding, journal. Only what the
journal has accepted is acknowledged. A request whose items cannot be counted (refused before it was decoded, or not
decodable) counts as one item.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode import with_repaired
from collector_processor.decode.otlp.metrics import LoopError
from collector_processor.journal.base import Journal, JournalFullError, Request, Signal
from collector_processor.own.memory import MemoryLimit, resident_bytes
from collector_processor.own.telemetry import Telemetry, Transport
from collector_processor.own.via import HEADER, cleaned, passed_through
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
_Origin = tuple[str, Transport]
"""The type of the receiver that a request came to, and its transport."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class BusyError(Exception):
    """There is no room now; the sender should retry."""


class TimedOutError(Exception):
    """The body did not arrive in time."""


class HungUpError(Exception):
    """The sender has hung up and gets no answer."""


Hold = Callable[[int], None]
"""Reports how many bytes a request now holds; raises :class:`BusyError` if there is no room for them."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A request as protobuf, and its original gzip stream if it had one, to forward without compressing again.

    ``repaired`` is the number of texts in which U+FFFD stands for what is not Unicode.
    """

    body: bytes
    gzipped: bytes = b""
    repaired: int = 0


class Incoming(Protocol):
    """One request of a transport, before any of it is read."""

    async def read(self, hold: Hold) -> None:
        """Read all of it from the network, in the event loop.

        Raises what :meth:`Admission.admit` handles: :class:`TooLargeError`, :class:`TimedOutError`,
        :class:`MalformedRequestError`, what ``hold`` raises, and :class:`HungUpError`.
        """
        ...

    def payload(self, hold: Hold) -> Payload:
        """Return what was read, inflated and as protobuf; runs in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a request, as the sender learns it.

    In a *partial* request, ``rejected`` items could not be read, and the rest was accepted. A *busy* one may be sent
    again after ``retry_after_s``; sending any other again does not help.
    """

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    retry_after_s: float | None = None


class Admission:
    """Admits requests into a journal.

    ``decode`` returns a request's columns. At most ``max_requests`` may be in flight at once, with at most
    ``max_request_bytes`` in all their bodies (a single one may be larger). Above ``memory_limit_bytes`` of resident
    memory, as ``resident`` measures it, none is accepted. Beyond any of these limits, the sender is asked to retry
    after ``retry_after_s``. A request that has passed through the service ``instance_id`` before is refused. Decoding
    runs in ``threads`` threads.
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
        instance_id: str = "",
        resident: Callable[[], int | None] = resident_bytes,
    ) -> None:
        self._journal = journal
        self._decode = decode
        self.telemetry: Final = telemetry
        self._memory = MemoryLimit(memory_limit_bytes, resident=resident)
        self._retry_after_s = retry_after_s
        self._next_complaint_s = 0.0
        self._patient = True
        self.instance_id: Final = instance_id
        self.room: Final = _Room(max_requests, max_request_bytes)
        self._pool = ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="decode")

    async def admit(
        self, incoming: Incoming, signal: Signal, transport: Transport, via: str = "", receiver: str = "otlp"
    ) -> Outcome:
        """Read, decode and journal one request; return and count what happened to it.

        ``via`` names the services that it has passed through (:mod:`~collector_processor.own.via`), ``receiver`` the
        type of the receiver, for the counts.
        Raises only :class:`HungUpError` and cancellation.
        """
        via = cleaned(via)
        origin: _Origin = (receiver, transport)
        try:
            if passed_through(via, self.instance_id):
                raise LoopError(f"this request has passed through this service before ({HEADER}: {via})")
            if self._memory.exceeded():
                raise BusyError("the service is short of memory")
            with self.room.place() as hold:
                await incoming.read(hold)
                return await self.run(partial(self._take, incoming, hold, signal, origin, via))
        except HungUpError:
            raise
        except Exception as error:  # noqa: BLE001 -- a request must not end the receiver; unexpected errors are logged
            return self._judge(error, signal, origin)

    def close(self) -> None:
        """Wait for requests that are being decoded; call after the receivers have stopped."""
        self._pool.shutdown(wait=True)

    def _take(self, incoming: Incoming, hold: Hold, signal: Signal, origin: _Origin, via: str) -> Outcome:
        """Decode and journal what was read, in the calling thread."""
        items = 1
        try:
            payload = incoming.payload(hold)
            hold(len(payload.body) + len(payload.gzipped))
            received_ns = time.time_ns()
            decoded = self._decode(signal, payload.body, received_ns)
            if payload.repaired:
                decoded = with_repaired(decoded, payload.repaired)
            items = decoded.items
            if payload.body:
                self._append(Request(signal, payload.body, decoded, items, received_ns, payload.gzipped, via))
        except Exception as error:  # noqa: BLE001 -- as in admit(), with the number of items
            return self._judge(error, signal, origin, items)
        return self._accept(signal, origin, decoded)

    def _append(self, request: Request) -> None:
        """Journal a request, waiting briefly for room: a refused request must be received and decoded again.

        After a wait in vain, later requests do not wait until the journal has accepted one again.
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

    def _judge(self, error: Exception, signal: Signal, origin: _Origin, items: int = 1) -> Outcome:
        """Return what an error means for the sender, counted."""
        if isinstance(error, BusyError | JournalFullError):
            self.telemetry.received("refused", signal, *origin, items)
            return Outcome("busy", str(error), retry_after_s=self._retry_after_s)
        if isinstance(error, TooLargeError):
            self.telemetry.received("refused", signal, *origin, items)
            return Outcome("too_large", str(error))
        if isinstance(error, LoopError):
            self.telemetry.received("refused", signal, *origin, error.items)
            self.telemetry.dropped(("receiver", "loop"), error.items)
            self._complain(signal, f"a loop: {error}")
            return Outcome("malformed", str(error))
        self.telemetry.received("failed", signal, *origin, items)
        if isinstance(error, MalformedRequestError):
            self._complain(signal, f"malformed: {error}")
            return Outcome("malformed", str(error))
        if isinstance(error, TimedOutError):
            return Outcome("timed_out", str(error))
        self.telemetry.errors.labels("receiver").inc()
        _log.error("handling a %s request failed", signal, exc_info=error)
        return Outcome("failed", "the request could not be handled; see the service's log for the reason")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run long work off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _complain(self, signal: Signal, message: str) -> None:
        """Log a sender's error at intervals: most SDKs do not show it, and the counters count every one."""
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s:
            self._next_complaint_s = now_s + _COMPLAINT_INTERVAL_S
            # The sender chose the text: it may contain lone surrogates, which cannot be written, and have any length.
            shown = message[:_COMPLAINT_CHARACTERS].encode("utf-8", "backslashreplace").decode()
            _log.warning("a %s request: %s", signal, shown)

    def _accept(self, signal: Signal, origin: _Origin, decoded: Decoded) -> Outcome:
        repaired = decoded.dropped.get("text_repaired", 0)
        if repaired:
            self._complain(signal, f"{repaired} texts are not Unicode; U+FFFD stands for what is wrong in them")
        # A batch span may hold more rejected rows than the request has items.
        rejected = min(decoded.rejected, decoded.items)
        self.telemetry.received("accepted", signal, *origin, decoded.items - rejected)
        if not decoded.rejected:
            return Outcome("accepted")
        self.telemetry.received("failed", signal, *origin, rejected)
        self._complain(signal, f"{decoded.rejected} rejected: {decoded.message}")
        return Outcome("partial", decoded.message, rejected=decoded.rejected)


@dataclass(slots=True)
class _Place:
    """One request's share of the room."""

    bytes: int = 0
    released: bool = False


class _Room:
    """Limits how many requests are in flight and how many bytes they hold; raises :class:`BusyError` beyond that."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def place(self) -> Generator[Hold]:
        """Reserve a place for one request; yield the function that reports how many bytes it holds."""
        with self._lock:
            if self.requests >= self._max_requests:
                raise BusyError("too many requests are in flight")
            self.requests += 1
        place = _Place()
        try:
            yield partial(self._hold, place)
        finally:
            self._release(place)

    def _hold(self, place: _Place, size: int) -> None:
        with self._lock:
            # A sender that hung up has released its room, while a thread may still process what it sent.
            if place.released:
                return
            others = self.bytes - place.bytes
            if size > place.bytes and others and others + size > self._max_bytes:
                raise BusyError("too many bytes of requests are in flight")
            self.bytes = others + size
            place.bytes = size

    def _release(self, place: _Place) -> None:
        with self._lock:
            place.released = True
            self.requests -= 1
            self.bytes -= place.bytes
