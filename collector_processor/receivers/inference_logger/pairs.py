"""Requests and responses that wait for each other, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from collector_processor.receivers.inference_logger.events import Event, Side

_OVERHEAD_BYTES: Final = 1024
"""About what an event takes besides its body."""
_REMEMBERED: Final = 65_536
"""Calls whose later copies are recognized."""
Why = Literal["expired", "limit", "stopped"]
Evicted = Callable[[Side, Why, int], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both events of one call, and when the request, or the response if that came first, was received."""

    request: Event
    response: Event
    received_ns: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: Event
    received_ns: int
    since_s: float


class Pairs:
    """Joins events by their key, in whatever order they come; safe to call from any thread.

    An event waits for at most ``wait_s``. At most ``max_events`` of at most ``max_bytes`` wait; beyond that, the one
    that came first is evicted. ``evicted`` is called with what was. An event whose call is complete, or whose
    side waits already, is a copy: a logger may repeat events, and clients may repeat ids.
    """

    def __init__(
        self, wait_s: float, max_events: int, max_bytes: int, evicted: Evicted, remembered: int = _REMEMBERED
    ) -> None:
        self._wait_s = wait_s
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._evicted = evicted
        self._remembered = remembered
        self._lock = threading.Lock()
        self._waiting: OrderedDict[tuple[str, ...], _Waiting] = OrderedDict()
        self._complete: OrderedDict[int, None] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Bytes of all events that wait."""
        return self._bytes

    def meet(self, event: Event, received_ns: int, now_s: float) -> Pair | Literal["waits", "copy"]:
        """Return the pair that an event completes, or what becomes of it."""
        key = event.key
        with self._lock:
            self._evict(now_s)
            waiting = self._waiting.get(key)
            if hash(key) in self._complete or (waiting is not None and waiting.event.side == event.side):
                return "copy"
            if waiting is None:
                self._waiting[key] = _Waiting(event, received_ns, now_s)
                self._bytes += _size(event)
                self._evict(now_s)
                return "waits"
            self._remove(key)
            self._complete[hash(key)] = None
            if len(self._complete) > self._remembered:
                self._complete.popitem(last=False)
        first, second = (waiting.event, event) if event.side == "response" else (event, waiting.event)
        return Pair(first, second, min(received_ns, waiting.received_ns))

    def expire(self, now_s: float) -> None:
        """Evict what has waited for too long."""
        with self._lock:
            self._evict(now_s)

    def stop(self) -> None:
        """Evict everything."""
        with self._lock:
            while self._waiting:
                self._drop_first("stopped")

    def _evict(self, now_s: float) -> None:
        while self._waiting and next(iter(self._waiting.values())).since_s + self._wait_s <= now_s:
            self._drop_first("expired")
        while len(self._waiting) > self._max_events or self._bytes > self._max_bytes:
            self._drop_first("limit")

    def _drop_first(self, why: Why) -> None:
        event = self._remove(next(iter(self._waiting))).event
        if event.side is not None:
            self._evicted(event.side, why, 1)

    def _remove(self, key: tuple[str, ...]) -> _Waiting:
        waiting = self._waiting.pop(key)
        self._bytes -= _size(waiting.event)
        return waiting


def _size(event: Event) -> int:
    return len(event.body) + _OVERHEAD_BYTES
