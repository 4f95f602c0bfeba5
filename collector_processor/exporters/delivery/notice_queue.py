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
    """A :class:`.Source` of notices that each make one message.

    With ``together``, those of one rule and one state that wait at the same time make one message, so that a thousand
    models that go silent at once are a few messages. None overtakes another of the same rule and model.

    ``name`` stands in logs and as ``exporter`` in ``otel_ml_notifications_total``: ``sent``, ``failed`` (given up), or
    ``dropped`` when the queue was full; the newest is dropped then.
    """

    def __init__(
        self, name: str, telemetry: Telemetry, *, together: bool = False, queue_size: int = QUEUE_SIZE
    ) -> None:
        self._name = name
        self._telemetry = telemetry
        self._queue: BoundedQueue[Notice] = BoundedQueue(
            name, "alerts", telemetry, queue_size, joins=_joins if together else None
        )

    def put(self, notices: Sequence[Notice]) -> None:
        """Add notices without waiting; leave out those that only update what is shown."""
        for notice in notices:
            if notice.reason not in QUIET and not self._queue.put(notice):
                self._count("dropped", 1)

    def take(self) -> Sequence[Notice] | None:
        """Return the notices of the next message; None once the queue is closed and all is taken."""
        return self._queue.take() or None

    def settle(self, item: Sequence[Notice], delivery: Delivery) -> None:
        """Count what became of a message."""
        self._count("sent" if delivery.outcome == "sent" else "failed", len(item))
        if delivery.outcome != "sent":
            _log.error("exporters.%s: given up: %s: %s", self._name, title_of(item), delivery.message)

    def close(self) -> None:
        """Accept nothing more."""
        self._queue.close()

    def abandon(self) -> None:
        """Count what still waits as failed."""
        self._count("failed", len(self._queue.clear()))

    def _count(self, outcome: str, notices: int) -> None:
        if notices:
            self._telemetry.notifications.labels(self._name, outcome).inc(notices)


def _joins(first: Notice) -> Callable[[Notice], bool]:
    """Return a test, to be called with each later notice in order, of which go out together with the first."""
    passed = {first.key}

    def joins(notice: Notice) -> bool:
        same = notice.rule == first.rule and notice.state == first.state and first.reason != "test"
        joined = same and notice.key not in passed
        passed.add(notice.key)
        return joined

    return joins
