"""Notices of alerts that wait for a destination."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from collector_processor.alerts.notice import QUIET, Notice
from collector_processor.alerts.text import title_of
from collector_processor.exporters.delivery.bounded_queue import BoundedQueue
from collector_processor.exporters.delivery.retry import QUEUE_SIZE, Delivery
from collector_processor.own.telemetry import Telemetry

_log = logging.getLogger(__name__)


class NoticeQueue:
    """A :class:`.Source` of notices, each of which becomes one message.

    With ``together``, waiting notices of the same rule and state become one message, so that a thousand models that go
    silent at once cause only a few messages. No notice overtakes another of the same rule and model.

    ``name`` is the name in logs, and ``exporter`` in ``otel_ml_notifications_total``: ``sent``, ``failed`` (given up),
    or ``dropped`` if the queue was full; then the newest notice is dropped.
    """

    def __init__(
        self, name: str, telemetry: Telemetry, *, together: bool = False, queue_size: int = QUEUE_SIZE
    ) -> None:
        self._name = name
        self._telemetry = telemetry
        self._queue: BoundedQueue[Notice] = BoundedQueue(
            name, "alerts", telemetry, queue_size, joins=_joins if together else None, keys=lambda notice: (notice.key,)
        )
        self._left = 0

    def put(self, notices: Sequence[Notice]) -> None:
        """Add notices without waiting; skip those that only update a display."""
        for notice in notices:
            if notice.reason not in QUIET and not self._queue.put(notice):
                self._count("dropped", 1)

    def take(self) -> Sequence[Notice] | None:
        """Return the notices of the next message; None once the queue is closed and empty."""
        return self._queue.take() or None

    def settle(self, item: Sequence[Notice], delivery: Delivery) -> None:
        """Count the outcome of a message."""
        self._queue.done(item)
        self._count("sent" if delivery.outcome == "sent" else "failed", len(item))
        if delivery.outcome == "retry":
            self._left += len(item)
        elif delivery.outcome != "sent":
            _log.error("exporters.%s: gave up on '%s': %s", self._name, title_of(item), delivery.message)

    def close(self) -> None:
        """Accept nothing more."""
        self._queue.close()

    def abandon(self) -> str:
        """Count everything that still waits as failed; return what a stop left behind."""
        waiting = len(self._queue.clear())
        self._count("failed", waiting)
        left, self._left = self._left + waiting, 0
        return f"{left} notices" if left else ""

    def _count(self, outcome: str, notices: int) -> None:
        if notices:
            self._telemetry.notifications.labels(self._name, outcome).inc(notices)


def _joins(first: Notice) -> Callable[[Notice], bool]:
    """Return a test that accepts later notices, called in order, that can go out together with the first one."""
    passed = {first.key}

    def joins(notice: Notice) -> bool:
        same = notice.rule == first.rule and notice.state == first.state and first.reason != "test"
        joined = same and notice.key not in passed
        passed.add(notice.key)
        return joined

    return joins
