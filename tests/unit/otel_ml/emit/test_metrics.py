"""The metrics of the instrumentation."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from otel_ml import Config, Model, problems
from otel_ml.emit import instruments
from otel_ml.testing import Captured, capture

MODEL = {"ml.model.name": "m", "ml.model.version": "1"}


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def points(captured: Captured, name: str) -> list[tuple[dict[str, object], float, int]]:
    return [(dict(point.attributes), point.value, point.count) for point in captured.metric(name)]


def test_a_call_has_a_duration_and_rows(captured: Captured) -> None:
    model = Model("m", version="1", task="regression")
    with model.predict({"a": 1}):
        pass
    with model.predict({"a": [1, 2, 3]}):
        pass
    [(attributes, duration_s, calls)] = points(captured, "ml.prediction.duration")
    assert (attributes, calls) == (MODEL, 2)
    assert 0 < duration_s < 10
    assert points(captured, "ml.prediction.rows") == [(MODEL, 4, 2)]


def test_a_failed_call_names_its_error(captured: Captured) -> None:
    with pytest.raises(ValueError, match="x"), Model("m", version="1").predict({"a": 1}):
        raise ValueError("x")
    [(attributes, _, _)] = points(captured, "ml.prediction.duration")
    assert attributes == {**MODEL, "error.type": "ValueError"}


def test_scores_are_counted_by_class(captured: Captured) -> None:
    model = Model("m", version="1")
    for class_, score in (("yes", 0.75), ("no", 0.25), ("yes", 1.0)):
        with model.predict({"a": 1}) as prediction:
            prediction.record(class_=class_, score=score)
    with model.predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    assert sorted(points(captured, "ml.prediction.score"), key=repr) == sorted(
        [
            ({**MODEL, "ml.prediction.class": "yes"}, 1.75, 2),
            ({**MODEL, "ml.prediction.class": "no"}, 0.25, 1),
            (MODEL, 0.5, 1),
        ],
        key=repr,
    )


@pytest.mark.parametrize("score", [-0.5, math.inf, math.nan, "high"])
def test_scores_that_a_histogram_refuses_are_left_out(
    captured: Captured, caplog: pytest.LogCaptureFixture, score: object
) -> None:
    with Model("m").predict({"a": 1}) as prediction:
        prediction.record(score=score)
    assert points(captured, "ml.prediction.score") == []
    assert "Histogram" not in caplog.text


@pytest.mark.parametrize("kind", [np.asarray, list, tuple])
def test_a_batch_gives_an_even_sample_of_its_scores(captured: Captured, kind: type) -> None:
    scores = np.linspace(0, 1, 1000)
    with Model("m").predict({"a": np.ones(1000)}) as prediction:
        prediction.record(class_=kind(["yes"] * 1000), score=kind(scores))
    [(attributes, total, count)] = points(captured, "ml.prediction.score")
    assert attributes["ml.prediction.class"] == "yes"
    assert count == len(scores[::16]) == 63
    assert total / count == pytest.approx(0.5, abs=0.02)


def test_chosen_scores_are_measured_too(captured: Captured) -> None:
    with Model("m").predict({"a": [1, 2]}) as prediction:
        prediction.record(scores={"no": [0.25, 0.5], "yes": [0.75, 0.5]})
    assert points(captured, "ml.prediction.score")[0][1:] == (1.25, 2)


def test_exemplars_lead_to_the_trace() -> None:
    with capture() as captured, Model("m").predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    found = captured._reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    context = captured.spans[0].get_span_context()
    for metric in found.metrics:
        [exemplar] = metric.data.data_points[0].exemplars
        assert (exemplar.trace_id, exemplar.span_id) == (context.trace_id, context.span_id)
    assert found.scope.name == "otel_ml"
    assert {metric.name: metric.unit for metric in found.metrics} == {
        "ml.prediction.duration": "s",
        "ml.prediction.rows": "{row}",
        "ml.prediction.score": "1",
    }


def test_score_buckets_span_zero_to_one(captured: Captured) -> None:
    with Model("m").predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    metrics = captured._reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    first_points = {metric.name: metric.data.data_points[0] for metric in metrics}
    bounds = first_points["ml.prediction.score"].explicit_bounds
    assert bounds[0] == 0.05
    assert bounds[-1] == 1.0


@pytest.mark.parametrize("features", [{"a": 1}, {"a": [1, 2]}])
def test_metrics_do_not_depend_on_sampling(features: object) -> None:
    with capture(sampler=ALWAYS_OFF) as captured:
        model = Model("m", version="1", config=Config(follow_sampler=True))
        with model.predict(features) as prediction:
            assert prediction.recording
            prediction.record(class_=["y"] * 2 if features != {"a": 1} else "y", scores=None, score=None)
        assert captured.spans == ()
        assert points(captured, "ml.prediction.duration")[0][2] == 1
        assert points(captured, "ml.prediction.rows")[0][1] == (1 if features == {"a": 1} else 2)


def test_metrics_do_not_need_tracing() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    model = Model("m", tracer_provider=NoOpTracerProvider(), meter_provider=provider)
    with model.predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    names = [metric.name for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics]
    assert "ml.prediction.score" in names


def test_instruments_are_made_once_for_each_provider(caplog: pytest.LogCaptureFixture) -> None:
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    assert instruments.meters(provider) is instruments.meters(provider)
    assert instruments.meters(None) is instruments.meters(None)
    for _ in range(3):
        Model("m", meter_provider=provider)
    assert "created already" not in caplog.text


def test_a_meter_that_goes_nowhere_is_known() -> None:
    assert not instruments.meters(NoOpMeterProvider()).active()
    assert instruments.meters(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)).active()


def test_instruments_go_with_their_provider() -> None:
    before = len(instruments._meters)
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    Model("m", meter_provider=provider)
    assert len(instruments._meters) == before + 1
    del provider
    gc.collect()
    assert len(instruments._meters) <= before


def test_a_call_records_its_own_measurements_while_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_ml.emit.measure._MOST_WAITING", 0)
    with capture() as captured:
        model = Model("m")
        waiting = model._emitter.measures._meters.waiting
        for _ in range(3):
            with model.predict({"a": 1}) as prediction:
                prediction.record(score=0.5)
            assert len(waiting) == 0
        [point] = captured.metric("ml.prediction.score")
    assert point.count == 3


def test_a_collection_reads_what_was_measured_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_ml.delivery.gather.PERIOD_S", 3600.0)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    model = Model("m", meter_provider=provider, tracer_provider=tracer_provider)
    for calls in (1, 2):
        with model.predict({"a": 1}) as prediction:
            prediction.record(score=0.5)
        data = reader.get_metrics_data()
        assert data is not None
        counts = {
            metric.name: point.count  # type: ignore[union-attr]
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            for point in metric.data.data_points
        }
        assert counts == {"ml.prediction.duration": calls, "ml.prediction.rows": calls, "ml.prediction.score": calls}
