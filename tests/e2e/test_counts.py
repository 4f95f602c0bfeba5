"""Features stay in the application: its counts give the figures of rows, and its process is beside its model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from stack import Service, Stack
from traffic import build_reference, make_rows

from collector_processor.generate.dashboards import boards
from otel_ml import Config, Model
from support.waiting import wait_until

ROWS = 1000
METHODS = ("psi", "js", "l_infinity", "cohen_h")


def providers(service: Service, protocol: str, *, spans: bool) -> tuple[TracerProvider, MeterProvider]:
    """An SDK that exports over one protocol, with the resource of one process."""
    resource = Resource.create({"service.name": "shop"})
    traces = TracerProvider(resource=resource)
    at = f"http://localhost:{service.http}/v1"
    if spans:
        exporter = (
            GrpcSpans(f"localhost:{service.grpc}", insecure=True)
            if protocol == "grpc"
            else HttpSpans(endpoint=f"{at}/traces")
        )
        traces.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50_000, schedule_delay_millis=100))
    metrics = (
        GrpcMetrics(f"localhost:{service.grpc}", insecure=True)
        if protocol == "grpc"
        else HttpMetrics(endpoint=f"{at}/metrics")
    )
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=300)
    return traces, MeterProvider([reader], resource)


def send(model: Model, meters: MeterProvider | None = None) -> None:
    """Send the rows; their counts in two parts, because what a counter begins with is not a rise."""
    rows = make_rows(ROWS, seed=7, shift=0.4)
    cells = zip(rows.amount, rows.country, rows.score, rows.predicted, strict=True)
    for number, (amount, country, score, predicted) in enumerate(cells):
        if meters is not None and number == ROWS // 2:
            meters.force_flush()
        with model.predict({"amount": amount, "country": country}) as prediction:
            prediction.record(score=score, class_=predicted)


def drift(service: Service, version: str) -> dict[tuple[str, ...], float]:
    return {
        (labels["ml_column_role"], labels.get("ml_feature_name", ""), labels["ml_drift_method"]): value
        for name, labels, value in service.samples()
        if name == "ml_drift_score" and labels["ml_model_version"] == version
    }


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_counts_give_the_figures_of_rows_and_the_process_is_beside_its_model(
    stack: Stack, tmp_path: Path, protocol: str
) -> None:
    profile = build_reference(make_rows(2_000, seed=1), tmp_path / "fraud.json")
    prometheus = stack.prometheus()
    service = stack.service(
        {
            "connectors": {
                "ml_monitor": {
                    "window": {"size": "1h", "every": "1s", "allowed_lateness": "1s"},
                    "models": {"fraud": {"reference": str(profile)}},
                }
            },
            "exporters": {"otlp_http": {"endpoint": f"{prometheus.url}/api/v1/otlp"}},
            "service": {"pipelines": {"metrics/in": {"receivers": ["otlp"], "exporters": ["ml_monitor", "otlp_http"]}}},
        }
    )
    rows, _ = providers(service, protocol, spans=True)
    with_rows = Model("fraud", version="rows", tracer_provider=rows)
    quiet, meters = providers(service, protocol, spans=False)
    counts = Model(
        "fraud", version="counts", tracer_provider=quiet, meter_provider=meters,
        config=Config(capture_features=False, reference=str(profile)),
    )  # fmt: skip
    system = SystemMetricsInstrumentor(
        config={
            "process.cpu.time": ["user", "system"],
            "process.memory.usage": None,
            "system.cpu.time": ["idle", "user", "system"],
            "system.memory.usage": ["used", "free"],
        }
    )
    system.instrument(meter_provider=meters)
    try:
        send(with_rows)
        send(counts, meters)
        rows.force_flush()
        meters.force_flush()

        def whole() -> bool:
            counted = [service.value("ml_window_rows", ml_model_version=each) for each in ("rows", "counts")]
            return counted == [ROWS, ROWS]

        wait_until(whole)
        wait_until(lambda: len(drift(service, "counts")) >= 12)
        found, expected = drift(service, "counts"), drift(service, "rows")
        assert {method for *_, method in found} == set(METHODS)
        assert found == {key: pytest.approx(value) for key, value in expected.items() if key[2] in METHODS}
        assert service.counted("otel_ml_rows_total") == 2 * ROWS

        # What the board asks for, of a process that is found by its job and instance.
        [row] = [row for row in boards()[1].rows if row.title == "Process and machine"]
        values = {"model": "fraud", "version": ".*", "__rate_interval": "60s"}
        expressions = [
            re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), query.expr)
            for panel in row.panels
            if "GPU" not in panel.title
            for query in panel.queries
        ]
        ask: Callable[[str], list[Any]] = prometheus.query
        wait_until(
            lambda: all(map(ask, expressions)), explain=lambda: str([each for each in expressions if not ask(each)])
        )
        [(labels, _)] = ask("max by (job, instance) (process_memory_usage_bytes)")
        assert labels["job"] == "shop"
        assert labels["instance"]
        for name in ("ml_prediction_duration_seconds_count", "ml_feature_observations_total"):
            assert ask(f'{name}{{job="shop",instance="{labels["instance"]}"}}')
    finally:
        system.uninstrument()
        rows.shutdown()
        quiet.shutdown()
        meters.shutdown()
