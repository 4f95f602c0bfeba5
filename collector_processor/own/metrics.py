"""The service's own metrics as data: what telemetry counts, dashboards draw, rules watch and the documentation lists.

Names are the Collector's where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from otel_ml.semconv import UNIT_SECOND

OwnKind = Literal["counter", "gauge", "histogram"]
ITEMS: Final = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
"""What the items of each signal are called in metric names."""
RECEIVED: Final = {
    "accepted": "pushed into the journal",
    "refused": "refused (backpressure or limits)",
    "failed": "that could not be read",
}
EXPORTED: Final = {
    "sent": "delivered",
    "send_failed": "given up on after all retries",
    "enqueue_failed": "dropped because the queue was full",
}
"""What may become of items at a receiver and at an exporter, as metric names say it, with its meaning."""
_BYTES: Final = "By"


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """One metric under the name that Prometheus stores; a counter's ends in ``_total``, a histogram's has no suffix."""

    name: str
    kind: OwnKind
    description: str
    labels: tuple[str, ...] = ()
    unit: str = ""


def received_name(verb: str, signal: str) -> str:
    """The counter of items of a signal that a receiver ``accepted``, ``refused`` or ``failed``."""
    return f"otelcol_receiver_{verb}_{ITEMS[signal]}_total"


def exported_name(verb: str, signal: str) -> str:
    """The counter of items of a signal that an exporter ``sent``, ``send_failed`` or ``enqueue_failed``."""
    return f"otelcol_exporter_{verb}_{ITEMS[signal]}_total"


def _by_signal() -> Iterator[OwnMetric]:
    for signal, items in ITEMS.items():
        named = items.replace("_", " ")
        for verb, what in RECEIVED.items():
            yield OwnMetric(received_name(verb, signal), "counter", f"{named} {what}", ("receiver", "transport"))
        for verb, what in EXPORTED.items():
            yield OwnMetric(exported_name(verb, signal), "counter", f"{named} {what}", ("exporter",))


_QUEUE: Final = ("exporter", "data_type")
"""``data_type`` is ``originals`` (the journal), ``measurements`` or ``alerts``: one exporter may send all of them."""
_METRICS: Final = (
    *_by_signal(),
    OwnMetric("otelcol_exporter_queue_size", "gauge", "requests waiting", _QUEUE),
    OwnMetric("otelcol_exporter_queue_capacity", "gauge", "requests that fit", _QUEUE),
    OwnMetric("otelcol_process_uptime_seconds", "gauge", "uptime", unit=UNIT_SECOND),
    OwnMetric("otelcol_process_memory_rss_bytes", "gauge", "resident memory", unit=_BYTES),
    OwnMetric("otelcol_process_cpu_seconds_total", "counter", "CPU time", unit=UNIT_SECOND),
    OwnMetric("otel_ml_dropped_total", "counter", "rows, labels or cells left out", ("stage", "reason", "intentional")),
    OwnMetric("otel_ml_evicted_total", "counter", "entries that a limit pushed out", ("store", "reason")),
    OwnMetric(
        "otel_ml_clamped_total",
        "counter",
        "values that were not believed and set to a limit, but counted",
        ("stage", "reason"),
    ),
    OwnMetric("otel_ml_rows_total", "counter", "predictions decoded", ("model",)),
    OwnMetric("otel_ml_labels_total", "counter", "labels by what became of them", ("model", "outcome")),
    OwnMetric("otel_ml_windows_closed_total", "counter", "windows closed", ("model",)),
    OwnMetric("otel_ml_errors_total", "counter", "unexpected failures that were survived", ("stage",)),
    OwnMetric(
        "otel_ml_unauthenticated_total",
        "counter",
        "requests turned away for want of a valid bearer token",
        ("transport", "reason"),
    ),
    OwnMetric("otel_ml_pending_predictions", "gauge", "predictions waiting for a label", ("model",)),
    OwnMetric("otel_ml_early_labels", "gauge", "labels waiting for their prediction", ("model",)),
    OwnMetric("otel_ml_models", "gauge", "model versions tracked"),
    OwnMetric("otel_ml_journal_entries", "gauge", "requests in the journal"),
    OwnMetric("otel_ml_journal_bytes", "gauge", "bytes in the journal", unit=_BYTES),
    OwnMetric("otel_ml_journal_lag", "gauge", "requests not yet read", ("consumer",)),
    OwnMetric(
        "otel_ml_evaluate_seconds", "histogram", "time to evaluate one window with all monitors", unit=UNIT_SECOND
    ),
    OwnMetric("otel_ml_alerts_firing", "gauge", "alerts that fire, one for each rule and model", ("rule", "severity")),
    OwnMetric(
        "otel_ml_notifications_total",
        "counter",
        "notifications of alerts: sent, failed or dropped",
        ("exporter", "outcome"),
    ),
    OwnMetric(
        "otel_ml_alert_evaluate_seconds",
        "histogram",
        "time to judge the measurements of a tick by all rules",
        unit=UNIT_SECOND,
    ),
)
OWN_METRICS: Final = {metric.name: metric for metric in sorted(_METRICS, key=lambda metric: metric.name)}
"""Every metric that the service exposes about itself, by name."""
