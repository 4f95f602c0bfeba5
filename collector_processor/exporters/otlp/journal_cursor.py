"""Original requests on their way from the journal to one destination: taken, joined, divided, and settled."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from collector_processor.exporters.delivery.bounded_queue import Batching
from collector_processor.exporters.delivery.parts import halves, items_of
from collector_processor.exporters.delivery.retry import Delivery
from collector_processor.exporters.otlp.encoder import REQUEST_BYTES
from collector_processor.journal.base import Entry, Journal, Signal
from collector_processor.own.metrics import ITEMS
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry

_ORDERED: Final[Signal] = "metrics"
_POLL_S: Final = 0.25
_TURN_S: Final = 0.02
"""How long to wait for other requests while those of metrics wait for the one under way."""
_KINDS: Final = 16
"""More kinds than this do not wait to be joined: senders decide how many ways there are."""
_IN_VAIN: Final = 3
"""A drain ends after this many failures in a row: the destination is down."""
_COMPLAINT_INTERVAL_S: Final = 10.0
_Kind = tuple[Signal, str]
"""The signal and the way of requests that may be joined."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lot:
    """Entries of the journal that were taken together, and how many packets of them are not settled."""

    offsets: Sequence[int]
    unsettled: int = 1
    delivered: bool = True


@dataclass(frozen=True, slots=True)
class Packet:
    """What is sent as one request: an original, several joined, or a part of one.

    ``gzipped`` is the body compressed, if it arrived so. ``via`` names the services that it has passed through.
    """

    signal: Signal
    body: bytes
    items: int
    lot: _Lot
    gzipped: bytes = b""
    via: str = ""


class JournalCursor:
    """A :class:`.Source` of packets from a journal for the consumer ``name``; releases entries once they are settled.

    Requests of metrics are taken one at a time, because many destinations refuse a point that is older than the last
    one of its series; spans and log records have no order. What a shutdown leaves undelivered stays unreleased, and is
    counted as dropped.
    """

    def __init__(self, name: str, journal: Journal, telemetry: Telemetry, batching: Batching | None = None) -> None:
        self._name = name
        self._journal = journal
        self._telemetry = telemetry
        self._batching = batching
        self._open = False
        self._draining = threading.Event()
        self._taking = threading.Lock()
        self._ready: deque[Packet] = deque()
        self._collected: dict[_Kind, list[Entry]] = {}
        self._since_s: dict[_Kind, float] = {}
        self._lock = threading.Lock()
        self._ordered = 0
        """How many packets of metrics are not settled."""
        self._in_vain = 0
        self._next_complaint = 0.0

    def open(self, signals: Sequence[Signal]) -> None:
        """Subscribe to the journal, from the next request on."""
        self._journal.subscribe(self._name, signals=signals)
        self._open = True

    def take(self) -> Packet | None:
        """Return the next packet; None once it is draining and the journal has no more."""
        while not (self._draining.is_set() and self._in_vain >= _IN_VAIN):
            with self._taking:
                packet = self._next()
                if packet is not None:
                    return packet
                if self._draining.is_set() and not self._ordered:
                    return None
            if self._draining.is_set():
                time.sleep(_TURN_S)  # metrics may still wait for those under way
        return None

    def settle(self, item: Packet, delivery: Delivery) -> None:
        """Count the outcome of a packet, and release its entries unless the shutdown came first."""
        lot = item.lot
        if delivery.outcome != "retry":
            self._count(item, delivery)
        with self._lock:
            lot.unsettled -= 1
            lot.delivered = lot.delivered and delivery.outcome != "retry"
            self._ordered -= item.signal == _ORDERED
            self._in_vain = self._in_vain + 1 if delivery.outcome == "retry" else 0
            release = lot.delivered and not lot.unsettled
        for offset in lot.offsets if release else ():
            self._journal.release(self._name, offset)

    def divide(self, item: Packet) -> Sequence[Packet]:
        """Return a packet in two; nothing if it has a single item, is not OTLP, or has too many fields."""
        parts = _halved(item)
        with self._lock:
            item.lot.unsettled += bool(parts)
            self._ordered += bool(parts) and item.signal == _ORDERED
        return parts

    def close(self) -> None:
        """Stop waiting for new entries."""
        self._draining.set()

    def abandon(self) -> str:
        """Count what the journal still has for this destination as dropped; return how much that is."""
        if not self._open:
            return ""
        self._open = False
        remaining = self._journal.remaining(self._name)
        items: Counter[Signal] = Counter()
        for request in remaining:
            items[request.signal] += request.items
        self._telemetry.dropped(("journal", "stopped"), items.total())
        texts = ", ".join(f"{count} {ITEMS[signal].replace('_', ' ')}" for signal, count in items.items())
        return f"{len(remaining)} requests with {texts}" if remaining else ""

    def _next(self) -> Packet | None:
        """Return a packet that is ready, or wait a moment for one."""
        blocked = (_ORDERED,) if self._ordered else ()
        for place, packet in enumerate(self._ready):
            if packet.signal not in blocked:
                del self._ready[place]
                return self._begun(packet)
        wait_s, began_s = self._wait_s(blocked), time.monotonic()
        # One at a time: what is read but not under way is not bounded by the journal any more.
        entries = self._journal.read(self._name, limit=1, timeout_s=wait_s, skipping=blocked)
        now_s = time.monotonic()
        if not entries and now_s - began_s < wait_s:
            # A closed journal returns immediately.
            self._draining.wait(wait_s)
        for entry in entries:
            kind = (entry.request.signal, entry.request.via)
            self._collected.setdefault(kind, []).append(entry)
            self._since_s.setdefault(kind, now_s)
        for kind, collected in self._collected.items():
            if kind[0] not in blocked and self._is_enough(collected, now_s - self._since_s[kind]):
                packet = _joined(self._portion(collected))
                self._since_s[kind] = now_s
                if not collected:
                    del self._collected[kind], self._since_s[kind]
                return self._begun(packet)
        return None

    def _begun(self, packet: Packet) -> Packet:
        """Return a packet, or its first part of at most ``max_size`` items where it can be divided.

        The rest waits uncut: each part has a copy of what surrounds its items, so that all of them could take much
        more memory than the packet.
        """
        limit = 0 if self._batching is None else self._batching.max_size
        while limit and packet.items > limit:
            parts: Sequence[Packet] = ()
            with survived("originals", self._telemetry, part=f"dividing for exporters.{self._name}"):
                parts = _halved(packet)
            if not parts:
                break
            with self._lock:
                packet.lot.unsettled += 1
            packet, rest = parts
            self._ready.appendleft(rest)
        with self._lock:
            self._ordered += packet.signal == _ORDERED
        return packet

    def _wait_s(self, blocked: Sequence[Signal]) -> float:
        if self._draining.is_set():
            return 0.0
        longest_s = _TURN_S if blocked else _POLL_S
        if self._batching is None:
            return longest_s
        now_s = time.monotonic()
        flushes = (
            since_s + self._batching.flush_s for kind, since_s in self._since_s.items() if kind[0] not in blocked
        )
        return min([longest_s, *(max(0.0, flush_s - now_s) for flush_s in flushes)])

    def _is_enough(self, collected: Sequence[Entry], waited_s: float) -> bool:
        batching = self._batching
        if batching is None or self._draining.is_set() or waited_s >= batching.flush_s:
            return True
        if len(self._collected) > _KINDS:
            return True
        items = sum(entry.request.items for entry in collected)
        return items >= batching.min_size or sum(len(entry.request.body) for entry in collected) >= REQUEST_BYTES

    def _portion(self, collected: list[Entry]) -> Sequence[Entry]:
        """Remove the first entries, at least one, that make a request within the limits."""
        taken: list[Entry] = []
        items = size = 0
        while collected:
            request = collected[0].request
            items, size = items + request.items, size + len(request.body)
            over = self._batching is None or (self._batching.max_size and items > self._batching.max_size)
            if taken and (over or size > REQUEST_BYTES):
                break
            taken.append(collected.pop(0))
        return taken

    def _count(self, item: Packet, delivery: Delivery) -> None:
        what = ITEMS[item.signal].replace("_", " ")
        rejected = item.items
        if delivery.outcome == "sent":
            rejected = min(max(0, delivery.rejected), item.items)
            if rejected or delivery.message:
                reason = delivery.message or "no reason given"
                self._complain(f"the destination rejected {rejected} of {item.items} {what}: {reason}")
        else:
            self._complain(f"gave up on {item.items} {what}: {delivery.message}")
        self._telemetry.exported("sent", item.signal, self._name, item.items - rejected)
        self._telemetry.exported("send_failed", item.signal, self._name, rejected)

    def _complain(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_complaint:
            # Otherwise a destination that refuses everything would fill the log; the counter shows how often it does.
            self._next_complaint = now_s + _COMPLAINT_INTERVAL_S
            _log.error("exporters.%s: %s", self._name, text)


def _joined(entries: Sequence[Entry]) -> Packet:
    """Return entries of one kind as one request: the bytes of OTLP requests may simply follow each other."""
    requests = [entry.request for entry in entries]
    first, lot = requests[0], _Lot([entry.offset for entry in entries])
    if len(requests) == 1:
        return Packet(first.signal, first.body, first.items, lot, first.gzipped, first.via)
    body = b"".join(request.body for request in requests)
    # A receiver may read only the first of several gzip members, so they are not joined as they came.
    gzipped = _compressed(body) if any(request.gzipped for request in requests) else b""
    return Packet(first.signal, body, sum(request.items for request in requests), lot, gzipped, first.via)


def _halved(packet: Packet) -> Sequence[Packet]:
    """Return a packet in two; nothing if it has a single item, is not OTLP, or has too many fields."""
    bodies = halves(packet.signal, packet.body) if packet.items > 1 else None
    counted = None if bodies is None else items_of(packet.signal, bodies[0])
    if bodies is None or counted is None:
        return ()
    first = min(counted, packet.items)
    return [
        replace(packet, body=body, items=items, gzipped=_compressed(body) if packet.gzipped else b"")
        for body, items in zip(bodies, (first, packet.items - first), strict=True)
    ]


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)
