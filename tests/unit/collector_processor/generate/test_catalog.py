"""The catalog is what is really there: what the SDK emits, what the service exposes, what monitors list."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import Catalog, stopped
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.own.telemetry import Telemetry
from otel_ml.emit.instruments import Meters
from otel_ml.semconv import METRIC_FEATURE_OBSERVATIONS, METRIC_PREDICTION_OBSERVATIONS


def test_emitted_series_are_those_of_the_instrumentation() -> None:
    reader = InMemoryMetricReader()
    meters = Meters(MeterProvider([reader]))
    for instrument in (meters.duration, meters.rows, meters.score):
        instrument.record(0.5)
    meters.unexplained.add(1)
    found = reader.get_metrics_data()
    assert found is not None
    emitted = {
        metric.name: (metric.unit, "histogram" if isinstance(metric.data, Histogram) else "counter")
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    known = {series.metric: series for series in Catalog.of_registries().of("emitted")}
    assert emitted.keys() | {METRIC_FEATURE_OBSERVATIONS, METRIC_PREDICTION_OBSERVATIONS} == known.keys()
    for name, (unit, kind) in emitted.items():
        assert known[name].kind == kind
        assert known[name].unit in (unit, "")  # a histogram of unit 1 has no suffix


def test_own_series_are_those_that_the_service_exposes() -> None:
    telemetry = Telemetry()
    telemetry.errors.labels("decode").inc()
    known = {series.name: series for series in Catalog.of_registries().of("own")}
    exposed = {
        family.name + ("_total" if family.type == "counter" else ""): family for family in telemetry.registry.collect()
    }
    assert known.keys() == exposed.keys()
    for name, family in exposed.items():
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            assert sample.name in known[name].names
            assert set(sample.labels) - {"le"} <= set(known[name].labels)


def test_derived_series_are_those_that_monitors_list() -> None:
    catalog = Catalog.of_registries()
    for monitor in MONITOR_TYPES:
        for metric in monitor.metrics:
            series = catalog[metric.name]
            assert set(series.labels) >= {label_name(key) for key in metric.attributes}
            assert series.names == (series.name,)


def test_what_has_stopped_is_asked_of_the_counter() -> None:
    expression = stopped("c", ("model",), "15m", "1d")
    assert expression.count(" unless ") == 3
    assert "offset 15m" in expression
