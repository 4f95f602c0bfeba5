"""A bounded queue of notices and the thread that delivers them: a slow service slows nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.text import title_of
from collector_processor.exporters.delivery.persist import persist
from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy
from collector_processor.own.telemetry import Telemetry

_CLOSE_S: Final = 1.0
_log = logging.getLogger(__name__)


class NoticeWorker:
    """Hands notices to ``deliver`` (notices, seconds that it may take), again by the ``retry`` policy if need be.

    One at a time; with ``together`` those of one rule and one state that wait at the same time go as one, so that a
    thousand models that go silent at once are a few messages. None overtakes another of the same rule and model.

    ``name`` stands in logs and as ``exporter`` in ``otel_ml_notifications_total``: ``sent``, ``failed`` (given up), or
    ``dropped`` when the queue was full; the newest is dropped then.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[Notice], float], Delivery],
        telemetry: Telemetry,
        *,
        together: bool = False,
        retry: RetryPolicy | None = None,
        timeout_s: float = 5.0,
        queue_size: int = 1000,
    ) -> None:
        self._name = name
        self._deliver = deliver
        self._together = together
        self._telemetry = telemetry
        self._retry = retry or RetryPolicy()
        self._timeout_s = timeout_s
        self._queue_size = queue_size
        self._queue: deque[Notice] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None
        telemetry.queue_capacity.labels(name, "alerts").set(queue_size)
        telemetry.queue_size.labels(name, "alerts").set(0)

    def start(self) -> None:
        """Starts to deliver what waits and what will come."""
        self._thread = threading.Thread(target=self._run, name=f"notify-{self._name}", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Takes a notice over without waiting."""
        with self._changed:
            fits = len(self._queue) < self._queue_size and not self._closing.is_set()
            if fits:
                self._queue.append(notice)
                self._telemetry.queue_size.labels(self._name, "alerts").set(len(self._queue))
                self._changed.notify()
        if not fits:
            self._count("dropped")

    def close(self, timeout_s: float) -> None:
        """Takes nothing more; what waits is tried once more each within the time. :meth:`shutdown` waits for it."""
        with self._changed:
            self._deadline = min(self._deadline, time.monotonic() + timeout_s)
            self._closing.set()
            self._changed.notify_all()

    def shutdown(self, timeout_s: float) -> None:
        """Delivers what waits within the time; gives up and counts the rest."""
        self.close(timeout_s)
        if self._thread is not None:
            self._thread.join(timeout_s + _CLOSE_S)
        while some := self._next():
            self._count("failed", len(some))

    def _run(self) -> None:
        while some := self._next():
            delivery = self._persist(some)
            self._count("sent" if delivery.outcome == "sent" else "failed", len(some))
            if delivery.outcome != "sent":
                _log.error("exporters.%s: given up: %s: %s", self._name, title_of(some), delivery.message)

    def _next(self) -> Sequence[Notice]:
        """What goes next, waiting for it unless the worker closes; nothing when it closes and all is taken."""
        with self._changed:
            while not self._queue:
                if self._closing.is_set():
                    return ()
                self._changed.wait()
            some = [self._queue.popleft()]
            if self._together:
                some += self._like(some[0])
            self._telemetry.queue_size.labels(self._name, "alerts").set(len(self._queue))
            return some

    def _like(self, first: Notice) -> Sequence[Notice]:
        """Takes what can go with a notice out of the queue."""
        if first.reason == "test":
            return ()
        taken: list[Notice] = []
        others, passed = deque[Notice](), {first.key}
        for notice in self._queue:
            same = notice.rule == first.rule and notice.state == first.state
            (taken if same and notice.key not in passed else others).append(notice)
            passed.add(notice.key)
        self._queue = others
        return taken

    def _persist(self, some: Sequence[Notice]) -> Delivery:
        """Tries until it is sent, refused or given up."""
        return persist(
            self._name,
            lambda timeout_s: self._tried(some, timeout_s),
            self._retry,
            self._timeout_s,
            self._closing,
            lambda: self._deadline - time.monotonic(),
        )

    def _tried(self, some: Sequence[Notice], timeout_s: float) -> Delivery:
        try:
            return self._deliver(some, timeout_s)
        except Exception as error:  # noqa: BLE001 -- nothing may end the thread
            self._telemetry.errors.labels("notify").inc()
            # Its text could hold an address with a password in it.
            return Delivery("refused", f"unexpected {type(error).__name__}")

    def _count(self, outcome: str, notices: int = 1) -> None:
        self._telemetry.notifications.labels(self._name, outcome).inc(notices)
