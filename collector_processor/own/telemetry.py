"""The service's own metrics, under the Collector's names where it has one, in a registry of their own.

Everything that is refused, dropped, evicted or late is counted here: ``intentional`` says whether a policy or limit
asked for it (a full disk did not), ``reason`` is a closed set per ``stage``.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector_processor.own.drops import DROPS, Drop
from collector_processor.own.memory import resident_bytes

ITEMS: Final = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
"""What the items of each signal are called in metric names."""
Transport = Literal["grpc", "http"]


_QUEUE: Final = ["exporter", "data_type"]
"""``data_type`` is ``originals`` (the journal), ``measurements`` or ``alerts``: one exporter may send all of them."""


class Telemetry:
    """All own metrics of one service; every method is safe to call from any thread.

    >>> telemetry = Telemetry()
    >>> telemetry.dropped(("window", "late"), 3)
    >>> telemetry.registry.get_sample_value(
    ...     "otel_ml_dropped_total", {"stage": "window", "reason": "late", "intentional": "true"})
    3.0
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._by_signal: dict[str, Counter] = {}
        for signal, items in ITEMS.items():
            named = items.replace("_", " ")
            for verb, what in (
                ("accepted", "pushed into the journal"),
                ("refused", "refused (backpressure or limits)"),
                ("failed", "that could not be read"),
            ):
                self._by_signal[f"receiver_{verb}_{signal}"] = Counter(
                    f"otelcol_receiver_{verb}_{items}", f"{named} {what}", ["receiver", "transport"],
                    registry=self.registry,
                )  # fmt: skip
            for verb, what in (
                ("sent", "delivered"),
                ("send_failed", "given up on after all retries"),
                ("enqueue_failed", "dropped because the queue was full"),
            ):
                self._by_signal[f"exporter_{verb}_{signal}"] = Counter(
                    f"otelcol_exporter_{verb}_{items}",
                    f"{named} {what}",
                    ["exporter"],
                    registry=self.registry,
                )
        self.queue_size = self._gauge("otelcol_exporter_queue_size", "requests waiting", _QUEUE)
        self.queue_capacity = self._gauge("otelcol_exporter_queue_capacity", "requests that fit", _QUEUE)
        self._dropped = self._counter(
            "otel_ml_dropped", "rows, labels or cells left out", ["stage", "reason", "intentional"]
        )
        self._evicted = self._counter("otel_ml_evicted", "entries that a limit pushed out", ["store", "reason"])
        self._clamped = self._counter(
            "otel_ml_clamped", "values that were not believed and set to a limit, but counted", ["stage", "reason"]
        )
        self.rows = self._counter("otel_ml_rows", "predictions decoded", ["model"])
        self.labels = self._counter("otel_ml_labels", "labels by what became of them", ["model", "outcome"])
        self.windows = self._counter("otel_ml_windows_closed", "windows closed", ["model"])
        self.errors = self._counter("otel_ml_errors", "unexpected failures that were survived", ["stage"])
        self.unauthenticated = self._counter(
            "otel_ml_unauthenticated", "requests turned away for want of a valid bearer token", ["transport", "reason"]
        )
        self.pending = self._gauge("otel_ml_pending_predictions", "predictions waiting for a label", ["model"])
        self.early_labels = self._gauge("otel_ml_early_labels", "labels waiting for their prediction", ["model"])
        self.models = self._gauge("otel_ml_models", "model versions tracked", [])
        self.journal_entries = self._gauge("otel_ml_journal_entries", "requests in the journal", [])
        self.journal_bytes = self._gauge("otel_ml_journal_bytes", "bytes in the journal", [])
        self.journal_lag = self._gauge("otel_ml_journal_lag", "requests not yet read", ["consumer"])
        self.evaluate_seconds = Histogram(
            "otel_ml_evaluate_seconds", "time to evaluate one window with all monitors", registry=self.registry
        )
        self.alerts_firing = self._gauge(
            "otel_ml_alerts_firing", "alerts that fire, one for each rule and model", ["rule", "severity"]
        )
        self.notifications = self._counter(
            "otel_ml_notifications", "notifications of alerts: sent, failed or dropped", ["exporter", "outcome"]
        )
        self.alert_seconds = Histogram(
            "otel_ml_alert_evaluate_seconds", "time to judge the measurements of a tick by all rules",
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_Process())

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def received(self, verb: str, signal: str, transport: str, items: int) -> None:
        """Counts items that a receiver ``accepted``, ``refused`` or ``failed``."""
        self._by_signal[f"receiver_{verb}_{signal}"].labels("otlp", transport).inc(items)

    def exported(self, verb: str, signal: str, exporter: str, items: int) -> None:
        """Counts items that an exporter ``sent``, ``send_failed`` or ``enqueue_failed``."""
        self._by_signal[f"exporter_{verb}_{signal}"].labels(exporter).inc(items)

    def dropped(self, drop: Drop, count: float) -> None:
        """Counts what a stage left out, and why; whether it was intended is in :data:`.DROPS`."""
        intentional = DROPS[drop].intentional
        if count:
            self._dropped.labels(*drop, str(intentional).lower()).inc(count)

    def clamped(self, stage: str, reason: str, count: float) -> None:
        """Counts values that a stage set to a limit instead of dropping their rows."""
        if count:
            self._clamped.labels(stage, reason).inc(count)

    def evicted(self, store: str, reason: str, count: float) -> None:
        """Counts entries that a bounded store pushed out."""
        if count:
            self._evicted.labels(store, reason).inc(count)


class _Process(Collector):
    """The Collector's own process metrics."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def collect(self) -> Iterable[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield GaugeMetricFamily("otelcol_process_uptime_seconds", "uptime", time.monotonic() - self._started)
        resident = resident_bytes() or usage.ru_maxrss * 1024  # the peak, where there is no /proc
        yield GaugeMetricFamily("otelcol_process_memory_rss_bytes", "resident memory", resident)
        yield CounterMetricFamily("otelcol_process_cpu_seconds", "CPU time", usage.ru_utime + usage.ru_stime)
