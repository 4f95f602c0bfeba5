"""Counts in place of rows: what a request of them takes, on the wire and to read, beside its rows."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.measure import Row, ratio, together
from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.decode import decode
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, save_reference
from otel_ml import Config, Model
from otel_ml.semconv import METRIC_FEATURE_OBSERVATIONS, METRIC_PREDICTION_OBSERVATIONS

FEATURES = (50, 500)
CALLS = 600
"""Predictions of one export interval: ten a second."""
_ROUNDS = 7
_START_NS = 1_750_000_000 * 10**9


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """One line for each number of features."""
    for features in FEATURES:
        progress(f"counts: {features} features")
        yield _row(features)


def _row(features: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "reference.json")
        save_reference(build_reference("wide", _reference_rows(features)), path)
        reference = load_reference(path)
        counts, spans, points = _requests(features, path)
    foreign = counts.replace(METRIC_FEATURE_OBSERVATIONS.encode(), b"x" * len(METRIC_FEATURE_OBSERVATIONS))
    foreign = foreign.replace(METRIC_PREDICTION_OBSERVATIONS.encode(), b"x" * len(METRIC_PREDICTION_OBSERVATIONS))

    def taken(signal: str, body: bytes) -> Decoded:
        pipeline = Pipeline(MlMonitor(), {"wide": reference}, Telemetry(), 0)
        decoded = decode("metrics" if signal == "metrics" else "traces", body, _START_NS)
        pipeline.process([decoded], _START_NS)
        return decoded

    assert taken("metrics", counts).rejected == 0
    counted, forwarded, as_rows = together(
        [
            lambda: taken("metrics", counts),
            lambda: decode("metrics", foreign, _START_NS),
            lambda: taken("traces", spans),
        ],
        _ROUNDS,
    )
    return Row(
        f"a request of counts of {features} features, {CALLS} predictions: decoded and counted",
        f"{min(counted) * 1e3:.0f} ms for {points:,} points, {ratio(counted, as_rows):.2f} × the rows; "
        f"{len(counts) / 1e3:.0f} kB, gzip {len(gzip.compress(counts)) / 1e3:.0f} kB",
        baseline=f"the rows as spans: {min(as_rows) * 1e3:.0f} ms, {len(spans) / 1e3:.0f} kB; "
        f"the request only forwarded: {min(forwarded) * 1e3:.0f} ms",
    )


def _reference_rows(features: int) -> PredictionBatch:
    rng = np.random.default_rng(1)
    count = 2000
    columns = {f"feature_{number}": Column(rng.normal(size=count)) for number in range(features)}
    ids = rng.integers(0, 2**63, (count, 2), np.uint64)
    return PredictionBatch(
        ModelKey("wide"), np.zeros(count, np.int64), ids, np.ones(count), np.full(count, np.nan), columns
    )


def _requests(features: int, path: str) -> tuple[bytes, bytes, int]:
    """The counts and the spans of the same predictions, and the number of points."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    rng = np.random.default_rng(2)
    table = rng.normal(0.3, 1.2, (CALLS, features))
    names = [f"feature_{number}" for number in range(features)]
    quiet = TracerProvider(shutdown_on_exit=False)
    counted = Model(
        "wide",
        tracer_provider=quiet,
        meter_provider=meters,
        config=Config(capture_features=False, reference=path),
    )
    sent = Model("wide", tracer_provider=provider, meter_provider=MeterProvider(shutdown_on_exit=False))
    for row in table.tolist():
        for model in (counted, sent):
            with model.predict(dict(zip(names, row, strict=True))):
                pass
    collected = reader.get_metrics_data()
    assert collected is not None
    request = encode_metrics(collected)
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            kept = [metric for metric in scope.metrics if metric.name.endswith(".observations")]
            del scope.metrics[:]
            scope.metrics.extend(kept)
    points = sum(
        len(metric.sum.data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
    return request.SerializeToString(), encode_spans(exporter.get_finished_spans()).SerializeToString(), points
