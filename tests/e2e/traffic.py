"""Traffic whose figures are known: rows by seed, sent through the real SDK and exporter."""

from __future__ import annotations

import contextlib
import csv
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from scipy import stats
from scipy.spatial.distance import jensenshannon

from collector_processor.cli import main as cli
from collector_processor.statistics.bins import fine_edges
from otel_ml import Model

COUNTRIES = ("DE", "FR", "IT")
SERVICE_NAME = "shop"


@dataclass(frozen=True)
class Rows:
    """Rows of a binary model: two features, its score, its class, and the truth."""

    amount: np.ndarray
    country: np.ndarray
    score: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.amount)

    def __getitem__(self, part: slice) -> Rows:
        return Rows(
            self.amount[part], self.country[part], self.score[part], self.predicted[part], self.truth[part]
        )  # fmt: skip


def make_rows(count: int, seed: int, shift: float = 0.0) -> Rows:
    """Rows by seed; ``shift`` moves the amounts and the countries."""
    random = np.random.default_rng(seed)
    amount = np.round(random.lognormal(3.0 + shift, 1.0, count), 4)
    share = np.array([0.5, 0.3, 0.2]) + shift * np.array([-0.2, 0.1, 0.1])
    country = np.array(COUNTRIES)[random.choice(3, count, p=share)]
    score = np.clip(np.round(random.beta(2.0 + shift, 5.0, count), 6), 0.0, 1.0)
    truth = np.where(random.random(count) < score, "fraud", "ok")
    return Rows(amount, country, score, np.where(score > 0.3, "fraud", "ok"), truth)


def build_reference(rows: Rows, file: Path, model: str = "fraud") -> Path:
    """The reference profile of rows, as ``otel-ml reference build`` makes it from a CSV file."""
    table = file.with_suffix(".csv")
    with table.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["amount", "country", "probability", "predicted", "outcome"])
        writer.writerows(
            zip(rows.amount.tolist(), rows.country, rows.score.tolist(), rows.predicted, rows.truth, strict=True)
        )
    options = {
        "model": model, "score": "probability", "prediction": "predicted", "label": "outcome",
        "positive-class": "fraud", "features": "amount,country", "segments": "country", "out": str(file),
    }  # fmt: skip
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    assert cli.main(["reference", "build", str(table), *arguments]) == 0
    return file


@contextlib.contextmanager
def model(
    port: int, name: str = "fraud", protocol: str = "grpc", service: str = SERVICE_NAME, *, metrics: bool = False
) -> Iterator[Model]:
    """A model whose spans, and metrics if asked for, go to this port; all have been exported when it is left."""
    resource = Resource.create({"service.name": service, "service.instance.id": str(uuid.uuid4())})
    traces = TracerProvider(resource=resource)
    if protocol == "grpc":
        exporter = GrpcSpanExporter(endpoint=f"localhost:{port}", insecure=True)
    else:
        exporter = HttpSpanExporter(endpoint=f"http://localhost:{port}/v1/traces")
    traces.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=200))
    meters: MeterProvider | None = None
    if metrics:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"localhost:{port}", insecure=True))
        meters = MeterProvider([reader], resource)
    options = {"version": "1", "task": "binary_classification", "positive_class": "fraud"}
    try:
        yield Model(name, **options, tracer_provider=traces, meter_provider=meters or NoOpMeterProvider())
        assert traces.force_flush(60_000), "the exporter could not send"
    finally:
        traces.shutdown()
        if meters is not None:
            meters.shutdown()


def send_batch(to: Model, rows: Rows) -> Sequence[str]:
    """All rows in one call; gives their ids."""
    features = {"amount": rows.amount, "country": rows.country}
    with to.predict(features) as prediction:
        prediction.record(score=rows.score, class_=rows.predicted)
    return prediction.ids


def send_rows(to: Model, rows: Rows) -> list[str]:
    """Each row in a call, and so in a span, of its own; gives their ids."""
    ids = []
    for amount, country, score, predicted in zip(
        rows.amount.tolist(), rows.country.tolist(), rows.score.tolist(), rows.predicted.tolist(), strict=True
    ):
        with to.predict({"amount": amount, "country": country}) as prediction:
            prediction.record(score=score, class_=predicted)
        ids.append(prediction.id)
    return ids


def drift(reference: Rows, current: Rows) -> Mapping[tuple[str, str], float]:
    """(feature, method) → drift, from the raw rows by the plain formulas; only where bins are cut is the service's."""
    bins = fine_edges(reference.amount)
    edges = bins.edges[bins.drift]
    sides = [np.bincount(np.searchsorted(edges, rows.amount, "right"), minlength=10) for rows in (reference, current)]
    texts = [np.array([(rows.country == name).sum() for name in COUNTRIES]) for rows in (reference, current)]
    return {
        ("amount", "psi"): _psi(*sides),
        ("amount", "js"): float(jensenshannon(*sides, base=2)),
        ("amount", "ks"): float(stats.ks_2samp(reference.amount, current.amount).statistic),
        ("amount", "wasserstein"): float(
            stats.wasserstein_distance(reference.amount, current.amount) / reference.amount.std()
        ),
        ("country", "psi"): _psi(*texts),
        ("country", "js"): float(jensenshannon(*texts, base=2)),
        ("country", "cohen_h"): float(
            np.abs(np.subtract(*(2 * np.arcsin(np.sqrt(side / side.sum())) for side in texts))).max()
        ),
        ("country", "l_infinity"): float(np.abs(texts[0] / texts[0].sum() - texts[1] / texts[1].sum()).max()),
    }


def _psi(reference: np.ndarray, current: np.ndarray) -> float:
    p, q = reference / reference.sum(), current / current.sum()
    return float(((q - p) * np.log(q / p)).sum())
