"""Forwards the original requests, byte for byte, with one journal cursor for each destination.

A slow or unreachable destination does not affect others: only its own cursor stops. When the journal is full, it loses
its oldest requests, which count as ``enqueue_failed``. Its queue gauges show its lag in the journal.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector_processor.exporters.delivery.bounded_queue import Batching
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.retry import CONSUMERS, TIMEOUT_S, Delivery, RetryPolicy, Sender
from collector_processor.exporters.otlp.journal_cursor import JournalCursor, Packet
from collector_processor.journal.base import Journal, Signal
from collector_processor.own.telemetry import Telemetry


class OriginalsForwarder(DeliveryLoop[Packet]):
    """Delivers every request of ``signals`` (all when empty) to one destination; see :class:`.JournalCursor`.

    ``name`` is the exporter's id, and its consumer name in the journal. Requests that fail permanently are given up and
    counted as ``send_failed``. Up to ``consumers`` requests are under way at a time.
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
        consumers: int = CONSUMERS,
        batching: Batching | None = None,
    ) -> None:
        self._cursor = JournalCursor(name, journal, telemetry, batching)
        self._sending = connection
        self._signals = tuple(signals)
        super().__init__(
            name,
            self._cursor,
            self._attempt,
            telemetry,
            stage="originals",
            retry=retry,
            timeout_s=timeout_s,
            connection=connection,
            consumers=consumers,
            divide=self._cursor.divide,
        )

    def start(self) -> None:
        """Subscribe to the journal and start to forward what is appended from now on."""
        self._cursor.open(self._signals)
        super().start()

    def _attempt(self, packet: Packet, timeout_s: float) -> Delivery:
        return self._sending.use(
            lambda sender: sender.send(packet.signal, packet.body, timeout_s, packet.gzipped, packet.via)
        )
