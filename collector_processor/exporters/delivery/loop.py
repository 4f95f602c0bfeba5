"""The loop that delivers everything that leaves the service: it takes, tries, retries, and drains at shutdown.

The parts are those of the Collector's exporterhelper. A *source* (a queue, the journal, the firing alerts) returns the
next item and records its outcome. An *attempt* tries once to deliver it. A retry policy says when to try again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.retry import TIMEOUT_S, Delivery, RetryPolicy
from collector_processor.own.telemetry import Telemetry

Stage = Literal["export", "notify", "originals"]
"""Where an unexpected error is counted, in ``otel_ml_errors_total``."""
T = TypeVar("T")
_PAUSE_S: Final = 0.25
"""The pause after a source failed, so that a source that keeps failing does not use all of the CPU."""
_CLOSE_S: Final = 1.0
"""How long a thread can take to notice that its connection was closed."""
_NO_TIME: Final = Delivery("retry", "no time left at shutdown")
_log = logging.getLogger(__name__)


class Source(Protocol[T]):
    """The items to deliver to one destination. Only the thread of the loop calls :meth:`take`."""

    def take(self) -> T | None:
        """Wait for the next item and return it; None once the source is closed and empty."""
        ...

    def settle(self, item: T, delivery: Delivery) -> None:
        """Record the outcome of an item: ``sent``, ``refused``, or ``retry`` if the shutdown came first."""
        ...

    def close(self) -> None:
        """Accept nothing more and wake :meth:`take`; waiting items can still be taken."""
        ...

    def abandon(self) -> None:
        """Count all waiting items as given up; safe to call twice."""
        ...


class DeliveryLoop(Generic[T]):
    """Delivers the items of a source, one after another, on a thread.

    ``attempt`` tries once to deliver an item within a number of seconds, at most ``timeout_s``. If it returns
    ``retry``, the item is tried again according to the policy ``retry``, or after the wait that the destination asked
    for; when the policy gives up, the item is settled as ``refused``. ``connection``, if attempts need one, is opened
    at the start, and closed at shutdown to end what is being sent. ``name`` is the exporter's id.
    """

    def __init__(
        self,
        name: str,
        source: Source[T],
        attempt: Callable[[T, float], Delivery],
        telemetry: Telemetry,
        *,
        stage: Stage,
        retry: RetryPolicy | None = None,
        timeout_s: float = TIMEOUT_S,
        connection: Connection[Any] | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._attempt = attempt
        self._telemetry = telemetry
        self._stage = stage
        self._retry = retry or RetryPolicy()
        self._timeout_s = timeout_s
        self._connection = connection
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._claim = threading.Lock()
        self._current: T | None = None
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Start to deliver; ``OSError`` names what the connection cannot use."""
        if self._connection is not None:
            self._connection.open()
        self._thread = threading.Thread(target=self._run, name=f"{self._stage}-{self._name}", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Accept nothing more; try each waiting item once more within the time. :meth:`shutdown` waits for that."""
        self._deadline = min(self._deadline, time.monotonic() + timeout_s)
        self._closing.set()
        self._source.close()

    def shutdown(self, timeout_s: float) -> None:
        """Deliver waiting items within the time; give up and count the rest. Safe to call without start."""
        self.close(timeout_s)
        if self._thread is not None:
            self._thread.join(max(0.0, self._time_left()))
        if self._connection is not None:
            self._connection.close()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        # A try that cannot be ended is counted now, because no one reads the counters later.
        self._settle(_NO_TIME)
        self._source.abandon()

    def _run(self) -> None:
        while self._time_left() > 0:
            try:
                item = self._source.take()
                if item is None:
                    break
                with self._claim:
                    self._current = item
                self._settle(self._deliver(item))
            except Exception:  # noqa: BLE001 -- a journal that fails temporarily must not end the delivery
                self._telemetry.errors.labels(self._stage).inc()
                _log.exception("exporters.%s: delivery failed and continues", self._name)
                if self._closing.wait(_PAUSE_S):
                    break
        self._source.abandon()

    def _deliver(self, item: T) -> Delivery:
        """Try until the outcome is final; it is ``retry`` only if the shutdown came first."""
        began, tries = time.monotonic(), 0
        while True:
            last = self._closing.is_set()
            allowed_s = min(self._timeout_s, self._time_left())
            if allowed_s <= 0:
                return _NO_TIME
            delivery = self._try(item, allowed_s)
            tries += 1
            if delivery.outcome != "retry" or last:
                return delivery
            wait_s = self._retry.wait_s(tries, time.monotonic() - began, delivery.retry_after_s)
            if wait_s is None:
                message = delivery.message if tries == 1 else f"not delivered in {tries} tries: {delivery.message}"
                return replace(delivery, outcome="refused", message=message)
            level = logging.WARNING if tries == 1 else logging.DEBUG
            _log.log(level, "exporters.%s: trying again in %.1f s: %s", self._name, wait_s, delivery.message)
            self._closing.wait(wait_s)

    def _try(self, item: T, timeout_s: float) -> Delivery:
        try:
            return self._attempt(item, timeout_s)
        except Exception as error:  # noqa: BLE001 -- one item must not end the thread
            self._telemetry.errors.labels(self._stage).inc()
            # The place, but not the text of the error: it could contain an address with a password.
            unexpected = f"unexpected {type(error).__name__}"
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("exporters.%s: %s\n%s", self._name, unexpected, where)
            return Delivery("refused", unexpected)

    def _settle(self, delivery: Delivery) -> None:
        """Settle the current item, unless the shutdown did so while it was being tried."""
        with self._claim:
            item, self._current = self._current, None
        if item is not None:
            self._source.settle(item, delivery)

    def _time_left(self) -> float:
        return self._deadline - time.monotonic()
