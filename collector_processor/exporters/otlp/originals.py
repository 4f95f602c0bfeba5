"""Forwards the original requests, byte for byte: one thread and one journal cursor a destination.

A destination that is slow or down lags alone: its cursor stands still while the others' move on, and when the journal
is full it loses its oldest, counted as ``enqueue_failed`` there. Its queue gauges are its lag in the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy, Sender
from collector_processor.journal.base import Entry, Journal, Request, Signal
from collector_processor.own.telemetry import ITEMS, Telemetry

_POLL_S: Final = 0.25
_CLOSE_S: Final = 1.0
_COMPLAINT_INTERVAL_S: Final = 10.0
_log = logging.getLogger(__name__)


class OriginalsForwarder:
    """Delivers every request of ``signals`` (all when empty) to one destination, and then commits it.

    ``name`` is the exporter's id, and its consumer name in the journal. A try takes ``timeout_s`` at most; what fails
    for now is tried again by the ``retry`` policy, what fails for good is given up, counted as ``send_failed``.
    With one consumer the order of the journal is kept; with more, that many requests are under way at once and overtake
    each other within such a group.
    """

    def __init__(
        self,
        name: str,
        journal: Journal,
        sender: Sender,
        telemetry: Telemetry,
        *,
        signals: Sequence[Signal] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float = 5.0,
        consumers: int = 1,
    ) -> None:
        if consumers < 1:
            raise ValueError(f"exporter '{name}': consumers must be at least 1, not {consumers}")
        self._name = name
        self._journal = journal
        self._sender = sender
        self._telemetry = telemetry
        self._signals = tuple(signals)
        self._retry = retry or RetryPolicy()
        self._timeout_s = timeout_s
        self._consumers = consumers
        self._draining = threading.Event()
        self._deadline = float("inf")
        self._next_complaint = 0.0
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Subscribes to the journal and starts to forward what is appended from here on."""
        self._journal.subscribe(self._name, signals=self._signals)
        self._thread = threading.Thread(target=self._run, name=f"originals-{self._name}", daemon=True)
        self._thread.start()

    def shutdown(self, timeout_s: float) -> None:
        """Sends what is in the journal within the time, and ends; safe to call without start.

        Nothing is tried twice any more: the first request that cannot be delivered now ends it, and stays uncommitted.
        """
        self._deadline = time.monotonic() + timeout_s
        self._draining.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._sender.close()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        with ThreadPoolExecutor(self._consumers, thread_name_prefix=f"send-{self._name}") as pool:
            while time.monotonic() < self._deadline and self._survived_step(pool):
                pass

    def _survived_step(self, pool: ThreadPoolExecutor) -> bool:
        try:
            return self._step(pool)
        except Exception:  # noqa: BLE001 -- a journal that fails for now must not end the forwarding for good
            self._telemetry.errors.labels("originals").inc()
            _log.exception("exporter '%s': failed and goes on", self._name)
            self._draining.wait(_POLL_S)
            return not self._draining.is_set()

    def _step(self, pool: ThreadPoolExecutor) -> bool:
        """Forwards what is there, or waits a little for something; False when the shutdown has nothing left to do."""
        draining = self._draining.is_set()
        started = time.monotonic()
        wait_s = 0.0 if draining else _POLL_S
        entries = self._journal.read(self._name, limit=self._consumers, timeout_s=wait_s)
        if entries:
            return self._forward(entries, pool)
        if time.monotonic() - started < wait_s:
            # A closed journal answers at once.
            self._draining.wait(_POLL_S)
        return not draining

    def _forward(self, entries: Sequence[Entry], pool: ThreadPoolExecutor) -> bool:
        """Delivers or gives up each of them and commits; False when the shutdown left one undelivered."""
        if len(entries) == 1:
            done = [self._deliver(entries[0].request)]
        else:
            done = list(pool.map(self._deliver, (entry.request for entry in entries)))
        for entry, finished in zip(entries, done, strict=True):
            if not finished:
                _log.warning("exporter '%s': shut down before everything was delivered", self._name)
                return False
            self._journal.commit(self._name, entry.offset)
        return True

    def _deliver(self, request: Request) -> bool:
        """Tries until the request is delivered or given up (True), or the shutdown comes first (False)."""
        began = time.monotonic()
        tries = 0
        while (left_s := self._deadline - time.monotonic()) > 0:
            draining = self._draining.is_set()
            delivery = self._try(request, min(self._timeout_s, left_s))
            tries += 1
            if delivery.outcome == "sent":
                return self._delivered(request, delivery)
            if delivery.outcome == "refused":
                return self._give_up(request, "refused", delivery)
            if draining:
                return False
            wait_s = self._retry.wait_s(tries, time.monotonic() - began, delivery.retry_after_s)
            if wait_s is None:
                return self._give_up(request, f"not delivered in {tries} tries", delivery)
            _log.info("exporter '%s': trying again in %.1f s: %s", self._name, wait_s, delivery.message)
            self._draining.wait(wait_s)
        return False

    def _try(self, request: Request, timeout_s: float) -> Delivery:
        try:
            return self._sender.send(request.signal, request.body, timeout_s, request.gzipped)
        except Exception as error:  # noqa: BLE001 -- logged and counted; one request must not end the thread
            self._telemetry.errors.labels("originals").inc()
            _log.exception("exporter '%s': a request could not be sent", self._name)
            return Delivery("refused", str(error))

    def _delivered(self, request: Request, delivery: Delivery) -> bool:
        rejected = min(max(0, delivery.rejected), request.items)
        self._telemetry.exported("sent", request.signal, self._name, request.items - rejected)
        self._telemetry.exported("send_failed", request.signal, self._name, rejected)
        return True

    def _give_up(self, request: Request, why: str, delivery: Delivery) -> bool:
        self._telemetry.exported("send_failed", request.signal, self._name, request.items)
        now_s = time.monotonic()
        if now_s >= self._next_complaint:
            # A destination that refuses everything would otherwise fill the log; the counter tells how often.
            self._next_complaint = now_s + _COMPLAINT_INTERVAL_S
            items = f"{request.items} {ITEMS[request.signal]}"
            _log.error("exporter '%s': %s given up (%s): %s", self._name, items, why, delivery.message)
        return True
