"""A bounded queue in memory: a slow destination slows nothing else, and costs a limited amount of memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

from collector_processor.own.telemetry import Telemetry

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """Items that wait for the exporter ``name``; a new one that does not fit is rejected.

    At most ``size`` items wait, and their weights add up to at most ``max_weight``. ``kind`` is the ``data_type`` of
    the queue's own metrics. ``joins``, if given, returns for an item a test of which later ones are taken with it.
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
    ) -> None:
        if size < 1:
            raise ValueError(f"exporters.{name}.sending_queue.queue_size: must be at least 1, not {size}")
        self._size = size
        self._weight_of = weight
        self._max_weight = max_weight
        self._joins = joins
        self._items: deque[T] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()
        self._length = telemetry.queue_size.labels(name, kind)
        self._length.set(0)
        telemetry.queue_capacity.labels(name, kind).set(size)

    def put(self, item: T) -> bool:
        """Add an item without waiting; False if it does not fit, or the queue is closed."""
        weight = self._weight_of(item)
        with self._changed:
            if self._closed or len(self._items) >= self._size or self._weight + weight > self._max_weight:
                return False
            self._items.append(item)
            self._weight += weight
            self._length.set(len(self._items))
            self._changed.notify()
        return True

    def take(self) -> Sequence[T]:
        """Wait for an item and remove it with all that join it; empty once the queue is closed and has no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return ()
            taken, others = [self._items.popleft()], deque[T]()
            if self._joins is not None:
                joins = self._joins(taken[0])
                for item in self._items:
                    (taken if joins(item) else others).append(item)
                self._items = others
            return self._removed(taken)

    def close(self) -> None:
        """Accept nothing more and wake :meth:`take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> Sequence[T]:
        """Remove and return everything that waits."""
        with self._changed:
            taken, self._items = self._items, deque()
            return self._removed(taken)

    def _removed(self, taken: Sequence[T]) -> Sequence[T]:
        self._weight -= sum(map(self._weight_of, taken))
        self._length.set(len(self._items))
        return taken
