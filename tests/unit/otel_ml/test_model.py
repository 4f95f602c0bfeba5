"""One row: what the span holds, and what the application never notices."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NoOpTracerProvider, StatusCode

from otel_ml import Config, Model, problems
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def test_a_row_is_one_span_with_flat_features_and_the_identity(captured: Captured) -> None:
    model = Model("fraud", version="7", task="binary_classification", role="champion", framework="sklearn")
    with model.predict({"amount": 12.5, "items": 3, "country": "CH", "new": True}) as prediction:
        prediction.record(class_="yes", score=0.9, scores={"no": 0.1, "yes": 0.9})
    [span] = captured.spans
    assert span.name == "predict fraud"
    assert dict(span.attributes) == {
        "ml.model.name": "fraud",
        "ml.model.version": "7",
        "ml.model.task": "binary_classification",
        "ml.model.role": "champion",
        "ml.framework.name": "sklearn",
        "ml.feature.amount": 12.5,
        "ml.feature.items": 3,
        "ml.feature.country": "CH",
        "ml.feature.new": True,
        "ml.prediction.class": "yes",
        "ml.prediction.score": 0.9,
        "ml.prediction.scores": {"no": 0.1, "yes": 0.9},
        "ml.prediction.id": prediction.id,
    }
    assert span.instrumentation_scope.name == "otel_ml"
    assert span.instrumentation_scope.schema_url.startswith("https://opentelemetry.io/schemas/")


def test_the_default_id_is_trace_and_span(captured: Captured) -> None:
    with Model("m").predict({"a": 1}) as prediction:
        pass
    context = captured.spans[0].get_span_context()
    assert prediction.id == f"{context.trace_id:032x}:{context.span_id:016x}"
    assert prediction.ids == [prediction.id]
    assert captured.predictions[0].id == prediction.id
    assert captured.spans[0].attributes["ml.prediction.id"] == prediction.id, "trace backends search attributes"


@pytest.mark.parametrize("given", ["order-7", 7, 7.0, np.int64(7)])
def test_an_id_of_the_application_is_text(captured: Captured, given: object) -> None:
    with Model("m").predict({"a": 1}, id=given) as prediction:
        pass
    assert prediction.id == captured.spans[0].attributes["ml.prediction.id"] == str(given).removesuffix(".0")


def test_an_id_may_be_recorded_late_and_an_empty_one_is_none(captured: Captured) -> None:
    model = Model("m")
    with model.predict({"a": 1}) as late:
        late.record(id="late")
    with model.predict({"a": 1}, id="") as empty:
        pass
    assert late.id == "late"
    assert re.fullmatch("[0-9a-f]{32}:[0-9a-f]{16}", empty.id)
    assert [seen.id for seen in captured.predictions] == ["late", empty.id]


def test_an_exception_passes_untouched_and_marks_the_span_without_its_message(captured: Captured) -> None:
    class OutOfStockError(Exception):
        pass

    error = OutOfStockError("customer anna@example.org")
    with pytest.raises(OutOfStockError) as caught, Model("m").predict({"a": 1}):
        raise error
    [span] = captured.spans
    assert caught.value is error
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].endswith("OutOfStockError")
    assert span.attributes["ml.feature.a"] == 1
    assert "anna" not in span.to_json()


def test_builtin_errors_go_by_their_bare_name(captured: Captured) -> None:
    with pytest.raises(ValueError, match="no"), Model("m").predict({"a": 1}):
        raise ValueError("no")
    assert captured.predictions[0].error_type == "ValueError"


def test_children_nest_in_the_prediction(captured: Captured) -> None:
    tracer = captured.tracer_provider.get_tracer("app")
    with tracer.start_as_current_span("request"), Model("m").predict({"a": 1}), tracer.start_as_current_span("db"):
        pass
    spans = {span.name: span for span in captured.spans}
    assert spans["db"].parent.span_id == spans["predict m"].context.span_id
    assert spans["predict m"].parent.span_id == spans["request"].context.span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_row_is_read_at_entry(captured: Captured) -> None:
    row, array = {"a": 1.0}, np.array([1.0])
    with Model("m").predict(row):
        row["a"] = 99.0
    with Model("m", features=["a"]).predict(array):
        array[0] = 99.0
    assert [seen.features for seen in captured.predictions] == [{"a": 1.0}, {"a": 1.0}]


def test_features_may_be_a_function_that_is_called_only_when_recorded(captured: Captured) -> None:
    with Model("m").predict(lambda: {"a": 1}):
        pass
    assert captured.predictions[0].features == {"a": 1}
    with Model("m", tracer_provider=NoOpTracerProvider()).predict(lambda: pytest.fail("called")):
        pass


def test_time_ns_moves_the_event_and_keeps_the_duration(captured: Captured) -> None:
    with Model("m").predict({"a": 1}, time_ns=1_000_000_000):
        pass
    [span] = captured.spans
    assert span.start_time == 1_000_000_000
    assert 0 < span.end_time - span.start_time < 10_000_000_000


def test_segments_come_from_features_and_from_the_call(captured: Captured) -> None:
    model = Model("m", segments=["carrier", "absent"])
    with model.predict({"carrier": 7, "distance": 100.0}, segments={"region": "EU"}) as prediction:
        prediction.record(segments={"new": True})
    assert captured.predictions[0].segments == {"carrier": "7", "region": "EU", "new": "true"}


def test_attributions_come_by_name_or_in_the_order_of_the_features(captured: Captured) -> None:
    model = Model("m", features=["a", "b"])
    with model.predict([1, 2]) as prediction:
        prediction.record(attributions=np.array([0.5, -0.25]))
    with model.predict({"a": 1}) as prediction:
        prediction.record(attributions={"a": np.float32(0.5)})
    assert [seen.attributions for seen in captured.predictions] == [{"a": 0.5, "b": -0.25}, {"a": 0.5}]


def test_outputs_of_one_row_may_come_as_arrays_of_one(captured: Captured) -> None:
    with Model("m").predict(np.array([[1.0, 2.0]])) as prediction:
        prediction.record(class_=np.array(["yes"]), score=np.array([[0.5]]), scores={"no": [0.5], "yes": [0.5]})
    [seen] = captured.predictions
    assert (seen.class_, seen.score, seen.scores) == ("yes", 0.5, {"no": 0.5, "yes": 0.5})
    assert "ml.prediction.rows" not in captured.spans[0].attributes


def test_an_output_of_another_length_is_dropped_alone(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    with Model("m").predict({"a": 1}) as prediction:
        prediction.record(class_="yes", score=[0.1, 0.2])
    assert captured.predictions[0].score is None
    assert captured.predictions[0].class_ == "yes"
    assert "2 values for 1 rows" in caplog.text


@pytest.mark.parametrize(
    ("options", "recorded", "score"),
    [
        ({}, {"scores": {"no": 0.3, "yes": 0.7}, "class_": "no"}, 0.7),
        ({"positive_class": "no"}, {"scores": {"no": 0.3, "yes": 0.7}}, 0.3),
        ({"positive_class": 0}, {"scores": {0: 0.3, 1: 0.7}}, 0.3),
        ({}, {"scores": {"a": 0.2, "b": 0.5, "c": 0.3}, "class_": "c"}, 0.3),
        ({}, {"scores": {"a": 0.2, "b": 0.5, "c": 0.3}}, None),
        ({"task": "multiclass_classification"}, {"scores": {"a": 0.2, "b": 0.8}, "class_": "a"}, 0.2),
        ({}, {"scores": {"no": 0.3, "yes": 0.7}, "score": 0.9}, 0.9),
    ],
)
def test_the_score_is_chosen_from_all_probabilities(
    captured: Captured, options: dict[str, object], recorded: dict[str, object], score: float | None
) -> None:
    with Model("m", **options).predict({"a": 1}) as prediction:
        prediction.record(**recorded)
    assert captured.predictions[0].score == score


def test_the_features_travel_as_a_map_beyond_64(captured: Captured) -> None:
    model = Model("m")
    with model.predict({f"f{i}": i for i in range(64)}):
        pass
    with model.predict({f"f{i}": i for i in range(65)}):
        pass
    flat, mapped = captured.spans
    assert "ml.features" not in flat.attributes
    assert flat.attributes["ml.feature.f63"] == 63
    assert mapped.attributes["ml.features"]["f64"] == 64
    assert [len(seen.features) for seen in captured.predictions] == [64, 65]


def test_a_row_of_5000_features_is_bounded_and_keeps_the_name(captured: Captured) -> None:
    model = Model("m", config=Config(max_span_bytes=65_536))
    with model.predict({f"f{i}": "ü" * 300 for i in range(5000)}):
        pass
    [span] = captured.spans
    assert span.attributes["ml.model.name"] == "m"
    assert span.dropped_attributes == 0
    assert 10 < len(span.attributes["ml.features"]) < 100


def test_segments_and_attributions_never_push_attributes_out(captured: Captured) -> None:
    row = {f"f{i}": float(i) for i in range(60)}
    with Model("m").predict(row, segments={f"s{i}": "x" for i in range(200)}) as prediction:
        prediction.record(class_="a", score=0.5, attributions={f"f{i}": float(i) for i in range(200)})
    [span] = captured.spans
    assert span.dropped_attributes == 0
    assert len(span.attributes) <= 128
    assert len(captured.predictions[0].features) == 60
    assert captured.predictions[0].attributions["f199"] == 199.0
    assert "f0" not in captured.predictions[0].attributions


@pytest.mark.parametrize("limited", ["in code", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"])
def test_a_lower_limit_on_attributes_costs_no_feature(limited: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if limited != "in code":
        monkeypatch.setenv(limited, "8")
    exporter = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=8) if limited == "in code" else None
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Model("m", tracer_provider=provider).predict({f"f{i}": i for i in range(40)}):
        pass
    [span] = exporter.get_finished_spans()
    assert span.attributes["ml.model.name"] == "m"
    assert span.attributes["ml.feature.f0"] == 0
    assert span.dropped_attributes == 0


@pytest.mark.parametrize("limited", ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
@pytest.mark.parametrize("limit", ["0", "1", "48"])
def test_a_limit_on_the_length_of_values_breaks_no_join(
    limited: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limited, limit)
    with capture() as captured:
        model = Model("m")
        with model.predict({"city": "Berlin"}, segments={"plan": "basic"}) as one:
            one.record(class_="delayed", scores={"delayed": 0.9, "on time": 0.1})
        with model.predict({"city": ["Berlin", "Paris"]}, id=["order-1", "order-2"]) as many:
            many.record(class_=["delayed", "on time"])
        model.label(one.id, class_="on time")
        model.labels(many.ids, classes=["on time", "delayed"])
    assert [seen.id for seen in captured.predictions] == [one.id, "order-1", "order-2"]
    assert [(label.id, label.class_) for label in captured.labels] == [
        (one.id, "on time"),
        ("order-1", "on time"),
        ("order-2", "delayed"),
    ]
    assert captured.predictions[0].features == {"city": "Berlin"}
    assert captured.predictions[0].segments == {"plan": "basic"}


def test_samplers_see_name_and_version() -> None:
    seen: list[dict[str, object]] = []

    class Spy(Sampler):
        def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
            seen.append(dict(attributes))
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

        def get_description(self) -> str:
            return "spy"

    with Model("m", version="2", tracer_provider=TracerProvider(sampler=Spy(), shutdown_on_exit=False)).predict({}):
        pass
    assert seen == [{"ml.model.name": "m", "ml.model.version": "2"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "a model needs a name"),
        ({"name": None}, "OTEL_ML_MODEL_NAME"),
        ({"name": "m", "task": "ranking"}, "task 'ranking' is unknown; allowed: binary_classification, multiclass"),
        ({"name": "m", "role": "king"}, "role 'king' is unknown; allowed: champion, challenger, shadow"),
        ({"name": "m", "features": "age"}, "features: 'age' is one text; give a list of names"),
        ({"name": "m", "segments": "age"}, "segments: 'age' is one text; give a list of names"),
    ],
)
def test_a_model_that_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model(**arguments)


def test_name_and_version_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "fraud")
    monkeypatch.setenv("OTEL_ML_MODEL_VERSION", "8")
    assert repr(Model()) == "Model('fraud', version='8')"
    assert repr(Model("other", version="1")) == "Model('other', version='1')"


def test_a_numpy_time_is_a_time(captured: Captured) -> None:
    with Model("m").predict({"a": 1}, time_ns=np.int64(5)):
        pass
    assert captured.spans[0].start_time == 5


def test_a_handle_travels_to_another_process_as_its_arguments(captured: Captured) -> None:
    model = Model("m", version="2", features=["a"], config=Config(features_bucket={"a": 10}))
    with pickle.loads(pickle.dumps(model)).predict([17]):
        pass
    with copy.deepcopy(model).predict([17]):
        pass
    assert [seen.features for seen in captured.predictions] == [{"a": 10}, {"a": 10}]
    assert {seen.version for seen in captured.predictions} == {"2"}
    own = Model("m", tracer_provider=TracerProvider(shutdown_on_exit=False))
    with pickle.loads(pickle.dumps(own)).predict({}):
        pass
    assert len(captured.predictions) == 3


def test_two_models_without_a_name_that_differ_are_reported_once(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "only one name")
    for _ in range(2):
        Model(task="regression", features=["rooms"])
        Model()
        Model(task="regression")
    assert not caplog.messages
    Model(features=["rooms", "area"])
    Model(task="binary_classification")
    [message] = caplog.messages
    assert "'only one name' of OTEL_ML_MODEL_NAME" in message


def test_which_features_leave_does_not_depend_on_missing_cells() -> None:
    config = Config(max_features=2)
    with capture() as captured, Model("m", config=config).predict({"a": None, "b": 1, "c": 2, "d": 3}):
        pass
    assert captured.predictions[0].features == {"b": 1}
