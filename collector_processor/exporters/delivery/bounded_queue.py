"""A bounded queue in memory: a slow destination slows nothing else, and costs a limited amount of memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from collector_processor.own.telemetry import Telemetry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batching:
    """How long to wait for more of what waits, so that it is sent as one request: the Collector's ``batch``.

    A request is sent once it has ``min_size`` items or its first item has waited ``flush_s``. It has at most
    ``max_size`` items, if that is not 0.
    """

    min_size: int = 8192
    max_size: int = 0
    flush_s: float = 0.2


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    keys: frozenset[Hashable]
    weight: int
    since: float


class BoundedQueue(Generic[T]):
    """Items that wait for the exporter ``name``; a new one that does not fit is rejected.

    At most ``size`` items wait, and their weights add up to at most ``max_weight``. ``kind`` is the ``data_type`` of
    the queue's own metrics. ``joins``, if given, returns for an item a test of which later ones are taken with it.

    Several consumers may take. Items that have a key in common are never under way at the same time, and keep their
    order: the later one waits until :meth:`done` is called for the earlier one, and all others pass it.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["measurements", "alerts"],
        telemetry: Telemetry,
        size: int,
        *,
        weight: Callable[[T], int] = lambda _: 1,
        max_weight: float = float("inf"),
        joins: Callable[[T], Callable[[T], bool]] | None = None,
        keys: Callable[[T], Iterable[Hashable]] = lambda _: (),
        batching: Batching | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"exporters.{name}.sending_queue.queue_size: must be at least 1, not {size}")
        self._size = size
        self._weight_of = weight
        self._max_weight = max_weight
        self._joins = joins
        self._keys_of = keys
        self._batching = batching
        self._items: deque[_Waiting[T]] = deque()
        self._busy: set[Hashable] = set()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()
        self._length = telemetry.queue_size.labels(name, kind)
        self._length.set(0)
        telemetry.queue_capacity.labels(name, kind).set(size)

    def put(self, item: T) -> bool:
        """Add an item without waiting; False if it does not fit, or the queue is closed."""
        waiting = _Waiting(item, frozenset(self._keys_of(item)), self._weight_of(item), time.monotonic())
        with self._changed:
            if self._closed or len(self._items) >= self._size or self._weight + waiting.weight > self._max_weight:
                return False
            self._items.append(waiting)
            self._weight += waiting.weight
            self._length.set(len(self._items))
            self._changed.notify_all()
        return True

    def take(self) -> Sequence[T]:
        """Wait for an item and remove it with all that join it; empty once the queue is closed and has no more."""
        with self._changed:
            while self._items or not self._closed:
                chosen = self._next()
                wait_s = self._wait_s(chosen)
                if not chosen or (wait_s and not self._closed):
                    self._changed.wait(wait_s)
                    continue
                kept = set(map(id, chosen))
                self._items = deque(waiting for waiting in self._items if id(waiting) not in kept)
                self._busy.update(*(waiting.keys for waiting in chosen))
                return self._removed(chosen)
            return ()

    def done(self, items: Iterable[T]) -> None:
        """Let the next items with the same keys be taken; call this once for what :meth:`take` returned."""
        with self._changed:
            for item in items:
                self._busy.difference_update(self._keys_of(item))
            self._changed.notify_all()

    def close(self) -> None:
        """Accept nothing more and wake :meth:`take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> Sequence[T]:
        """Remove and return everything that waits."""
        with self._changed:
            taken, self._items = self._items, deque()
            self._changed.notify_all()
            return self._removed(taken)

    def _next(self) -> list[_Waiting[T]]:
        """Return the first item that nothing under way holds up, and those that join it."""
        chosen: list[_Waiting[T]] = []
        weight = 0
        blocked = set(self._busy)
        joins: Callable[[T], bool] | None = None
        for waiting in self._items:
            free = blocked.isdisjoint(waiting.keys)
            if chosen:
                # The test of joins must see every later item.
                joined = self._fits(weight + waiting.weight) if joins is None else joins(waiting.item)
            else:
                joined = free
                joins = self._joins(waiting.item) if free and self._joins is not None else None
            if joined and free:
                chosen.append(waiting)
                weight += waiting.weight
                if joins is None and self._batching is None:
                    break
            else:
                blocked |= waiting.keys
        return chosen

    def _fits(self, weight: int) -> bool:
        if self._batching is None:
            return False
        return not self._batching.max_size or weight <= self._batching.max_size

    def _wait_s(self, chosen: Sequence[_Waiting[T]]) -> float | None:
        """Return how long to wait for more to join; None without an end, 0 if these are enough."""
        if not chosen:
            return None
        if self._batching is None or sum(each.weight for each in chosen) >= self._batching.min_size:
            return 0.0
        return max(0.0, chosen[0].since + self._batching.flush_s - time.monotonic())

    def _removed(self, taken: Iterable[_Waiting[T]]) -> Sequence[T]:
        items: list[T] = []
        for waiting in taken:
            self._weight -= waiting.weight
            items.append(waiting.item)
        self._length.set(len(self._items))
        return items
