"""A batch is readable in a trace backend and on the console, within bounds and after redaction."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from otel_ml import Config, Model
from otel_ml.testing import capture


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


FRAME = pd.DataFrame({"age": [41, 29, 7, 5], "email": ["a@b.c"] * 4, "plan": ["basic", None, "x" * 100, "y"]})


def test_a_batch_shows_its_columns_and_first_rows() -> None:
    with capture() as captured, Model("m").predict(FRAME) as prediction:
        prediction.record(score=[0.5, 0.25, 1.0, 0.75])
    attributes = attributes_of(captured.spans[0])
    assert attributes["ml.batch.columns"] == (
        "ml.feature.age",
        "ml.feature.email",
        "ml.feature.plan",
        "ml.prediction.score",
    )
    assert str(attributes["ml.batch.preview"]).splitlines() == [
        "age=41, email=a@b.c, plan=basic, ml.prediction.score=0.5",
        "age=29, email=a@b.c, ml.prediction.score=0.25",
        f"age=7, email=a@b.c, plan={'x' * 40}, ml.prediction.score=1.0",
    ]
    assert attributes["ml.batch.id"] == prediction.id


def test_what_must_not_leave_is_not_shown() -> None:
    config = Config(features_deny=["age"], features_hash=["email"], hash_salt="pepper", features_bucket={"plan": 1})
    with capture() as captured, Model("m", config=config).predict(FRAME):
        pass
    shown = str(attributes_of(captured.spans[0])["ml.batch.preview"])
    assert "email=" in shown
    assert not any(secret in shown for secret in ("41", "a@b.c", "basic"))


def test_a_wide_batch_shows_a_part() -> None:
    with capture() as captured, Model("m").predict(np.ones((10, 500))) as prediction:
        prediction.record(score=np.full(10, 0.5), class_=["y" * 200] * 10)
    attributes = attributes_of(captured.spans[0])
    columns, preview = attributes["ml.batch.columns"], attributes["ml.batch.preview"]
    assert isinstance(columns, tuple)
    assert isinstance(preview, str)
    assert len(columns) == 64
    assert len(preview) <= 1024
    assert "x0=1.0" in preview
    assert "ml.prediction.score=0.5" in preview


def test_each_part_of_a_split_batch_is_found_by_the_id_of_the_call() -> None:
    with capture() as captured:
        with Model("m", config=Config(max_span_bytes=10_000)).predict(np.ones((5000, 2))) as prediction:
            pass
        with Model("m").predict(FRAME, id="order-7"):
            pass
        with Model("m").predict(FRAME, id=["a", "b", "c", "d"]):
            pass
    ids = [attributes_of(span).get("ml.batch.id") for span in captured.spans]
    assert set(ids[:-2]) == {prediction.id}
    assert len(ids) > 4
    assert ids[-2:] == ["order-7", None]
    assert captured.predictions[4999].id == f"{prediction.id}:4999"


def test_the_consoles_exporter_prints_batches() -> None:
    out = io.StringIO()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    with Model("m", tracer_provider=provider).predict(FRAME):
        provider.get_tracer("app").start_span("inside").end()
    provider.force_flush()
    decoder, text, spans = json.JSONDecoder(), out.getvalue(), []
    while text.strip():
        span, end = decoder.raw_decode(text.lstrip())
        spans.append(span)
        text = text.lstrip()[end:]
    assert [span["name"] for span in spans] == ["inside", "predict m"]
    assert spans[1]["attributes"]["ml.batch"].endswith(" bytes (OTEL_TRACES_EXPORTER=otel_ml_console shows the rows)")
    assert spans[1]["attributes"]["ml.batch.preview"].startswith("age=41, email=a@b.c")
