"""Measurements that wait for a destination, and the requests that are built from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.exporters.delivery.bounded_queue import BoundedQueue
from collector_processor.exporters.delivery.retry import QUEUE_SIZE, Delivery
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry

QUEUE_POINTS: Final = 1_000_000
"""The maximum number of waiting measurements, in any number of batches: a few hundred MB."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One request: its protobuf bytes, its number of metric points, and what to call once it is delivered."""

    body: bytes
    points: int
    delivered: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Batch:
    """The batch that is being delivered: its requests, and the number of its points that have not been taken."""

    parts: Iterator[Part]
    points: int


class MeasurementQueue:
    """A :class:`.Source` of requests, from batches of measurements.

    ``encode`` returns the requests of a batch; the delivery thread calls it, and gets the next request only after the
    one before it was delivered or given up. Metric points are counted as ``sent``, ``send_failed`` or, if the queue is
    full, ``enqueue_failed``: then the newest batch is dropped, as in the Collector.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Measurement]], Iterable[Part]],
        telemetry: Telemetry,
        *,
        queue_size: int = QUEUE_SIZE,
        queue_points: int = QUEUE_POINTS,
    ) -> None:
        self._name = name
        self._encode = encode
        self._telemetry = telemetry
        self._queue: BoundedQueue[Sequence[Measurement]] = BoundedQueue(
            name, "measurements", telemetry, queue_size, weight=len, max_weight=queue_points
        )
        self._lock = threading.Lock()
        self._batch: _Batch | None = None

    def put(self, measurements: Sequence[Measurement]) -> None:
        """Add a batch without waiting; drop and count it if it does not fit, or after the shutdown."""
        if measurements and not self._queue.put(tuple(measurements)):
            self._count("enqueue_failed", len(measurements))

    def take(self) -> Part | None:
        """Return the next request; None once the queue is closed and empty."""
        while (batch := self._current_batch()) is not None:
            part: Part | None = None
            failed = False
            try:
                part = next(batch.parts, None)
            except Exception:  # noqa: BLE001 -- only the part that cannot be encoded is lost
                failed = True
                self._telemetry.errors.labels("export").inc()
                _log.exception("exporters.%s: %d metric points could not be encoded", self._name, batch.points)
            with self._lock:
                if self._batch is not batch:
                    return None  # abandoned, and counted, while it was being encoded
                if part is not None:
                    batch.points -= part.points
                    return part
                self._batch = None
            if failed:
                self._count("send_failed", batch.points)
        return None

    def settle(self, item: Part, delivery: Delivery) -> None:
        """Count the outcome of a request."""
        if delivery.outcome != "sent":
            self._count("send_failed", item.points)
            _log.error("exporters.%s: gave up on %d metric points: %s", self._name, item.points, delivery.message)
            return
        item.delivered()
        rejected = min(delivery.rejected, item.points)
        self._count("sent", item.points - rejected)
        self._count("send_failed", rejected)
        if rejected:
            _log.warning("exporters.%s: the destination rejected %d metric points", self._name, rejected)

    def close(self) -> None:
        """Accept nothing more."""
        self._queue.close()

    def abandon(self) -> None:
        """Count everything that still waits as failed."""
        with self._lock:
            batch, self._batch = self._batch, None
        points = sum(map(len, self._queue.clear()))
        self._count("send_failed", points if batch is None else points + batch.points)

    def _current_batch(self) -> _Batch | None:
        with self._lock:
            if self._batch is not None:
                return self._batch
        taken = self._queue.take()
        if not taken:
            return None
        with self._lock:
            self._batch = _Batch(self._parts(taken[0]), len(taken[0]))
            return self._batch

    def _parts(self, measurements: Sequence[Measurement]) -> Iterator[Part]:
        yield from self._encode(measurements)

    def _count(self, verb: str, points: int) -> None:
        if points:
            self._telemetry.exported(verb, "metrics", self._name, points)
