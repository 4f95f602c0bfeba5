"""Sends measurements over OTLP, gRPC or HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from collector_processor.exporters.delivery.bounded_queue import Batching
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.measurement_queue import MeasurementQueue, Part
from collector_processor.exporters.delivery.retry import CONSUMERS, QUEUE_SIZE, TIMEOUT_S, RetryPolicy, Sender
from collector_processor.exporters.otlp.encoder import MetricsEncoder, Temporality
from collector_processor.exporters.otlp.stamps import EmissionStamps, Timestamps
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry


class OtlpExporter(DeliveryLoop[Part]):
    """One OTLP destination of measurements; :class:`.MeasurementQueue` is its source.

    ``temporality`` is for counters. ``timestamps`` are for gauges: when the window was closed (``emitted``), or when it
    ended. For ``instance_id`` and ``descriptions``, see :class:`.MetricsEncoder`.
    """

    def __init__(
        self,
        name: str,
        connection: Connection[Sender],
        telemetry: Telemetry,
        *,
        instance_id: str,
        timeout_s: float = TIMEOUT_S,
        temporality: Temporality = "cumulative",
        timestamps: Timestamps = "emitted",
        retry: RetryPolicy | None = None,
        queue_size: int = QUEUE_SIZE,
        consumers: int = CONSUMERS,
        batching: Batching | None = None,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self._stamps = EmissionStamps() if timestamps == "emitted" else None
        encoder = MetricsEncoder(instance_id, temporality, descriptions or {}, telemetry)
        self._queue = MeasurementQueue(name, encoder.parts, telemetry, queue_size=queue_size, batching=batching)
        super().__init__(
            name,
            self._queue,
            lambda part, try_s: connection.use(lambda sender: sender.send("metrics", part.body, try_s)),
            telemetry,
            stage="export",
            retry=retry,
            timeout_s=timeout_s,
            connection=connection,
            consumers=consumers,
            divide=lambda part: part.divide(),
        )

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Queue measurements; drop and count those that do not fit."""
        # Stamped now, not when an unreachable destination is back.
        stamps = self._stamps
        self._queue.put(measurements if stamps is None else stamps.stamped(measurements, time.time_ns()))
