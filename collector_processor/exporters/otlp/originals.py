"""Forwards the original requests, byte for byte, with one journal cursor for each destination.

A slow or unreachable destination does not affect others: only its own cursor stops. When the journal is full, it loses
its oldest requests, which count as ``enqueue_failed``. Its queue gauges show its lag in the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.retry import TIMEOUT_S, Delivery, RetryPolicy, Sender
from collector_processor.journal.base import Entry, Journal, Signal
from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry

_POLL_S: Final = 0.25
_COMPLAINT_INTERVAL_S: Final = 10.0
_log = logging.getLogger(__name__)


class JournalCursor:
    """A :class:`.Source` of a journal's entries for the consumer ``name``; commits each once it is settled.

    When a shutdown leaves a request undelivered the cursor ends there: that request and those after it stay
    uncommitted.
    """

    def __init__(self, name: str, journal: Journal, telemetry: Telemetry) -> None:
        self._name = name
        self._journal = journal
        self._telemetry = telemetry
        self._draining = threading.Event()
        self._ended = False
        self._next_complaint = 0.0

    def take(self) -> Entry | None:
        """Return the next entry; None once it is draining and the journal has no more."""
        while not self._ended:
            draining = self._draining.is_set()
            started = time.monotonic()
            wait_s = 0.0 if draining else _POLL_S
            for entry in self._journal.read(self._name, limit=1, timeout_s=wait_s):
                return entry
            if draining:
                break
            if time.monotonic() - started < wait_s:
                # A closed journal returns immediately.
                self._draining.wait(_POLL_S)
        return None

    def settle(self, item: Entry, delivery: Delivery) -> None:
        """Count the outcome of a request, and commit it unless the shutdown came first."""
        request = item.request
        if delivery.outcome == "retry":
            self._ended = True
            _log.warning("exporters.%s: shut down before everything was delivered", self._name)
            return
        rejected = request.items
        if delivery.outcome == "sent":
            rejected = min(max(0, delivery.rejected), request.items)
        else:
            self._complain(f"gave up on {request.items} {ITEMS[request.signal]}: {delivery.message}")
        self._telemetry.exported("sent", request.signal, self._name, request.items - rejected)
        self._telemetry.exported("send_failed", request.signal, self._name, rejected)
        self._journal.commit(self._name, item.offset)

    def close(self) -> None:
        """Stop waiting for new entries."""
        self._draining.set()

    def abandon(self) -> None:
        """Leave the rest of the journal uncommitted, which its lag shows."""

    def _complain(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_complaint:
            # Otherwise a destination that refuses everything would fill the log; the counter shows how often it does.
            self._next_complaint = now_s + _COMPLAINT_INTERVAL_S
            _log.error("exporters.%s: %s", self._name, text)


class OriginalsForwarder(DeliveryLoop[Entry]):
    """Delivers every request of ``signals`` (all when empty) to one destination, in the journal's order.

    ``name`` is the exporter's id, and its consumer name in the journal. Requests that fail permanently are given up and
    counted as ``send_failed``. At shutdown, the first request that cannot be delivered ends it, and stays uncommitted.
    """

    def __init__(
        self,
        name: str,
        journal: Journal,
        connection: Connection[Sender],
        telemetry: Telemetry,
        *,
        signals: Sequence[Signal] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._journal = journal
        self._sending = connection
        self._signals = tuple(signals)
        super().__init__(
            name,
            JournalCursor(name, journal, telemetry),
            self._attempt,
            telemetry,
            stage="originals",
            retry=retry,
            timeout_s=timeout_s,
            connection=connection,
        )

    def start(self) -> None:
        """Subscribe to the journal and start to forward what is appended from now on."""
        self._journal.subscribe(self.name, signals=self._signals)
        super().start()

    def _attempt(self, entry: Entry, timeout_s: float) -> Delivery:
        request = entry.request
        return self._sending.use(
            lambda sender: sender.send(request.signal, request.body, timeout_s, request.gzipped, request.via)
        )
