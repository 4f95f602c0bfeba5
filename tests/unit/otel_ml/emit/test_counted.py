"""Every prediction and label is sent whatever the sampler decides, and the application's traces stay as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    SpanContext,
    TraceFlags,
    TraceState,
    use_span,
)

from otel_ml import Config, Model, problems

SAMPLERS: list[Sampler] = [
    ALWAYS_OFF,
    ALWAYS_ON,
    TraceIdRatioBased(0.1),
    ParentBased(ALWAYS_OFF),
    ParentBased(TraceIdRatioBased(0.1)),
]
TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


@pytest.fixture(autouse=True)
def _fresh_problems() -> Iterator[None]:
    problems.forget()
    yield
    problems.forget()


class Application:
    """A tracer provider, and what it exported."""

    def __init__(self, sampler: Sampler) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("app")

    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def parent(*, sampled: bool, state: str = "") -> NonRecordingSpan:
    """Return the span of a gateway that called the application."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(
        SpanContext(TRACE, SPAN, is_remote=True, trace_flags=flags, trace_state=TraceState.from_header([state]))
    )


@pytest.mark.parametrize("sampler", SAMPLERS, ids=Sampler.get_description)
@pytest.mark.parametrize("under", [None, parent(sampled=False), parent(sampled=True)], ids=["root", "not", "sampled"])
@pytest.mark.parametrize("follow", [False, True])
def test_the_sampler_decides_on_traces_and_not_on_predictions(
    sampler: Sampler, under: NonRecordingSpan | None, follow: bool
) -> None:
    """Whatever is between: the application's spans are the same with and without a prediction around them."""
    app = Application(sampler)
    model = Model("m", tracer_provider=app.provider, config=Config(follow_sampler=follow))
    sampled = 0
    for _ in range(40):
        with use_span(under or trace.INVALID_SPAN), app.tracer.start_as_current_span("request") as request:
            sampled += request.is_recording()
            with model.predict({"a": 1}) as prediction:
                current = trace.get_current_span().get_span_context()
                assert current.trace_flags.sampled == request.get_span_context().trace_flags.sampled
                with app.tracer.start_as_current_span("inside"):
                    prediction.record(class_="x")
            model.label(prediction.id, class_="y")
        if not follow:
            assert prediction.id == f"{current.trace_id:032x}:{current.span_id:016x}"
    assert len(app.named("request")) == len(app.named("inside")) == sampled
    assert len(app.named("predict m")) == (sampled if follow else 40)
    if not follow:
        assert len(app.named("label m")) == 40
        marks = [span.attributes.get("ml.trace.sampled") for span in app.named("predict m")]
        assert marks.count(False) == 40 - sampled
        assert marks.count(None) == sampled


def test_each_part_of_a_split_batch_is_sent() -> None:
    app = Application(ALWAYS_OFF)
    model = Model("m", tracer_provider=app.provider, config=Config(max_span_bytes=20_000))
    with model.predict(np.ones((5000, 4))) as prediction:
        prediction.record(score=np.ones(5000))
    assert sum(int(str(dict(span.attributes or {})["ml.prediction.rows"])) for span in app.named("predict m")) == 5000
    assert len(app.named("predict m")) > 5


@pytest.mark.parametrize("sampled", [True, False])
def test_a_span_stands_for_one_call_although_its_trace_was_sampled_by_a_threshold(sampled: bool) -> None:
    app = Application(ParentBased(ALWAYS_ON))
    with use_span(parent(sampled=sampled, state="ot=th:c;rv:6e6d1a75832a2f,congo=t61")):
        with Model("m", tracer_provider=app.provider).predict({}):
            inside = trace.get_current_span().get_span_context().trace_state.to_header()
        with Model("m", tracer_provider=app.provider, config=Config(follow_sampler=True)).predict({}):
            pass
    states = [span.context.trace_state.to_header() for span in app.exporter.get_finished_spans()]
    assert states[0] == "ot=rv:6e6d1a75832a2f,congo=t61"
    assert inside == "ot=th:c;rv:6e6d1a75832a2f,congo=t61", "what the application calls sees the threshold"
    assert states[1:] == (["ot=th:c;rv:6e6d1a75832a2f,congo=t61"] if sampled else [])


def test_processors_that_the_application_adds_later_see_every_prediction() -> None:
    started: list[str] = []

    class Later(SpanProcessor):
        def on_start(self, span, parent_context=None) -> None:
            started.append(span.name)
            span.set_attribute("team", "risk")

    app = Application(ALWAYS_OFF)
    model = Model("m", tracer_provider=app.provider)
    with model.predict({}):
        pass
    app.provider.add_span_processor(Later())
    with model.predict({}):
        pass
    assert started == ["predict m"]
    assert app.named("predict m")[1].attributes["team"] == "risk"


def test_the_global_provider_may_come_after_the_first_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Application(ALWAYS_OFF)
    model = Model("m")
    with model.predict({}):
        pass
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", app.provider)
    with model.predict({}):
        pass
    assert app.names() == ["predict m"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_the_instance_id_of_its_application() -> None:
    app = Application(ALWAYS_ON)
    model = Model("m", tracer_provider=app.provider)
    with model.predict({}):
        pass
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with model.predict({}), app.tracer.start_as_current_span("inside"):
            pass
        ids = {str(span.resource.attributes["service.instance.id"]) for span in app.exporter.get_finished_spans()[1:]}
        os.write(write, ",".join(ids).encode())
        os._exit(0)
    os.waitpid(child, 0)
    ids = os.read(read, 1000).decode()
    assert len(ids) == 36, "one UUID for both spans"
    assert ids != app.provider.resource.attributes["service.instance.id"]


class Foreign(trace.TracerProvider):
    """Another vendor's provider, which samples nothing."""

    def get_tracer(self, *args: object, **kwargs: object) -> trace.Tracer:
        class Dropping(trace.NoOpTracer):
            def start_span(self, *args: object, **kwargs: object) -> trace.Span:
                return parent(sampled=False)

        return Dropping()


def test_a_provider_that_drops_predictions_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Model("m", tracer_provider=Foreign())
    for _ in range(3):
        with model.predict({}):
            pass
    assert len(caplog.records) == 1
    assert "Foreign: predictions are sent only if their trace is sampled" in caplog.text
    with Model("m", tracer_provider=NoOpTracerProvider()).predict({}):
        pass
    assert len(caplog.records) == 1
