"""Spans as the OpenTelemetry SDK makes them and its exporter encodes them."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from collector_processor.decode import Decoded, decode

MODEL = {"ml.model.name": "fraud", "ml.model.version": "7", "ml.model.task": "binary_classification"}


def sent(*attributes: dict[str, Any], name: str = "predict fraud", error: bool = False) -> tuple[Decoded, list[str]]:
    """What arrives of spans with these attributes, and their default ids."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for each in attributes:
        with provider.get_tracer("test").start_as_current_span(name, attributes=each) as span:
            if error:
                span.set_status(Status(StatusCode.ERROR, "broken"))
    spans = exporter.get_finished_spans()
    contexts = [span.get_span_context() for span in spans]
    ids = [f"{context.trace_id:032x}:{context.span_id:016x}" for context in contexts if context is not None]
    return decode("traces", encode_spans(spans).SerializeToString(), 0), ids


def test_flat_attributes_of_the_sdk(otlp: Any, read: Any) -> None:
    features = {"ml.feature.age": 41, "ml.feature.amount": 0.5, "ml.feature.new": False, "ml.feature.country": "ch"}
    decoded, ids = sent({**MODEL, **features, "ml.prediction.score": 0.0})
    [row] = read.rows(decoded)
    assert row["id"] == tuple(otlp.hash(*ids)[0])
    assert 0 < row["duration"] < 60
    assert {key: row[key] for key in row if key.startswith(("feature", "score"))} == {
        "feature age": 41.0,
        "feature amount": 0.5,
        "feature new": "false",
        "feature country": "ch",
        "score": 0.0,
    }


def test_maps_of_the_sdk(otlp: Any, read: Any) -> None:
    features: dict[str, Any] = {f"f{i}": float(i) for i in range(200)}
    features |= {"missing": None, "text": "x"}
    decoded, _ = sent({**MODEL, "ml.features": features, "ml.prediction.scores": {"yes": 0.75, "no": 0.25}})
    [row] = read.rows(decoded)
    expected = {f"feature {key}": value for key, value in features.items() if value is not None}
    assert {key: row[key] for key in row if key.startswith("feature")} == expected
    assert (row["scores yes"], row["scores no"]) == (0.75, 0.25)
    assert decoded.dropped == {}


def test_arrays_and_arrow_of_the_sdk(otlp: Any, read: Any) -> None:
    numbers, texts = [1.0, 2.0, 3.0], ["a", "b", "a"]
    arrays = {"ml.feature.n": numbers, "ml.feature.t": texts, "ml.prediction.rows": 3}
    nested = {"ml.features": {"n": numbers, "t": texts}}
    stream = {"ml.batch": otlp.arrow({"ml.feature.n": numbers, "ml.feature.t": texts})}
    decoded, ids = sent({**MODEL, **arrays}, {**MODEL, **nested}, {**MODEL, **stream})
    [batch] = decoded.predictions
    assert read.cells(batch.features["n"], 9) == numbers * 3
    assert read.cells(batch.features["t"], 9) == texts * 3
    assert batch.ids.tolist() == otlp.hash(*[f"{call}:{row}" for call in ids for row in range(3)])


def test_failed_spans_of_the_sdk(otlp: Any, read: Any) -> None:
    decoded, _ = sent({**MODEL, "error.type": "ValueError"}, error=True)
    assert read.rows(decoded)[0]["error"] == "ValueError"


def test_labels_of_the_sdk(otlp: Any, read: Any) -> None:
    decoded, _ = sent({**MODEL, "ml.prediction.id": "a", "ml.label.class": "yes"}, name="label fraud")
    [label] = read.labels(decoded)
    assert (label[0], label[2], label[3]) == ("fraud", tuple(otlp.hash("a")[0]), "yes")
