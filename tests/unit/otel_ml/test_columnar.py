"""Calls that gather and leave together: when they do, what a process keeps of them, and what is lost."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import otel_ml
from otel_ml import Config, Model, problems
from otel_ml.delivery import gather
from otel_ml.encode.reading import read_predictions
from otel_ml.frameworks.base import is_nested
from otel_ml.testing import Captured, capture

COLUMNAR = Config(emit="columnar")
WAIT_S = 30


class Exporter(SpanExporter):
    """Keeps the rows, says when it has enough of them, and can be made to wait."""

    def __init__(self, enough: int = 1) -> None:
        self.rows: list[Any] = []
        self.sizes: list[int] = []
        self.done = threading.Event()
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self._enough = enough

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.open.wait(WAIT_S)
        for span in spans:
            rows = list(read_predictions(span))
            self.sizes.append(len(rows))
            self.rows += rows
        if len(self.rows) >= self._enough:
            self.done.set()
        return SpanExportResult.SUCCESS


def provider_of(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def predict(model: Model, features: object = None, **outputs: Any) -> str:
    with model.predict({"a": 1} if features is None else features) as prediction:
        prediction.record(**(outputs or {"score": 0.5}))
    return prediction.id


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as caught:
        yield caught


def test_rows_leave_by_themselves_in_one_span() -> None:
    exporter = Exporter(enough=3)
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter))
    ids = [predict(model, {"a": float(i)}) for i in range(3)]
    assert exporter.done.wait(WAIT_S)
    assert exporter.sizes == [3]
    assert [row.id for row in exporter.rows] == ids
    assert [row.features for row in exporter.rows] == [{"a": 0.0}, {"a": 1.0}, {"a": 2.0}]


def test_a_thousand_rows_do_not_wait_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "PERIOD_S", 3600.0)
    exporter = Exporter(enough=1000)
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter))
    for _ in range(1000):
        predict(model)
    assert exporter.done.wait(WAIT_S)
    assert max(exporter.sizes) <= 1000


def test_flush_sends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "PERIOD_S", 3600.0)
    exporter = Exporter()
    predict(Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter)))
    assert otel_ml.flush(WAIT_S)
    assert len(exporter.rows) == 1


def test_eight_threads_lose_nothing_and_no_two_ids_are_equal() -> None:
    exporter = Exporter(enough=8_000)
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")

    def calls() -> None:
        with tracer.start_as_current_span("request"):
            for number in range(1_000):
                predict(model, {"a": number, f"b{number % 3}": "x"}, class_=str(number % 2), score=0.5)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert otel_ml.flush(WAIT_S)
    assert len(exporter.rows) == 8_000
    assert len({row.id for row in exporter.rows}) == 8_000


def test_a_handle_that_is_gone_loses_nothing() -> None:
    exporter = Exporter(enough=5)
    provider = provider_of(exporter)
    for _ in range(5):
        predict(Model("m", config=COLUMNAR, tracer_provider=provider))
        gc.collect()
    assert exporter.done.wait(WAIT_S)


def test_an_exporter_that_blocks_costs_the_oldest_rows_and_they_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems.forget()
    monkeypatch.setattr(gather, "MAX_ROWS", 50)
    exporter, reader = Exporter(), InMemoryMetricReader()
    exporter.open.clear()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter), meter_provider=meters)
    predict(model, {"a": -1})
    assert exporter.entered.wait(WAIT_S)  # the thread that sends is stuck from here on
    started = time.monotonic()
    for number in range(120):
        predict(model, {"a": number})
    assert time.monotonic() - started < WAIT_S
    exporter.open.set()
    assert otel_ml.flush(WAIT_S)
    kept = [row.features["a"] for row in exporter.rows]
    assert kept == [-1, *range(70, 120)]
    data = reader.get_metrics_data()
    assert data is not None
    [dropped] = [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "ml.predictions.dropped"
        for point in metric.data.data_points
    ]
    assert dropped.value == 70  # type: ignore[union-attr]
    assert caplog.text.count("predictions come faster than they are sent; the oldest are dropped") == 1


def test_wide_rows_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(gather, "PERIOD_S", 3600.0)
    exporter = Exporter()
    exporter.open.clear()
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter))
    wide = {f"f{i}": float(i) for i in range(2_000)}
    for _ in range(30):
        predict(model, wide)
    gatherer = model._emitter.gatherer
    assert gatherer is not None
    assert len(gatherer) <= 5
    exporter.open.set()
    otel_ml.flush(WAIT_S)


def test_a_processor_that_raises_or_exits_does_not_end_the_sending() -> None:
    failures = [RuntimeError("no"), SystemExit()]

    class Broken(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if failures:
                raise failures.pop()

    exporter = Exporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken(exporter))
    model = Model("m", config=COLUMNAR, tracer_provider=provider)
    for _ in range(2):
        predict(model)
        assert otel_ml.flush(WAIT_S)
    predict(model, {"a": 7})
    assert exporter.done.wait(WAIT_S)
    assert exporter.rows[-1].features == {"a": 7}


def test_a_thread_that_has_died_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Exporter()
    model = Model("m", config=COLUMNAR, tracer_provider=provider_of(exporter))
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    monkeypatch.setattr(gather._sender, "_thread", dead)
    predict(model)
    assert exporter.done.wait(WAIT_S)


def test_values_that_change_after_the_call_do_not_change_what_is_sent(captured: Captured) -> None:
    model = Model("m", config=COLUMNAR)
    features: dict[str, Any] = {"a": 1, "b": np.array(2.0)}
    scores, segments, attributions = {"x": 0.25}, {"region": "eu"}, {"a": 0.5}
    with model.predict(features, segments=segments) as prediction:
        prediction.record(class_="x", scores=scores, attributions=attributions)
    features["a"], scores["x"], segments["region"], attributions["a"] = 9, 0.9, "us", 9.0
    features["b"][...] = 9.0
    prediction.record(class_="y", score=0.9)
    [seen] = captured.predictions
    assert (seen.features, seen.class_, seen.score) == ({"a": 1, "b": 2.0}, "x", 0.25)
    assert (seen.scores, seen.segments, seen.attributions) == ({"x": 0.25}, {"region": "eu"}, {"a": 0.5})


def test_a_clock_that_is_set_back_changes_neither_durations_nor_the_sending(
    monkeypatch: pytest.MonkeyPatch, captured: Captured
) -> None:
    clock = iter([2_000 * 10**9, 1_000 * 10**9])
    monkeypatch.setattr("otel_ml.columnar.time_ns", lambda: next(clock))
    model = Model("m", config=COLUMNAR)
    predict(model)
    predict(model)
    assert [seen.time_ns for seen in captured.predictions] == [2_000 * 10**9, 1_000 * 10**9]
    [point] = captured.metric("ml.prediction.duration")
    assert 0 <= point.value < WAIT_S


def test_children_are_those_of_the_callers_span(captured: Captured) -> None:
    tracer = captured.tracer_provider.get_tracer("app")
    with tracer.start_as_current_span("request") as request, Model("m", config=COLUMNAR).predict({"a": 1}):
        assert trace.get_current_span() is request
        tracer.start_span("query").end()
    query = next(span for span in captured.spans if span.name == "query")
    assert query.parent is not None
    assert query.parent.span_id == request.get_span_context().span_id


def test_the_id_names_the_callers_span_and_labels_join_it_there(captured: Captured) -> None:
    model = Model("m", config=COLUMNAR)
    with captured.tracer_provider.get_tracer("app").start_as_current_span("request") as request:
        first, second = predict(model), predict(model)
    context = request.get_span_context()
    assert first.startswith(f"{context.trace_id:032x}:{context.span_id:016x}:")
    assert first != second
    model.label(first, class_="yes")
    label = next(span for span in captured.spans if span.name.startswith("label"))
    assert label.parent is not None
    assert (label.parent.trace_id, label.parent.span_id) == (context.trace_id, context.span_id)
    assert [seen.id for seen in captured.predictions] == [first, second]


def test_without_a_callers_span_the_id_has_its_usual_form(captured: Captured) -> None:
    with Model("m", config=COLUMNAR).predict({"a": 1}) as prediction:
        inside = prediction.id
    assert (prediction.id, prediction.ids, prediction.rows) == (inside, [inside], 1)
    assert [len(part) for part in inside.split(":")] == [32, 16]
    assert captured.predictions[0].id == inside


def test_a_call_of_many_rows_is_a_span_as_before(captured: Captured) -> None:
    model = Model("m", config=COLUMNAR)
    with model.predict({"a": [1, 2]}) as known:
        known.record(score=[0.1, 0.2])
    with model.predict([3, 4]) as found_out:  # one row or two: the outputs decide
        found_out.record(score=[0.3, 0.4])
    assert [len(list(read_predictions(span))) for span in captured.spans] == [2, 2]
    assert {seen.id for seen in captured.predictions} == {*known.ids, *found_out.ids}
    assert all(span.end_time > span.start_time for span in captured.spans)  # type: ignore[operator]


def test_what_is_predicted_inside_of_a_call_does_not_count(captured: Captured) -> None:
    with Model("m", config=COLUMNAR).predict({"a": 1}):
        assert is_nested()
    assert not is_nested()


def test_a_call_that_ends_in_another_task_does_not_stay_open(captured: Captured) -> None:
    model = Model("m", config=COLUMNAR)

    async def main() -> None:
        prediction = model.predict({"a": 1})
        await asyncio.create_task(enter(prediction))
        prediction.__exit__(None, None, None)
        assert not is_nested()

    async def enter(prediction: Any) -> None:
        prediction.__enter__()

    asyncio.run(main())
    assert len(captured.predictions) == 1


def test_a_chosen_call_is_explained_on_its_own_span(captured: Captured) -> None:
    def explain(features: Any) -> Any:
        return np.array([[0.25, -0.5]])

    model = Model("m", explainer=explain, features=["a", "b"], config=Config(emit="columnar", explain=1))
    with model.predict([[1.0, 2.0]], id="order-1") as prediction:
        prediction.record(score=0.5)
    [seen] = captured.predictions
    assert (seen.id, seen.attributions) == ("order-1", {"a": 0.25, "b": -0.5})


def test_following_the_sampler_is_no_matter_of_columns(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    predict(Model("m", config=Config(emit="columnar", follow_sampler=True)))
    assert captured.spans[0].attributes is not None
    assert "ml.batch" not in captured.spans[0].attributes
    assert "calls are not gathered: OTEL_ML_FOLLOW_SAMPLER" in caplog.text


def test_without_an_sdk_nothing_gathers() -> None:
    model = Model("m", config=COLUMNAR)
    assert predict(model).count(":") == 1
    assert model._emitter.gatherer is None


def test_the_variable_decides_and_a_wrong_one_is_said(
    monkeypatch: pytest.MonkeyPatch, captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_ML_EMIT", "columns")
    predict(Model("m"))
    assert "OTEL_ML_EMIT: 'columns' is unknown; allowed: spans, columnar" in caplog.text
    monkeypatch.setenv("OTEL_ML_EMIT", "columnar")
    predict(Model("m"))
    assert [("ml.batch" in (span.attributes or {})) for span in captured.spans] == [False, True]
    with pytest.raises(ValueError, match="emit 'rows' is unknown; allowed: spans, columnar"):
        Config(emit="rows")  # type: ignore[arg-type]
