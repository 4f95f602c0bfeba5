"""The journal in memory: bounded by bytes and by entries, with a cursor for each consumer.

A request is held until every consumer has committed it. When there is no room, the oldest request that no essential
consumer waits for is evicted: the destinations that had not read it lose it, and the loss is counted. When essential
consumers alone fill the journal, the append is refused, and the sender is asked to retry.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from collector_processor.columns.batch import Decoded
from collector_processor.columns.parts import bytes_of
from collector_processor.journal.base import Entry, JournalFullError, Request, Signal
from collector_processor.own.telemetry import Telemetry

DEFAULT_MAX_BYTES: Final = 256 * 2**20
DEFAULT_MAX_ENTRIES: Final = 10_000
_ENTRY_BYTES: Final = 512
"""Bytes that a request counts besides its content, so that empty ones are not free."""


@dataclass(slots=True)
class _Consumer:
    """One reader. ``unread`` and ``taken`` (read, not committed) are ordered offsets; dicts, to remove any of them.

    ``evicted`` has what made way while it was taken, without its content: it may still be delivered.
    """

    name: str
    essential: bool
    signals: frozenset[str]
    unread: OrderedDict[int, None] = field(default_factory=OrderedDict[int, None])
    taken: OrderedDict[int, None] = field(default_factory=OrderedDict[int, None])
    evicted: dict[int, Request] = field(default_factory=dict[int, Request])

    def wants(self, signal: str) -> bool:
        return not self.signals or signal in self.signals

    def lag(self) -> int:
        return len(self.unread) + len(self.taken)


@dataclass(slots=True)
class _Held:
    """An entry, and how many consumers, and how many essential ones, have yet to commit it."""

    entry: Entry
    size: int
    waiting: int
    essential: int


class MemoryJournal:
    """Implements :class:`~collector_processor.journal.base.Journal`; what it holds is lost when the process ends.

    ``max_bytes`` bounds bodies and decoded columns together. A request larger than that is accepted when nothing else
    is held, so that it is not refused forever. A request that no consumer wants is not kept, but counted.
    A consumer that subscribes again under the same name reads again what it did not commit.

    >>> from collector_processor.columns.batch import Decoded
    >>> journal = MemoryJournal(Telemetry(), max_entries=2)
    >>> journal.subscribe("statistics", essential=True)
    >>> for body in (b"a", b"b"):
    ...     _ = journal.append(Request("traces", body, Decoded(), 1, 0))
    >>> journal.append(Request("traces", b"c", Decoded(), 1, 0))
    Traceback (most recent call last):
    collector_processor.journal.base.JournalFullError: the journal is full: 'statistics' is 2 requests behind
    >>> [entry.request.body for entry in journal.read("statistics")]
    [b'a', b'b']
    >>> journal.commit("statistics", 0)
    >>> journal.append(Request("traces", b"c", Decoded(), 1, 0))
    2
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_entries: int = DEFAULT_MAX_ENTRIES,
    ) -> None:
        if max_bytes < 1 or max_entries < 1:
            raise ValueError(f"journal: max_bytes and max_entries must be at least 1, not {max_bytes}, {max_entries}")
        self._telemetry = telemetry
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._changed = threading.Condition()
        self._consumers: dict[str, _Consumer] = {}
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._bytes = 0
        self._essential_entries = 0
        self._essential_bytes = 0
        self._next = 0
        self._closed = False
        telemetry.journal_entries.set_function(lambda: len(self._held))
        telemetry.journal_bytes.set_function(lambda: self._bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes held now: bodies and decoded columns."""
        return self._bytes

    def lag(self, consumer: str) -> int:
        """Requests that ``consumer`` has yet to commit."""
        with self._changed:
            return self._consumer(consumer).lag()

    def subscribe(self, consumer: str, *, essential: bool = False, signals: Sequence[Signal] = ()) -> None:
        """Register a consumer from the next offset on, or rewind a known one to its last commit."""
        with self._changed:
            known = self._consumers.get(consumer)
            if known is not None:
                known.signals = frozenset(signals)
                known.taken.update(known.unread)
                known.unread, known.taken = known.taken, OrderedDict()
                for request in known.evicted.values():
                    self._lost(request, known)
                known.evicted.clear()
                self._changed.notify_all()
                return
            added = self._consumers[consumer] = _Consumer(consumer, essential, frozenset(signals))
        self._telemetry.journal_lag.labels(consumer).set_function(lambda: len(added.unread))
        if not essential:
            self._telemetry.queue_size.labels(consumer, "originals").set_function(added.lag)
            self._telemetry.queue_capacity.labels(consumer, "originals").set(self._max_entries)

    def append(self, request: Request) -> int:
        """Add a request and return its offset; raise :class:`JournalFullError` if full or closed."""
        size = request_bytes(request)
        with self._changed:
            if self._closed:
                raise JournalFullError("the journal is closed")
            wanting = [consumer for consumer in self._consumers.values() if consumer.wants(request.signal)]
            if wanting:
                self._make_room(size)
                self._hold(Entry(self._next, request), size, wanting)
                self._changed.notify_all()
            else:
                self._telemetry.unread.labels(request.signal).inc(request.items)
            self._next += 1
            return self._next - 1

    def read(
        self,
        consumer: str,
        *,
        limit: int = 64,
        timeout_s: float | None = None,
        skipping: Collection[Signal] = (),
    ) -> Sequence[Entry]:
        """Return up to ``limit`` entries after those last read; without ``timeout_s``, wait for one or the close."""
        if limit < 1:
            raise ValueError(f"journal: limit must be at least 1, not {limit}")
        with self._changed:
            reader = self._consumer(consumer)
            self._changed.wait_for(
                lambda: self._closed or any(True for _ in self._readable(reader, skipping)), timeout_s
            )
            entries = list(islice(self._readable(reader, skipping), limit))
            for entry in entries:
                del reader.unread[entry.offset]
                reader.taken[entry.offset] = None
            return entries

    def commit(self, consumer: str, offset: int) -> None:
        """Release everything up to and including ``offset`` for ``consumer``, read or not."""
        with self._changed:
            reader = self._consumer(consumer)
            reader.evicted = {other: request for other, request in reader.evicted.items() if other > offset}
            for offsets in (reader.taken, reader.unread):
                while offsets and next(iter(offsets)) <= offset:
                    done, _ = offsets.popitem(last=False)
                    self._release(done, reader)

    def release(self, consumer: str, offset: int) -> None:
        """Release one entry for ``consumer``, wherever it is among the others."""
        with self._changed:
            reader = self._consumer(consumer)
            reader.evicted.pop(offset, None)
            for offsets in (reader.taken, reader.unread):
                if offset in offsets:
                    del offsets[offset]
                    self._release(offset, reader)

    def remaining(self, consumer: str) -> Sequence[Request]:
        """Return what ``consumer`` has neither committed nor released, in order; what made way without its content."""
        with self._changed:
            reader = self._consumer(consumer)
            held = {offset: self._held[offset].entry.request for offset in (*reader.taken, *reader.unread)}
            return [request for _, request in sorted((held | reader.evicted).items(), key=lambda each: each[0])]

    def close(self) -> None:
        """Refuse further appends and wake all readers; what is held can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _readable(self, reader: _Consumer, skipping: Collection[Signal]) -> Iterator[Entry]:
        entries = (self._held[offset].entry for offset in reader.unread)
        return entries if not skipping else (entry for entry in entries if entry.request.signal not in skipping)

    def _consumer(self, name: str) -> _Consumer:
        known = self._consumers.get(name)
        if known is None:
            raise ValueError(f"journal has no consumer '{name}'; it has: {', '.join(self._consumers) or 'none'}")
        return known

    def _hold(self, entry: Entry, size: int, wanting: Sequence[_Consumer]) -> None:
        essential = sum(consumer.essential for consumer in wanting)
        self._held[entry.offset] = _Held(entry, size, len(wanting), essential)
        self._bytes += size
        if essential:
            self._essential_entries += 1
            self._essential_bytes += size
        for consumer in wanting:
            consumer.unread[entry.offset] = None

    def _release(self, offset: int, consumer: _Consumer) -> None:
        held = self._held[offset]
        held.waiting -= 1
        if consumer.essential:
            held.essential -= 1
            if not held.essential:
                self._essential_entries -= 1
                self._essential_bytes -= held.size
        if not held.waiting:
            del self._held[offset]
            self._bytes -= held.size

    def _make_room(self, size: int) -> None:
        """Evict the oldest requests that only lagging destinations wait for; raise first if that cannot help."""
        entries, held_bytes = self._essential_entries, self._essential_bytes
        if entries and (entries >= self._max_entries or held_bytes + size > self._max_bytes):
            slowest = max((c for c in self._consumers.values() if c.essential), key=_Consumer.lag)
            raise JournalFullError(f"the journal is full: '{slowest.name}' is {slowest.lag()} requests behind")
        entries, held_bytes = len(self._held), self._bytes
        victims: list[_Held] = []
        for held in self._held.values():
            if entries < self._max_entries and held_bytes + size <= self._max_bytes:
                break
            if not held.essential:
                victims.append(held)
                entries -= 1
                held_bytes -= held.size
        for held in victims:
            self._evict(held)

    def _evict(self, held: _Held) -> None:
        offset, request = held.entry.offset, held.entry.request
        for consumer in self._consumers.values():
            if offset in consumer.unread:
                del consumer.unread[offset]
                self._lost(request, consumer)
            elif offset in consumer.taken:
                # What was read already is being delivered; removing it here does not lose it.
                del consumer.taken[offset]
                consumer.evicted[offset] = replace(request, body=b"", decoded=Decoded(), gzipped=b"")
        del self._held[offset]
        self._bytes -= held.size

    def _lost(self, request: Request, consumer: _Consumer) -> None:
        self._telemetry.exported("enqueue_failed", request.signal, consumer.name, request.items)
        self._telemetry.dropped(("journal", "destination_lagging"), request.items)


def request_bytes(request: Request) -> int:
    """Return the bytes that a held request uses: its body, plain and as it came, its columns and categories.

    >>> from collector_processor.columns.batch import Decoded
    >>> request_bytes(Request("traces", b"12345678", Decoded(), 0, 0))
    520
    """
    batches = (*request.decoded.predictions, *request.decoded.labels)
    return _ENTRY_BYTES + len(request.body) + len(request.gzipped) + sum(map(bytes_of, batches))
