"""The loop that delivers everything that leaves the service: it takes, tries, retries, and drains at shutdown.

The parts are those of the Collector's exporterhelper. A *source* (a queue, the journal, the firing alerts) returns the
next item and records its outcome. An *attempt* tries once to deliver it. A retry policy says when to try again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.retry import TIMEOUT_S, Delivery, RetryPolicy
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry

Stage = Literal["export", "notify", "originals"]
"""Where an unexpected error is counted, in ``otel_ml_errors_total``."""
T = TypeVar("T")
_PAUSE_S: Final = 0.25
"""The pause after a source failed, so that a source that keeps failing does not use all of the CPU."""
_CLOSE_S: Final = 1.0
"""How long a thread can take to notice that its connection was closed."""
_WARNING_INTERVAL_S: Final = 10.0
_NO_TIME: Final = Delivery("retry", "no time left at shutdown")
_log = logging.getLogger(__name__)


class Source(Protocol[T]):
    """The items to deliver to one destination. All threads of a loop call :meth:`take` and :meth:`settle`."""

    def take(self) -> T | None:
        """Wait for the next item and return it; None once the source is closed and empty."""
        ...

    def settle(self, item: T, delivery: Delivery) -> None:
        """Record the outcome of an item: ``sent``, ``refused``, or ``retry`` if the shutdown came first."""
        ...

    def close(self) -> None:
        """Accept nothing more and wake :meth:`take`; waiting items can still be taken."""
        ...

    def abandon(self) -> str:
        """Count all waiting items as given up; return what the stop left behind, for the log. Safe to call twice."""
        ...


class DeliveryLoop(Generic[T]):
    """Delivers the items of a source on up to ``consumers`` threads: an item that keeps failing holds up no other.

    The source decides what must not overtake what. A thread is started when all others are busy, or, with ``waiting``,
    when all others wait for their next try: for a destination that must be asked one thing at a time.

    ``attempt`` tries once to deliver an item within a number of seconds, at most ``timeout_s``. If it returns
    ``retry``, the item is tried again according to the policy ``retry``, or after the longer wait that the destination
    asked for; when the policy gives up, the item is settled as ``refused``. ``connection``, if attempts need one, is
    opened at the start, and closed at shutdown to end what is being sent. ``divide`` returns an item in parts, or
    nothing, for a destination that finds it too large. ``name`` is the exporter's id.
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
        consumers: int = 1,
        waiting: bool = False,
        divide: Callable[[T], Sequence[T]] | None = None,
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
        self._consumers = consumers
        self._only_waiting = waiting
        self._next_warning_s = 0.0
        self._divide = divide
        self._lock = threading.Lock()
        self._held: dict[int, list[T]] = {}
        """What each thread that is not waiting has taken and not settled, the next one last."""
        self._threads: list[threading.Thread] = []

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Start to deliver; ``OSError`` names what the connection cannot use."""
        if self._connection is not None:
            self._connection.open()
        with self._lock:
            self._add_thread()

    def close(self, timeout_s: float) -> None:
        """Accept nothing more; try each waiting item once more within the time. :meth:`shutdown` waits for that."""
        self._deadline = min(self._deadline, time.monotonic() + timeout_s)
        self._closing.set()
        self._source.close()

    def shutdown(self, timeout_s: float) -> None:
        """Deliver waiting items within the time; give up, count and log the rest. Safe to call without start."""
        self.close(timeout_s)
        self._join(self._deadline)
        if self._connection is not None:
            self._connection.close()
        self._join(time.monotonic() + _CLOSE_S)
        # A try that cannot be ended is counted now, because no one reads the counters later.
        with self._lock:
            held, self._held = [item for items in self._held.values() for item in items], {}
        for item in held:
            self._source.settle(item, _NO_TIME)
        left = self._source.abandon()
        if left:
            _log.warning("exporters.%s: the stop left behind %s that could not be delivered", self._name, left)

    def _join(self, until_s: float) -> None:
        while True:
            with self._lock:
                alive = [thread for thread in self._threads if thread.is_alive()]
            left_s = until_s - time.monotonic()
            if not alive or left_s <= 0:
                return
            alive[0].join(left_s)

    def _add_thread_if_all_are_busy(self) -> None:
        with self._lock:
            if len(self._held) == len(self._threads) < self._consumers:
                self._add_thread()

    def _add_thread(self) -> None:
        name = f"{self._stage}-{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._run, args=(len(self._threads),), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, number: int) -> None:
        while self._time_left() > 0:
            try:
                item = self._source.take()
                if item is None:
                    break
                with self._lock:
                    self._held[number] = [item]
                if not self._only_waiting:
                    self._add_thread_if_all_are_busy()
                self._handle(number)
            except Exception:  # noqa: BLE001 -- a journal that fails temporarily must not end the delivery
                self._telemetry.errors.labels(self._stage).inc()
                _log.exception("exporters.%s: delivery failed and continues", self._name)
                if self._closing.wait(_PAUSE_S):
                    break

    def _handle(self, number: int) -> None:
        """Deliver and settle what a thread holds, until nothing is left or the shutdown has taken it over."""
        while True:
            with self._lock:
                items = self._held.get(number)
                if not items:
                    self._held.pop(number, None)
                    return
                item = items[-1]
            delivery = self._deliver(item)
            parts: Sequence[T] = ()
            if delivery.too_large and self._divide is not None:
                with survived(self._stage, self._telemetry, part=f"dividing for exporters.{self._name}"):
                    parts = self._divide(item)
            with self._lock:
                if self._held.get(number) is not items:
                    return
                items[-1:] = reversed(parts)
            if parts:
                _log.debug("exporters.%s: sending in %d parts: %s", self._name, len(parts), delivery.message)
            else:
                self._source.settle(item, delivery)

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
            _log.log(
                self._level(tries), "exporters.%s: trying again in %.1f s: %s", self._name, wait_s, delivery.message
            )
            self._add_thread_if_all_are_busy()
            self._closing.wait(wait_s)

    def _level(self, tries: int) -> int:
        """Return a warning for the first failure of an item, but not for each of many that fail for the same reason."""
        now_s = time.monotonic()
        if tries > 1 or now_s < self._next_warning_s:
            return logging.DEBUG
        self._next_warning_s = now_s + _WARNING_INTERVAL_S
        return logging.WARNING

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

    def _time_left(self) -> float:
        return self._deadline - time.monotonic()
