"""Every metric under its name in Prometheus, read from the registries; dashboards and alert rules are built from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from collector_processor.exporters.naming import label_name, prometheus_name
from collector_processor.monitors import MONITOR_TYPES, monitor_metrics
from collector_processor.monitors.base import Metric
from collector_processor.monitors.predictions import PREDICTIONS
from collector_processor.own.metrics import OWN_METRICS
from collector_processor.pipeline.settings import MlMonitor
from otel_ml import semconv

SeriesKind = Literal["gauge", "counter", "histogram"]
Origin = Literal["derived", "own", "emitted", "beside"]
MODEL: Final = label_name(semconv.MODEL_NAME)
VERSION: Final = label_name(semconv.MODEL_VERSION)
SEGMENT: Final = label_name(semconv.SEGMENT_NAME)
SEGMENT_VALUE: Final = label_name(semconv.SEGMENT_VALUE)
METHOD: Final = label_name(semconv.DRIFT_METHOD)
ROLE: Final = label_name(semconv.COLUMN_ROLE)
FEATURE: Final = label_name(semconv.FEATURE_NAME)
SOURCE: Final = label_name(semconv.PERFORMANCE_SOURCE)
_HISTOGRAM_SUFFIXES: Final = ("_bucket", "_count", "_sum")
_BESIDE: Final[tuple[tuple[str, str, SeriesKind, str, tuple[str, ...], str], ...]] = (
    ("process_cpu_time_seconds_total", "process.cpu.time", "counter", "s", (), "processor time of the process"),
    ("process_memory_usage_bytes", "process.memory.usage", "gauge", "By", (), "memory of the process"),
    ("system_cpu_time_seconds_total", "system.cpu.time", "counter", "s", ("state",), "processor time of the machine"),
    ("system_memory_usage_bytes", "system.memory.usage", "gauge", "By", ("state",), "memory of the machine"),
    ("hw_gpu_utilization_ratio", "hw.gpu.utilization", "gauge", "1", ("hw_id",), "use of a GPU"),
    ("hw_gpu_utilization", "hw.gpu.utilization/plain", "gauge", "1", ("hw_id",), "use of a GPU"),
    ("hw_gpu_memory_usage_bytes", "hw.gpu.memory.usage", "gauge", "By", ("hw_id",), "memory of a GPU"),
    ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL", "gauge", "%", ("Hostname", "gpu"), "use of a GPU"),
    ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_USED", "gauge", "MiBy", ("Hostname", "gpu"), "memory of a GPU"),
    ("target_info", "target_info", "gauge", "", ("host_name", "k8s_node_name"), "attributes of the resource"),
)
"""Name in Prometheus, name, kind, unit, labels beside job and instance, and meaning, of what others measure."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: ``name`` in Prometheus (a histogram's without suffix), ``metric`` in OTLP, labels and meaning.

    ``origin`` is ``derived`` (by a monitor), ``own`` (the service about itself), ``emitted`` (by the application) or
    ``beside`` (by other instrumentation of the same process or machine).
    ``held`` is how long a value holds until the next one arrives, if that can take longer than Prometheus looks back.
    """

    name: str
    metric: str
    kind: SeriesKind
    unit: str
    labels: tuple[str, ...]
    description: str
    origin: Origin
    held: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which samples are stored."""
        if self.kind == "histogram":
            return tuple(self.name + suffix for suffix in _HISTOGRAM_SUFFIXES)
        return (self.name,)

    def now(self, matchers: str = "") -> str:
        """Return PromQL for the newest values of the series that the matchers select.

        >>> catalog = Catalog.of_registries(held="780s")
        >>> catalog["ml.drift.share"].now('a="b"'), catalog["otel_ml_models"].now()
        ('last_over_time(ml_drift_share_ratio{a="b"}[780s])', 'otel_ml_models')
        """
        chosen = f"{self.name}{{{matchers}}}" if matchers else self.name
        return f"last_over_time({chosen}[{self.held}])" if self.held else chosen


class Catalog:
    """All series by OTLP name, in the order of the registries; ``KeyError`` for a series that does not exist.

    >>> catalog = Catalog.of_registries()
    >>> catalog["ml.drift.share"].name, catalog["otel_ml_errors_total"].labels
    ('ml_drift_share_ratio', ('stage',))
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self._series: dict[str, Series] = {}
        for item in series:
            known = self._series.get(item.metric)
            # Two monitors may produce the same metric, such as realized and estimated performance.
            extra = () if known is None else tuple(label for label in item.labels if label not in known.labels)
            self._series[item.metric] = item if known is None else replace(known, labels=known.labels + extra)

    @classmethod
    def of_registries(cls, metrics: Sequence[Metric] | None = None, *, held: str = "") -> Catalog:
        """Return the series of the monitors (or of ``metrics`` instead), the service and the instrumentation.

        ``held`` is how long gauges of windows hold: windows can be further apart than the five minutes that Prometheus
        looks back. It is empty if five minutes are enough.
        """
        return cls([*derived_series(metrics), *own_series(), *emitted_series(), *beside_series()]).holding(held)

    def holding(self, held: str) -> Catalog:
        """Return the same series, with gauges of windows that hold for a time."""
        gauges = {item.metric for item in self.of("derived") if item.kind == "gauge"}
        return Catalog(replace(item, held=held) if item.metric in gauges else item for item in self)

    def given_by(self, monitor: MlMonitor) -> Catalog:
        """Return the same series without those of monitors that are off for every model."""
        registered = {metric.name for metric in monitor_metrics()}
        off = registered - monitor.metrics()
        return Catalog(item for item in self if item.metric not in off)

    def __getitem__(self, metric: str) -> Series:
        """Return the series of a metric by its OTLP name."""
        return self._series[metric]

    def __iter__(self) -> Iterator[Series]:
        """Return an iterator over all series."""
        return iter(self._series.values())

    def __contains__(self, metric: object) -> bool:
        """Return whether a metric of this OTLP name exists."""
        return metric in self._series

    def of(self, origin: Origin) -> tuple[Series, ...]:
        """Return the series of one origin."""
        return tuple(item for item in self if item.origin == origin)


def registered_metrics() -> tuple[Metric, ...]:
    """Return every metric that a registered monitor can produce, and the counter of predictions."""
    return (*(metric for monitor in MONITOR_TYPES for metric in monitor.metrics), PREDICTIONS)


def derived_series(metrics: Sequence[Metric] | None = None) -> Iterator[Series]:
    """Yield the series of the monitors' metrics."""
    for metric in registered_metrics() if metrics is None else metrics:
        yield Series(
            prometheus_name(metric.name, metric.unit, metric.kind),
            metric.name,
            metric.kind,
            metric.unit,
            tuple(label_name(key) for key in metric.attributes),
            metric.description,
            "derived",
        )


def own_series() -> Iterator[Series]:
    """Yield the series that the service exposes about itself, sorted by name; OTLP has the same names."""
    for item in OWN_METRICS.values():
        yield Series(item.name, item.name, item.kind, item.unit, item.labels, item.description, "own")


def emitted_series() -> Iterator[Series]:
    """Yield the series that the instrumentation emits inside the application (section 3 of the contract)."""
    model = (MODEL, VERSION)
    error, class_ = label_name(semconv.ERROR_TYPE), label_name(semconv.PREDICTION_CLASS)
    for metric, unit, labels, text in (
        (semconv.METRIC_PREDICTION_DURATION, semconv.UNIT_SECOND, (*model, error), "duration of prediction calls"),
        (semconv.METRIC_PREDICTION_ROWS, semconv.UNIT_ROW, model, "rows of prediction calls"),
        (semconv.METRIC_PREDICTION_SCORE, "", (*model, class_), "prediction scores; a batch is sampled evenly"),
    ):
        yield Series(prometheus_name(metric, unit, "gauge"), metric, "histogram", unit, labels, text, "emitted")
    for metric, labels, text in (
        (
            semconv.METRIC_FEATURE_OBSERVATIONS,
            (*model, FEATURE, label_name(semconv.FEATURE_BUCKET)),
            "feature values by bucket of the reference profile",
        ),
        (
            semconv.METRIC_PREDICTION_OBSERVATIONS,
            (*model, ROLE, label_name(semconv.PREDICTION_BUCKET), error),
            "predictions, and their outputs by bucket of the reference profile",
        ),
    ):
        name = prometheus_name(metric, semconv.UNIT_OBSERVATION, "counter")
        yield Series(name, metric, "counter", semconv.UNIT_OBSERVATION, labels, text, "emitted")
    yield Series(
        prometheus_name(semconv.METRIC_ATTRIBUTIONS_DROPPED, semconv.UNIT_PREDICTION, "counter"),
        semconv.METRIC_ATTRIBUTIONS_DROPPED,
        "counter",
        semconv.UNIT_PREDICTION,
        (*model, error),
        "predictions of the sample that is explained that were sent without attributions",
        "emitted",
    )


def beside_series() -> Iterator[Series]:
    """Yield the series of the process and the machine that a model runs on, by the names that others give them.

    Process and system: ``opentelemetry-instrumentation-system-metrics``, or the host metrics of a Collector. GPUs: the
    semantic conventions (with and without the suffix of a ratio), and NVIDIA's DCGM exporter.
    """
    for name, metric, kind, unit, labels, text in _BESIDE:
        yield Series(name, metric, kind, unit, ("job", "instance", *labels), text, "beside")


def stopped(counter: str, labels: Sequence[str], time: str, seen: str) -> str:
    """Return PromQL for counters that were present within ``seen`` but did not grow or appear within ``time``.

    It uses the counter, not the presence of a gauge: a scrape shows the last window of a model for minutes, and with
    windows of rows for days.

    >>> stopped("c", ["job"], "15m", "1d").partition(" unless ")[0]
    'group by (job) (last_over_time(c[1d]))'
    """
    by = f"group by ({', '.join(labels)})"
    born = f"{counter} unless {counter} offset {time}"
    return (
        f"{by} (last_over_time({counter}[{seen}])) unless {by} (increase({counter}[{time}]) > 0) unless {by} ({born})"
    )
