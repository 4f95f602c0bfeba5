"""Whatever goes wrong, or is switched off, the application goes on."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracerProvider, StatusCode

from otel_ml import Config, Model, problems
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def test_a_function_of_features_that_raises_costs_only_the_features(captured: Captured) -> None:
    with Model("m").predict(lambda: 1 / 0) as prediction:
        prediction.record(score=0.5)
    assert captured.predictions[0].score == 0.5
    assert captured.predictions[0].features == {}


class Untouchable:
    """Fails the test when anything looks at it."""

    def __getattribute__(self, name: str) -> object:
        if name == "__class__":
            return object
        raise AssertionError(name)


def test_nothing_is_encoded_where_nothing_records() -> None:
    model = Model("m", tracer_provider=NoOpTracerProvider())
    with model.predict(Untouchable()) as prediction:
        assert not prediction.recording
        prediction.record(class_=Untouchable())


def test_ids_are_unique_where_tracing_is_off() -> None:
    model = Model("m", tracer_provider=NoOpTracerProvider())
    ids = set()
    for _ in range(3):
        with model.predict({"a": 1}) as prediction:
            assert prediction.id == prediction.id
        ids.add(prediction.id)
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}:[0-9a-f]{16}", one) for one in ids)


def test_suppressed_instrumentation_emits_nothing(captured: Captured) -> None:
    model = Model("m")
    with suppress_instrumentation():
        with model.predict({"a": 1}) as prediction:
            prediction.record(score=0.5)
        model.label(prediction.id, class_="a")
        model.labels(["a"], classes=["b"])
    assert captured.spans == ()
    assert captured.metric("ml.prediction.duration") == []


def test_disabled_emits_nothing(captured: Captured) -> None:
    model = Model("m", config=Config(enabled=False))
    with model.predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    model.label("a", class_="b")
    assert captured.spans == ()


def test_a_tracer_that_raises_is_logged_once_and_the_application_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    problems.forget()

    class BrokenTracer(trace.NoOpTracer):
        def start_span(self, *args: object, **kwargs: object) -> trace.Span:
            raise RuntimeError("broken")

    class BrokenProvider(trace.TracerProvider):
        def get_tracer(self, *args: object, **kwargs: object) -> trace.Tracer:
            return BrokenTracer()

    model = Model("m", tracer_provider=BrokenProvider())
    for _ in range(3):
        with model.predict({"a": 1}) as prediction:
            prediction.record(score=0.5)
        model.label(prediction.id, class_="a")
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2


def test_threads_share_a_model(captured: Captured) -> None:
    model = Model("m")

    def work(number: int) -> None:
        for step in range(50):
            with model.predict({f"f{step}": number}, id=f"{number}-{step}"):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({seen.id for seen in captured.predictions}) == 200


def test_a_span_processor_that_raises_does_not_reach_the_application(caplog: pytest.LogCaptureFixture) -> None:
    problems.forget()

    class Raising(SpanProcessor):
        def on_end(self, span: object) -> None:
            raise RuntimeError("no")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Raising())
    with Model("m", tracer_provider=provider).predict({"a": 1}):
        pass
    assert "a span of model 'm' is not ended" in caplog.text
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("time_ns", [0, -5, 2**63, 1.5, "now", None])
def test_a_time_that_no_span_can_hold_is_now(captured: Captured, time_ns: object) -> None:
    with Model("m").predict({"a": 1}, time_ns=time_ns):
        pass
    Model("m").label("a", class_="b", time_ns=time_ns)
    assert all(1.6e18 < span.start_time < 2**63 for span in captured.spans)
    assert len(captured.spans) == 2


def test_scores_and_segments_that_are_no_mappings_are_dropped_alone(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    with Model("m").predict({"a": 1}, segments=["EU"]) as prediction:
        prediction.record(class_="x", scores=np.array([0.5, 0.5]), segments=7)
    [seen] = captured.predictions
    assert (seen.class_, seen.scores, seen.segments) == ("x", {}, {})
    assert "scores must be a mapping by name, not ndarray" in caplog.text


def test_a_container_that_raises_costs_only_the_features(captured: Captured) -> None:
    class Broken(dict[str, float]):
        def values(self) -> object:
            raise RuntimeError("no")

        items = values

    with Model("m").predict(Broken(a=1)) as prediction:
        assert prediction.ids == [prediction.id]
        prediction.record(class_="yes")
    [seen] = captured.predictions
    assert (seen.features, seen.class_) == ({}, "yes")


def test_a_failure_of_ours_still_marks_the_failed_call(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_ml.prediction.Prediction._row_attributes", lambda *arguments: 1 / 0)
    with pytest.raises(ValueError, match="x"), Model("m").predict({"a": 1}):
        raise ValueError("x")
    assert captured.predictions[0].error_type == "ValueError"
    assert captured.spans[0].status.status_code is StatusCode.ERROR
