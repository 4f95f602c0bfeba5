"""An application with a reference at hand, and what it sends: spans, metrics, or both, as OTLP bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.decode import decode, hash_ids
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, save_reference
from collector_processor.reference.profile import Reference
from otel_ml import Config, Model

S = 10**9
T = 1_750_000_000 * S
"""Half past a full hour: windows of an hour hold everything around it."""
START = T - 3600 * S
NAME = "churn"
Row = Mapping[str, Any]


def texts(values: Sequence[str]) -> Column:
    names = tuple(dict.fromkeys(values))
    return Column(codes=np.array([names.index(value) for value in values], np.int32), categories=names)


def reference_rows(count: int = 3000, seed: int = 5) -> PredictionBatch:
    """Two numeric features, one of few values, two of texts, a class and a score."""
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 5, count)
    return PredictionBatch(
        ModelKey(NAME),
        np.full(count, T, np.int64),
        hash_ids([str(row) for row in range(count)]),
        np.ones(count),
        np.full(count, np.nan),
        features={
            "amount": Column(np.where(rng.random(count) < 0.02, np.nan, rng.normal(100, 20, count))),
            "items": Column(rng.poisson(2, count).astype(float)),
            "city": texts(rng.choice(["Bern", "Rome", "missing", "=x"], count).tolist()),
            "plan": texts(rng.choice(["1", "2", "true"], count).tolist()),
        },
        prediction=texts(np.where(score > 0.4, "yes", "no").tolist()),
        score=score,
        task="binary_classification",
    )


def saved_reference(folder: Path, batch: PredictionBatch | None = None, **more: Any) -> tuple[str, Reference]:
    """The path of a reference file, and what the service reads from it."""
    path = folder / "reference.json"
    more = {"positive_class": "yes", **more}
    save_reference(build_reference(NAME, batch or reference_rows(), **more), path)
    return str(path), load_reference(path)


class Application:
    """A model in a process; ``spans`` says whether its spans go anywhere."""

    def __init__(self, config: Config, *, spans: bool, **model: Any) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider(shutdown_on_exit=False)
        if spans:
            provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.model = Model(NAME, config=config, tracer_provider=provider, meter_provider=meters, **model)

    def predict(self, rows: Iterable[Row], outputs: Iterable[Row]) -> None:
        """One call for each row; an output named ``error`` fails."""
        for row, output in zip(rows, outputs, strict=True):
            recorded = dict(output)
            error = recorded.pop("error", None)
            try:
                with self.model.predict(row, time_ns=T) as prediction:
                    prediction.record(**recorded)
                    if error:
                        raise error
            except ZeroDivisionError:
                pass

    def traces(self) -> bytes:
        """The spans so far."""
        return encode_spans(self._exporter.get_finished_spans()).SerializeToString()

    def metrics(self, time_ns: int = T + S, start_ns: int = START + S) -> ExportMetricsServiceRequest:
        """The counts so far, as if collected at this time."""
        collected = self._reader.get_metrics_data()
        request = ExportMetricsServiceRequest() if collected is None else encode_metrics(collected)
        for point in points(request):
            point.time_unix_nano, point.start_time_unix_nano = time_ns, start_ns
        return request


def points(request: ExportMetricsServiceRequest) -> list[NumberDataPoint]:
    """The points of the counts in a request."""
    return [
        point
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.endswith(".observations")
        for point in metric.sum.data_points
    ]


class Service:
    """A pipeline that reads requests."""

    def __init__(self, reference: Reference | None, **settings: Any) -> None:
        window = {"size": "1h", "every": "1h", "min_rows": 1, "min_labels": 5}
        drift = {
            kind: [each.name for each in DRIFT_METHODS if kind in each.kinds] for kind in ("numeric", "categorical")
        }
        self.telemetry = Telemetry()
        config = MlMonitor.model_validate({"window": window, "drift": drift, **settings})
        references = {} if reference is None else {NAME: reference}
        self.pipeline = Pipeline(config, references, self.telemetry, START)

    def take(self, signal: Any, body: bytes, now_ns: int = T + 2 * S) -> Decoded:
        """Decode and count a request."""
        decoded = decode(signal, body, now_ns)
        self.pipeline.process([decoded], now_ns)
        return decoded

    def measured(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """What the first window with anything in it shows, by name and attributes."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for item in self.closed():
            found.setdefault((item.name, item.attributes), item.value)
        return found

    def closed(self) -> list[Measurement]:
        """Everything that is measured once time has passed."""
        measured = self.pipeline.tick(T + 3 * 3600 * S)
        errors = [sample for family in self.telemetry.errors.collect() for sample in family.samples if sample.value]
        assert not [sample for sample in errors if sample.name.endswith("_total")], errors
        return measured

    def problems(self) -> Mapping[str, str]:
        """What is wrong with the model, by kind."""
        [model] = self.pipeline.models.values()
        return model.problems

    def dropped(self, reason: str) -> float:
        """What was dropped for a reason."""
        sample = self.telemetry.registry.get_sample_value
        labels = [
            {"stage": stage, "reason": reason, "intentional": intentional}
            for stage in ("statistics", "decode", "window", "figures")
            for intentional in ("true", "false")
        ]
        return sum(sample("otel_ml_dropped_total", each) or 0.0 for each in labels)
