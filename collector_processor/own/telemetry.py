"""The service's own metrics (:data:`.OWN_METRICS`) in a separate registry.

They count everything that is refused, dropped, evicted or late.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector_processor.own.drops import DROPS, Drop
from collector_processor.own.logs import dropped_messages
from collector_processor.own.memory import resident_bytes
from collector_processor.own.metrics import EXPORTED, ITEMS, NEWEST, OWN_METRICS, RECEIVED, exported_name, received_name

Transport = Literal["grpc", "http"]
Signal = Literal["traces", "logs", "metrics"]


class Telemetry:
    """All of the own metrics of one service; every method is safe to call from any thread.

    >>> telemetry = Telemetry()
    >>> telemetry.dropped(("window", "late"), 3)
    >>> telemetry.registry.get_sample_value(
    ...     "otel_ml_dropped_total", {"stage": "window", "reason": "late", "intentional": "true"})
    3.0
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue_size = self._gauge("otelcol_exporter_queue_size")
        self.queue_capacity = self._gauge("otelcol_exporter_queue_capacity")
        self.rows = self._counter("otel_ml_rows_total")
        self.unread = self._counter("otel_ml_unread_total")
        self.labels = self._counter("otel_ml_labels_total")
        self.unmatched_labels = self._counter("otel_ml_unmatched_labels_total")
        self.newest_window = self._gauge(NEWEST)
        self.learning = self._gauge("otel_ml_learning_ratio")
        self.windows = self._counter("otel_ml_windows_closed_total")
        self.errors = self._counter("otel_ml_errors_total")
        self.reloads = self._counter("otel_ml_reloads_total")
        self.unauthenticated = self._counter("otel_ml_unauthenticated_total")
        self.connections_closed = self._counter("otel_ml_connections_closed_total")
        self.pending = self._gauge("otel_ml_pending_predictions")
        self.early_labels = self._gauge("otel_ml_early_labels")
        self.models = self._gauge("otel_ml_models")
        self.journal_entries = self._gauge("otel_ml_journal_entries")
        self.journal_bytes = self._gauge("otel_ml_journal_bytes")
        self.journal_lag = self._gauge("otel_ml_journal_lag")
        self.evaluate_seconds = self._histogram("otel_ml_evaluate_seconds")
        self.alerts = self._counter("otel_ml_alerts_total")
        self.alerts_firing = self._gauge("otel_ml_alerts_firing")
        self.notifications = self._counter("otel_ml_notifications_total")
        self.alert_seconds = self._histogram("otel_ml_alert_evaluate_seconds")
        self.misfits = self._counter("otel_ml_misfits_total")
        self._dropped = self._counter("otel_ml_dropped_total")
        self._evicted = self._counter("otel_ml_evicted_total")
        self._clamped = self._counter("otel_ml_clamped_total")
        self._received = {
            (verb, signal): self._counter(received_name(verb, signal)) for verb in RECEIVED for signal in ITEMS
        }
        self._exported = {
            (verb, signal): self._counter(exported_name(verb, signal)) for verb in EXPORTED for signal in ITEMS
        }
        self.registry.register(_Process())

    def _counter(self, name: str) -> Counter:
        return Counter(name, OWN_METRICS[name].description, OWN_METRICS[name].labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, OWN_METRICS[name].description, OWN_METRICS[name].labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(name, OWN_METRICS[name].description, OWN_METRICS[name].labels, registry=self.registry)

    def received(self, verb: str, signal: str, receiver: str, transport: str, items: int) -> None:
        """Count items that a receiver of this type ``accepted``, ``refused`` or ``failed``."""
        self._received[verb, signal].labels(receiver, transport).inc(items)

    def exported(self, verb: str, signal: str, exporter: str, items: int) -> None:
        """Count items that an exporter ``sent``, ``send_failed`` or ``enqueue_failed``."""
        self._exported[verb, signal].labels(exporter).inc(items)

    def dropped(self, drop: Drop, count: float) -> None:
        """Count items that a stage dropped, by reason; :data:`.DROPS` says whether that is intentional."""
        intentional = DROPS[drop].intentional
        if count:
            self._dropped.labels(*drop, str(intentional).lower()).inc(count)

    def clamped(self, stage: str, reason: str, count: float) -> None:
        """Count values that a stage set to a limit instead of dropping their rows."""
        if count:
            self._clamped.labels(stage, reason).inc(count)

    def evicted(self, store: str, reason: str, count: float) -> None:
        """Count entries that a bounded store evicted."""
        if count:
            self._evicted.labels(store, reason).inc(count)


class _Process(Collector):
    """The metrics of the process, as the Collector has them."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def collect(self) -> Iterable[Metric]:
        yield _family("otel_ml_log_messages_dropped_total", CounterMetricFamily, dropped_messages())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield _family("otelcol_process_uptime_seconds", GaugeMetricFamily, time.monotonic() - self._started)
        resident = resident_bytes() or usage.ru_maxrss * 1024  # the peak, where there is no /proc
        yield _family("otelcol_process_memory_rss_bytes", GaugeMetricFamily, resident)
        yield _family("otelcol_process_cpu_seconds_total", CounterMetricFamily, usage.ru_utime + usage.ru_stime)


def _family(name: str, kind: Callable[[str, str, float], Metric], value: float) -> Metric:
    return kind(name, OWN_METRICS[name].description, value)
