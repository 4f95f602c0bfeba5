"""The service's own metrics as a table, which telemetry, dashboards, alert rules and documentation read.

If the Collector has the same metric, the name is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from otel_ml.semconv import UNIT_SECOND

OwnKind = Literal["counter", "gauge", "histogram"]
ITEMS: Final = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
"""The name of the items of each signal in metric names."""
RECEIVED: Final = {
    "accepted": "accepted into the journal",
    "refused": "refused because of a limit, missing room or an invalid token",
    "failed": "that could not be decoded",
}
EXPORTED: Final = {
    "sent": "delivered",
    "send_failed": "given up on after all retries",
    "enqueue_failed": "dropped because the queue was full",
}
"""The outcomes of items at an exporter in metric names, with their meaning."""
_BYTES: Final = "By"
NEWEST: Final = "otel_ml_newest_window_timestamp_seconds"
"""The time up to which each model has figures."""


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """One metric, with its name in Prometheus: a counter's ends in ``_total``, a histogram's has no suffix."""

    name: str
    kind: OwnKind
    description: str
    labels: tuple[str, ...] = ()
    unit: str = ""


def received_name(verb: str, signal: str) -> str:
    """Return the counter of items of a signal that a receiver ``accepted``, ``refused`` or ``failed``."""
    return f"otelcol_receiver_{verb}_{ITEMS[signal]}_total"


def exported_name(verb: str, signal: str) -> str:
    """Return the counter of items of a signal that an exporter ``sent``, ``send_failed`` or ``enqueue_failed``."""
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
    OwnMetric("otelcol_exporter_queue_size", "gauge", "requests in the queue", _QUEUE),
    OwnMetric("otelcol_exporter_queue_capacity", "gauge", "maximum number of requests in the queue", _QUEUE),
    OwnMetric("otelcol_process_uptime_seconds", "gauge", "uptime", unit=UNIT_SECOND),
    OwnMetric("otelcol_process_memory_rss_bytes", "gauge", "resident memory", unit=_BYTES),
    OwnMetric("otelcol_process_cpu_seconds_total", "counter", "CPU time", unit=UNIT_SECOND),
    OwnMetric("otel_ml_dropped_total", "counter", "rows, labels or cells left out", ("stage", "reason", "intentional")),
    OwnMetric(
        "otel_ml_unread_total",
        "counter",
        "spans, log records or points of a signal that no pipeline reads; nothing is lost by it",
        ("signal",),
    ),
    OwnMetric(
        "otel_ml_evicted_total", "counter", "entries evicted by a limit or because they expired", ("store", "reason")
    ),
    OwnMetric(
        "otel_ml_clamped_total",
        "counter",
        "implausible values that were set to a limit and still counted",
        ("stage", "reason"),
    ),
    OwnMetric("otel_ml_rows_total", "counter", "predictions decoded", ("model",)),
    OwnMetric("otel_ml_labels_total", "counter", "labels by outcome", ("model", "outcome")),
    OwnMetric(
        "otel_ml_misfits_total",
        "counter",
        "batches and windows that contradict the reference of their model",
        ("kind",),
    ),
    OwnMetric(
        "otel_ml_unmatched_labels_total",
        "counter",
        "labels of classes that no prediction and no reference had",
        ("model",),
    ),
    OwnMetric(
        NEWEST,
        "gauge",
        "end of the newest closed window with rows, as Unix time: how old a model's last figures are",
        ("model",),
        unit=UNIT_SECOND,
    ),
    OwnMetric(
        "otel_ml_learning_ratio",
        "gauge",
        "how far the learning of a model's reference is, from 0 to 1, by rows or by time",
        ("model",),
    ),
    OwnMetric("otel_ml_windows_closed_total", "counter", "windows closed", ("model",)),
    OwnMetric("otel_ml_errors_total", "counter", "unexpected errors that the service survived", ("stage",)),
    OwnMetric("otel_ml_reloads_total", "counter", "reloads of the configuration: `applied` or `refused`", ("result",)),
    OwnMetric(
        "otel_ml_unauthenticated_total",
        "counter",
        "requests refused because they have no valid bearer token",
        ("transport", "reason"),
    ),
    OwnMetric(
        "otel_ml_connections_closed_total",
        "counter",
        "connections of a listener that were closed before their time",
        ("listener", "reason"),
    ),
    OwnMetric(
        "otel_ml_log_messages_dropped_total",
        "counter",
        "log messages that were dropped because standard error was not read",
    ),
    OwnMetric("otel_ml_pending_predictions", "gauge", "predictions waiting for a label", ("model",)),
    OwnMetric("otel_ml_early_labels", "gauge", "labels waiting for their prediction", ("model",)),
    OwnMetric("otel_ml_models", "gauge", "model versions tracked"),
    OwnMetric("otel_ml_journal_entries", "gauge", "requests in the journal"),
    OwnMetric("otel_ml_journal_bytes", "gauge", "bytes in the journal", unit=_BYTES),
    OwnMetric("otel_ml_journal_lag", "gauge", "requests that a consumer has not read yet", ("consumer",)),
    OwnMetric(
        "otel_ml_evaluate_seconds", "histogram", "time to evaluate one window with all monitors", unit=UNIT_SECOND
    ),
    OwnMetric(
        "otel_ml_alerts_total",
        "counter",
        'alerts that began (`state="firing"`) or ended (`state="resolved"`), even if both between two scrapes',
        ("rule", "severity", "state"),
    ),
    OwnMetric("otel_ml_alerts_firing", "gauge", "firing alerts, one for each rule and model", ("rule", "severity")),
    OwnMetric(
        "otel_ml_notifications_total",
        "counter",
        "alert notifications that were sent, failed or dropped",
        ("exporter", "outcome"),
    ),
    OwnMetric(
        "otel_ml_alert_evaluate_seconds",
        "histogram",
        "time to evaluate all alert rules for the measurements of one tick",
        unit=UNIT_SECOND,
    ),
)
OWN_METRICS: Final = {metric.name: metric for metric in sorted(_METRICS, key=lambda metric: metric.name)}
"""Every metric that the service exposes about itself, by name."""
