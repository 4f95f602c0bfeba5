"""The in-memory capture that applications test with."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_ml import Model
from otel_ml.testing import capture


def test_models_made_earlier_are_captured_and_released() -> None:
    model = Model("m")
    with capture() as first, model.predict({"a": 1}):
        pass
    with capture() as second, model.predict({"a": 2}):
        pass
    with model.predict({"a": 3}):
        pass
    assert [seen.features for seen in first.predictions] == [{"a": 1}]
    assert [seen.features for seen in second.predictions] == [{"a": 2}]


def test_captures_nest() -> None:
    model = Model("m")
    with capture() as outer:
        with capture() as inner, model.predict({"a": 1}):
            pass
        with model.predict({"a": 2}):
            pass
    assert len(inner.predictions) == len(outer.predictions) == 1


def test_a_model_with_providers_of_its_own_keeps_them() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with capture() as captured, Model("m", tracer_provider=provider).predict({"a": 1}):
        pass
    assert captured.spans == ()
    assert len(exporter.get_finished_spans()) == 1
    assert len(captured.metric("ml.prediction.duration")) == 1


def test_the_capture_ends_after_an_exception() -> None:
    model = Model("m")
    with pytest.raises(ValueError, match="x"), capture():
        raise ValueError("x")
    with model.predict({"a": 1}) as prediction:
        assert not prediction.recording


def test_other_spans_are_kept_but_are_no_predictions() -> None:
    with capture() as captured:
        captured.tracer_provider.get_tracer("app").start_span("predict something").end()
        captured.tracer_provider.get_tracer("app").start_span("label something").end()
    assert len(captured.spans) == 2
    assert captured.predictions == []
    assert captured.labels == []


def test_clear_forgets_spans() -> None:
    with capture() as captured:
        with Model("m").predict({"a": 1}):
            pass
        captured.clear()
        assert captured.spans == ()
        assert captured.metric("no such metric") == []
