"""Measurements that wait for a destination, and the requests that are built from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.exporters.delivery.bounded_queue import Batching, BoundedQueue
from collector_processor.exporters.delivery.retry import QUEUE_SIZE, Delivery
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

QUEUE_POINTS: Final = 1_000_000
"""The maximum number of waiting measurements, in any number of batches: a few hundred MB."""
_NO_MODEL: Final = frozenset({""})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One request: its protobuf bytes, its number of metric points, and what to call once it is delivered.

    ``divide`` returns it in parts, for a destination that finds it too large.
    """

    body: bytes
    points: int
    delivered: Callable[[], None] = lambda: None
    divide: Callable[[], Sequence[Part]] = tuple


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Measurements that wait, and the models that they are about."""

    measurements: Sequence[Measurement]
    models: frozenset[str]


@dataclass(slots=True)
class _Batch:
    """What a thread delivers: where it comes from, its requests, and how many of its points are not taken yet."""

    taken: Sequence[_Waiting]
    parts: Iterator[Part]
    points: int


class MeasurementQueue:
    """A :class:`.Source` of requests, from batches of measurements.

    ``encode`` returns the requests of a batch; a delivery thread calls it, and gets the next request only after the one
    before it was delivered or given up. Batches with a model in common follow each other in the same way: many
    destinations refuse a point that is older than the last one of its series. Batches of other models pass.

    Metric points are counted as ``sent``, ``send_failed`` or, if the queue is full, ``enqueue_failed``: then the newest
    batch is dropped, as in the Collector.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Measurement]], Iterable[Part]],
        telemetry: Telemetry,
        *,
        queue_size: int = QUEUE_SIZE,
        queue_points: int = QUEUE_POINTS,
        batching: Batching | None = None,
    ) -> None:
        self._name = name
        self._encode = encode
        self._telemetry = telemetry
        self._queue: BoundedQueue[_Waiting] = BoundedQueue(
            name,
            "measurements",
            telemetry,
            queue_size,
            weight=lambda waiting: len(waiting.measurements),
            max_weight=queue_points,
            keys=lambda waiting: waiting.models,
            batching=batching,
        )
        self._lock = threading.Lock()
        self._batches: dict[int, _Batch] = {}
        """What each thread delivers."""
        self._left = 0

    def put(self, measurements: Sequence[Measurement]) -> None:
        """Add a batch without waiting; drop and count it if it does not fit, or after the shutdown."""
        models = frozenset(
            value for item in measurements for key, value in item.attributes if key == semconv.MODEL_NAME
        )
        if measurements and not self._queue.put(_Waiting(tuple(measurements), models or _NO_MODEL)):
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
                if self._batches.get(threading.get_ident()) is not batch:
                    return None  # abandoned, and counted, while it was being encoded
                if part is not None:
                    batch.points -= part.points
                    return part
                del self._batches[threading.get_ident()]
            self._queue.done(batch.taken)
            if failed:
                self._count("send_failed", batch.points)
        return None

    def settle(self, item: Part, delivery: Delivery) -> None:
        """Count the outcome of a request."""
        if delivery.outcome == "retry":
            self._count("send_failed", item.points)
            with self._lock:
                self._left += item.points
            return
        if delivery.outcome != "sent":
            self._count("send_failed", item.points)
            _log.error("exporters.%s: gave up on %d metric points: %s", self._name, item.points, delivery.message)
            return
        item.delivered()
        rejected = min(max(0, delivery.rejected), item.points)
        self._count("sent", item.points - rejected)
        self._count("send_failed", rejected)
        if rejected or delivery.message:
            _log.warning(
                "exporters.%s: the destination rejected %d metric points: %s",
                self._name, rejected, delivery.message or "no reason given",
            )  # fmt: skip

    def close(self) -> None:
        """Accept nothing more."""
        self._queue.close()

    def abandon(self) -> str:
        """Count everything that still waits as failed; return what a stop left behind."""
        with self._lock:
            begun, self._batches = self._batches, {}
            left, self._left = self._left, 0
        waiting = sum(len(each.measurements) for each in self._queue.clear()) + sum(
            each.points for each in begun.values()
        )
        self._count("send_failed", waiting)
        return f"{left + waiting} metric points" if left + waiting else ""

    def _current_batch(self) -> _Batch | None:
        with self._lock:
            batch = self._batches.get(threading.get_ident())
        if batch is not None:
            return batch
        taken = self._queue.take()
        if not taken:
            return None
        measurements = [item for waiting in taken for item in waiting.measurements]
        batch = _Batch(taken, self._parts(measurements), len(measurements))
        with self._lock:
            self._batches[threading.get_ident()] = batch
        return batch

    def _parts(self, measurements: Sequence[Measurement]) -> Iterator[Part]:
        yield from self._encode(measurements)

    def _count(self, verb: str, points: int) -> None:
        if points:
            self._telemetry.exported(verb, "metrics", self._name, points)
