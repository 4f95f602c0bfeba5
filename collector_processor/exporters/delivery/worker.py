"""A bounded queue of measurements and the thread that delivers them, so that a slow destination slows nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.exporters.delivery.persist import persist
from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy, Sender
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry

QUEUE_POINTS: Final = 1_000_000
"""How many measurements may wait in all, whatever the number of batches: some hundred MB."""
_CLOSE_S: Final = 1.0
_log = logging.getLogger(__name__)


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """One request: its protobuf bytes, the metric points in it, and what to do once the destination has it."""

    body: bytes
    points: int
    delivered: Callable[[], None] = _nothing


class DeliveryWorker:
    """Takes batches over, turns each into requests and delivers these one after another.

    ``encode`` gives the requests of a batch; it is called in the worker's thread, and asked for the next one only after
    the one before has been delivered or given up. What fails for now is tried again by the ``retry`` policy; what fails
    for good is given up. Metric points are counted as ``sent``, ``send_failed`` or, when the queue is full,
    ``enqueue_failed``: the newest batch is dropped then, as in the Collector.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Measurement]], Iterable[Part]],
        telemetry: Telemetry,
        *,
        retry: RetryPolicy | None = None,
        timeout_s: float = 5.0,
        queue_size: int = 1000,
        queue_points: int = QUEUE_POINTS,
    ) -> None:
        if queue_size < 1:
            raise ValueError(f"exporters.{name}.sending_queue.queue_size: must be at least 1, not {queue_size}")
        self._name = name
        self._encode = encode
        self._telemetry = telemetry
        self._retry = retry or RetryPolicy()
        self._timeout_s = timeout_s
        self._queue_size = queue_size
        self._queue_points = queue_points
        self._queue: deque[Sequence[Measurement]] = deque()
        self._points = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None
        telemetry.queue_capacity.labels(name, "measurements").set(queue_size)
        telemetry.queue_size.labels(name, "measurements").set(0)

    def start(self, sender: Sender) -> None:
        """Starts to deliver what waits and what will come."""
        self._sender = sender
        self._thread = threading.Thread(target=self._run, args=(sender,), name=f"export-{self._name}", daemon=True)
        self._thread.start()

    def put(self, measurements: Sequence[Measurement]) -> None:
        """Takes a batch over without waiting; drops and counts it when it does not fit or after the shutdown."""
        if not measurements:
            return
        with self._changed:
            fits = len(self._queue) < self._queue_size and self._points + len(measurements) <= self._queue_points
            if fits and not self._closing.is_set():
                self._queue.append(tuple(measurements))
                self._points += len(measurements)
                self._telemetry.queue_size.labels(self._name, "measurements").set(len(self._queue))
                self._changed.notify()
                return
        self._count("enqueue_failed", len(measurements))

    def shutdown(self, timeout_s: float) -> None:
        """Delivers what waits within the time, each request tried once more at most; gives up and counts the rest."""
        with self._changed:
            self._deadline = time.monotonic() + timeout_s
            self._closing.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._sender is not None:
            self._sender.close()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        while (batch := self._next()) is not None:
            self._count("send_failed", len(batch))

    def _run(self, sender: Sender) -> None:
        while (batch := self._next()) is not None:
            if self._time_left() <= 0:
                self._count("send_failed", len(batch))
                continue
            self._deliver(sender, batch)

    def _next(self) -> Sequence[Measurement] | None:
        """The next batch, waiting for it unless the worker closes; None when it closes and all is taken."""
        with self._changed:
            while not self._queue:
                if self._closing.is_set():
                    return None
                self._changed.wait()
            batch = self._queue.popleft()
            self._points -= len(batch)
            self._telemetry.queue_size.labels(self._name, "measurements").set(len(self._queue))
            return batch

    def _time_left(self) -> float:
        return self._deadline - time.monotonic()

    def _deliver(self, sender: Sender, batch: Sequence[Measurement]) -> None:
        unsettled = len(batch)
        try:
            for part in self._encode(batch):
                self._settle(part, self._persist(sender, part))
                unsettled -= part.points
        except Exception:  # noqa: BLE001 -- nothing may end the thread: what cannot be encoded is lost, the rest goes on
            self._telemetry.errors.labels("export").inc()
            self._count("send_failed", unsettled)
            _log.exception("exporters.%s: %d metric points could not be encoded", self._name, unsettled)

    def _settle(self, part: Part, delivery: Delivery) -> None:
        """Counts what became of a request."""
        if delivery.outcome != "sent":
            self._count("send_failed", part.points)
            _log.error("exporters.%s: %d metric points given up: %s", self._name, part.points, delivery.message)
            return
        part.delivered()
        rejected = min(delivery.rejected, part.points)
        self._count("sent", part.points - rejected)
        self._count("send_failed", rejected)
        if rejected:
            _log.warning("exporters.%s: %d metric points rejected by the destination", self._name, rejected)

    def _persist(self, sender: Sender, part: Part) -> Delivery:
        """Tries to deliver a request until it is sent, refused or given up."""
        return persist(
            self._name,
            lambda timeout_s: sender.send("metrics", part.body, timeout_s),
            self._retry,
            self._timeout_s,
            self._closing,
            self._time_left,
        )

    def _count(self, verb: str, points: int) -> None:
        if points:
            self._telemetry.exported(verb, "metrics", self._name, points)
