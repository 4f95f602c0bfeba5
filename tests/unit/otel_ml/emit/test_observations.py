"""Feature values counted by reference bucket, whether or not features may leave."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import TraceState

from otel_ml import Config, Model, problems
from otel_ml.config import Settings
from otel_ml.emit.buckets import categorical_buckets, numeric_buckets
from otel_ml.emit.observations import Observations
from otel_ml.emit.profile import Profile, load_profile, read_profile
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.shape import Features
from otel_ml.testing import Captured, capture

CONTENT = {
    "format": "otel-ml-reference/1",
    "model": "m",
    "buckets": {
        "age": {"kind": "numeric", "edges": [18, 65.5]},
        "city": {"kind": "categorical", "categories": ["Bern", "7", "true"]},
    },
}


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(CONTENT))
    return str(path)


def counted(captured: Captured) -> dict[tuple[str, str], float]:
    return {
        (point.attributes["ml.feature.name"], point.attributes["ml.feature.bucket"]): point.value
        for point in captured.metric("ml.feature.observations")
    }


@pytest.mark.parametrize(
    ("row", "age", "city"),
    [
        ({"age": 17.9, "city": "Bern"}, "(-inf,18)", "Bern"),
        ({"age": 18, "city": 7}, "[18,65.5)", "7"),
        ({"age": 65.5, "city": 7.0}, "[65.5,+inf)", "7"),
        ({"age": math.inf, "city": True}, "[65.5,+inf)", "true"),
        ({"age": -math.inf, "city": "Rome"}, "(-inf,18)", "other"),
        ({"age": math.nan, "city": None}, "missing", "missing"),
        ({"age": "old", "city": ["x"]}, "wrong_type", "missing"),
        ({"age": True, "city": pd.NA}, "wrong_type", "missing"),
        ({"age": ["x"], "city": 0.5}, "missing", "wrong_type"),
        ({"age": 10**400, "city": 10**400}, "[65.5,+inf)", "wrong_type"),
        ({"age": np.float32(20), "city": np.str_("Bern")}, "[18,65.5)", "Bern"),
        ({}, "missing", "missing"),
    ],
)
def test_a_value_falls_into_its_bucket(
    captured: Captured, profile: str, row: dict[str, object], age: str, city: str
) -> None:
    with Model("m", reference=profile).predict(row):
        pass
    assert counted(captured) == {("age", age): 1, ("city", city): 1}


BATCHES = {
    "numpy": {"age": np.array([17, 18, 70, math.nan]), "city": np.array(["Bern", "Bern", "x", None], dtype=object)},
    "lists": {"age": [17, 18, 70, None], "city": ["Bern", "Bern", "x", None]},
    "pandas": pd.DataFrame({"age": [17, 18, 70, None], "city": ["Bern", "Bern", "x", None]}),
    "pandas categories": pd.DataFrame(
        {"age": pd.array([17, 18, 70, None], "Int64"), "city": pd.Categorical(["Bern", "Bern", "x", None])}
    ),
    "polars": pl.DataFrame({"age": [17, 18, 70, None], "city": ["Bern", "Bern", "x", None]}),
    "arrow": pa.table({"age": [17, 18, 70, None], "city": ["Bern", "Bern", "x", None]}),
}


@pytest.mark.parametrize("library", BATCHES)
def test_many_rows_count_as_one_by_one(captured: Captured, profile: str, library: str) -> None:
    with Model("m", reference=profile).predict(BATCHES[library]):
        pass
    assert counted(captured) == {
        ("age", "(-inf,18)"): 1,
        ("age", "[18,65.5)"): 1,
        ("age", "[65.5,+inf)"): 1,
        ("age", "missing"): 1,
        ("city", "Bern"): 2,
        ("city", "other"): 1,
        ("city", "missing"): 1,
    }


def test_numbers_by_column_agree_with_numbers_by_row() -> None:
    buckets = numeric_buckets([0.0, 0.1, 0.30000000000000004, 5])
    cells = np.concatenate([np.random.default_rng(1).normal(0, 3, 500), [0.0, 0.1, math.inf, -math.inf, math.nan]])
    one_by_one = [0] * len(buckets.labels)
    for cell in cells.tolist():
        one_by_one[buckets.place(cell)] += 1
    assert list(buckets.counts(cells)) == one_by_one


def test_a_feature_without_a_column_is_missing_in_every_row(captured: Captured, profile: str) -> None:
    with Model("m", reference=profile).predict({"age": [1, 2]}):
        pass
    assert counted(captured)["city", "missing"] == 2


def test_counting_needs_neither_capture_nor_sampling(profile: str) -> None:
    with capture(sampler=ALWAYS_OFF) as captured:
        with Model("m", reference=profile, config=Config(capture_features=False, follow_sampler=True)).predict(
            {"age": 20}
        ):
            pass
        assert captured.spans == ()
        assert counted(captured)["age", "[18,65.5)"] == 1


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (Config(features_deny=["city"]), {"age"}),
        (Config(features_allow=["age"]), {"age"}),
        (Config(features_hash=["city"], hash_salt="p"), {"age"}),
        (Config(features_bucket={"age": 10}), {"age", "city"}),
    ],
)
def test_what_may_not_be_read_is_not_counted(captured: Captured, profile: str, config: Config, names: set[str]) -> None:
    with Model("m", reference=profile, config=config).predict({"age": 20, "city": "Bern"}):
        pass
    assert {name for name, _ in counted(captured)} == names


def test_counts_add_up_over_calls_and_over_handles_of_one_model(captured: Captured, profile: str) -> None:
    models = [Model("m", reference=profile), Model("m", reference=profile)]
    for model in models:
        for _ in range(2):
            with model.predict({"age": 20, "city": "Bern"}):
                pass
    assert counted(captured) == {("age", "[18,65.5)"): 4, ("city", "Bern"): 4}


def test_series_carry_the_models_identity(captured: Captured, profile: str) -> None:
    model = Model("m", version="2", reference=profile)
    with model.predict({"age": 20}):
        pass
    attributes = captured.metric("ml.feature.observations")[0].attributes
    assert attributes["ml.model.name"] == "m"
    assert attributes["ml.model.version"] == "2"


def test_a_variable_names_the_profile_of_its_model_only(
    captured: Captured, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_ML_REFERENCE", profile)
    models = [Model("m"), Model("other")]
    for model in models:
        with model.predict({"age": 20}):
            pass
    assert counted(captured)["age", "[18,65.5)"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "not a reference profile of format 'otel-ml-reference/1'"),
        ('{"format": "other"}', "not a reference profile"),
        ('{"format": "otel-ml-reference/1"}', "malformed 'buckets'"),
        ('{"format": "otel-ml-reference/1", "buckets": {"a": {}}}', "malformed 'buckets'"),
        ('{"format": "otel-ml-reference/1", "buckets": {"a": 1}}', "malformed 'buckets'"),
        ('{"format": "otel-ml-reference/1", "buckets": {"a": {"kind": "odd"}}}', "allowed: numeric, categorical"),
        ('{"format": "otel-ml-reference/1", "buckets": {"a": {"kind": "numeric", "edges": [2, 1]}}}', "ascend"),
        ('{"format": "otel-ml-reference/1", "buckets": {"a": {"kind": "numeric", "edges": [NaN]}}}', "finite"),
    ],
)
def test_a_bad_profile_says_why_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_profile(str(path))
    assert load_profile(Settings(reference=str(path)), "m") is None
    assert "model 'm': features are not counted" in caplog.text


def test_a_missing_profile_stops_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with Model("m", reference=str(tmp_path / "none.json")).predict({"age": 1}):
        pass
    assert "No such file" in caplog.text


def test_labels_are_distinct() -> None:
    close = numeric_buckets([1_700_000_000.0, 1_700_000_001.0])
    assert len(set(close.labels)) == len(close.labels)
    assert close.labels[1] == "[1700000000,1700000001)"
    assert numeric_buckets([]).place(5) == 0
    assert numeric_buckets([]).counts(np.ones(3))[0] == 3
    named = categorical_buckets(["a", "other", "missing", "a"])
    assert named.labels == ("a", "=other", "=missing", "other", "wrong_type", "missing")
    assert named.labels[named.place("other")] == "=other"
    assert named.place(None) == named.missing


ONE = Features(1, row={"a": 1})


def counts(observations: Observations) -> list[tuple[str, str, int]]:
    return [(each.name, each.bucket, each.total) for each in observations.read()]


def test_a_long_text_is_the_category_that_it_is_cut_to() -> None:
    buckets = categorical_buckets(["x" * 256, "é" * 128, "Bern"])
    assert [buckets.place(text) for text in ("x" * 300, "é" * 200, "Bern\ud800")] == [0, 1, buckets.other]


def test_threads_lose_no_count() -> None:
    observations = Observations(Profile("", {"a": numeric_buckets([0])}), Redaction(Settings()))

    def work() -> None:
        for _ in range(500):
            observations.add_features(ONE, sent=True)
            observations.add_features(Features(2, columns={"a": [1, -1]}), sent=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(observations) == [("a", "(-inf,0)", 2000), ("a", "[0,+inf)", 4000)]


def test_a_column_of_another_length_is_missing_as_in_a_span() -> None:
    observations = Observations(Profile("", {"a": numeric_buckets([0])}), Redaction(Settings()))
    observations.add_features(Features(2, columns={"a": [1]}), sent=True)
    assert counts(observations) == [("a", "missing", 2)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_at_zero_though_the_lock_was_held() -> None:
    observations = Observations(Profile("", {"a": numeric_buckets([0])}), Redaction(Settings()))
    observations.add_features(ONE, sent=True)
    reader, writer = os.pipe()
    with observations._lock:
        child = os.fork()
        if child == 0:
            observations.add_features(ONE, sent=True)
            os.write(writer, repr(counts(observations)).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == "[('a', '[0,+inf)', 1)]"
    os.waitpid(child, 0)


def test_counts_outlive_the_handle_and_are_bounded(
    captured: Captured, profile: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("otel_ml.emit.instruments.MAX_OBSERVED", 2)
    for name in ("a", "b", "c", "a"):
        with Model(name, reference=profile).predict({"age": 20, "city": "Bern"}):
            pass
    found = {
        (point.attributes["ml.model.name"], point.value)
        for point in captured.metric("ml.feature.observations")
        if point.attributes["ml.feature.name"] == "age"
    }
    assert found == {("a", 2), ("b", 1)}
    assert caplog.text.count("features of 2 models are counted") == 1


class Alternately(Sampler):
    """Samples every second trace; a sampled span says that it stands for two if there is a threshold."""

    def __init__(self, threshold: str) -> None:
        self._state = TraceState([("ot", threshold)]) if threshold else None
        self._calls = 0

    def should_sample(self, *arguments: object, **more: object) -> SamplingResult:
        self._calls += 1
        if self._calls % 2:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, trace_state=self._state)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return "Alternately"


def by_span(captured: Captured, name: str) -> dict[bool, float]:
    found: dict[bool, float] = {}
    for point in captured.metric(name):
        sent = bool(point.attributes["ml.observation.in_span"])
        found[sent] = found.get(sent, 0) + point.value
    return found


@pytest.fixture
def whole_profile(tmp_path: Path) -> str:
    content = {
        "format": "otel-ml-reference/1",
        "model": "m",
        "task": "binary_classification",
        "positive_class": "yes",
        "classes": {"names": ["no", "yes"]},
        "columns": {
            "age": {"kind": "numeric", "edges": [0, 18, 65.5, 99], "drift_edges": [1, 2, 2], "low": 1, "high": 98},
            "city": {"kind": "categorical", "categories": ["Bern", "missing"]},
        },
        "outputs": {
            "prediction": {"kind": "categorical", "categories": ["no", "yes"]},
            "score": {"kind": "numeric", "edges": [0, 0.5, 1], "drift_edges": [1], "low": 0.1, "high": 0.9},
        },
    }
    path = tmp_path / "whole.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("threshold", "follow", "capture_features", "features", "rows"),
    [
        ("", False, True, {True: 20}, {True: 10}),  # every call leaves in a span, whatever the sampler decides
        ("", False, False, {False: 20}, {True: 10}),
        ("", True, True, {True: 10, False: 10}, {True: 5, False: 5}),
        ("th:8", True, True, {True: 20}, {True: 10}),  # a sampled span stands for one that was dropped
        ("rv:12", True, True, {True: 10, False: 10}, {True: 5, False: 5}),
        ("th:8", True, False, {False: 20}, {True: 10}),
    ],
)
def test_a_count_says_whether_a_reader_of_spans_has_it_already(
    whole_profile: str,
    threshold: str,
    follow: bool,
    capture_features: bool,
    features: dict[bool, float],
    rows: dict[bool, float],
) -> None:
    config = Config(capture_features=capture_features, follow_sampler=follow)
    with capture(sampler=Alternately(threshold)) as captured:
        model = Model("m", reference=whole_profile, config=config)
        for _ in range(10):
            with model.predict({"age": 20, "city": "Bern"}):
                pass
        assert by_span(captured, "ml.feature.observations") == features
        counted = {
            sent: count / 3 for sent, count in by_span(captured, "ml.prediction.observations").items()
        }  # the prediction, its class and its score
        assert counted == rows


def test_outputs_errors_and_ends_of_the_range_are_counted(captured: Captured, whole_profile: str) -> None:
    model = Model("m", reference=whole_profile)
    with model.predict({"age": -5, "city": "missing"}) as prediction:
        prediction.record(class_=" yes", score=0.7)
    with contextlib.suppress(ZeroDivisionError), model.predict({"age": 99}) as prediction:
        prediction.record(class_="yes", score=0.7)
        raise ZeroDivisionError
    assert counted(captured) == {
        ("age", "(-inf,0)"): 1,
        ("age", "[99,+inf)"): 1,
        ("city", "=missing"): 1,
        ("city", "missing"): 1,
    }
    found = {
        tuple(
            point.attributes.get(key, "") for key in ("ml.column.role", "ml.prediction.bucket", "error.type")
        ): point.value
        for point in captured.metric("ml.prediction.observations")
    }
    assert found == {
        ("", "", ""): 1,
        ("", "", "ZeroDivisionError"): 1,
        ("prediction", "yes", ""): 1,
        ("score", "[0.5,1)", ""): 1,
    }


def test_errors_of_many_types_are_bounded(captured: Captured, whole_profile: str) -> None:
    model = Model("m", reference=whole_profile)
    for number in range(50):
        kind = type(f"Error{number}", (Exception,), {})
        with pytest.raises(kind), model.predict({"age": 20}):
            raise kind
    points = captured.metric("ml.prediction.observations")
    assert len(points) <= 23
    assert sum(point.value for point in points) == 50


def test_without_an_exporter_the_spans_go_nowhere_and_the_counts_say_so(whole_profile: str) -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    model = Model(
        "m",
        reference=whole_profile,
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        meter_provider=meters,
    )
    with model.predict({"age": 20}):
        pass
    collected = reader.get_metrics_data()
    assert collected is not None
    sent = {
        bool((point.attributes or {})["ml.observation.in_span"])
        for resource in collected.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.endswith(".observations")
        for point in metric.data.data_points
    }
    assert sent == {False}


@pytest.mark.parametrize(
    "change",
    [
        {"columns": {"age": {"kind": "numeric"}}},
        {"columns": {"age": {"kind": "numeric", "edges": [1], "drift_edges": ["x"], "low": 0, "high": 1}}},
        {"columns": {"age": {"kind": "odd", "categories": []}}},
        {"columns": []},
        {"outputs": None},
        {"classes": {}},
    ],
)
def test_a_whole_profile_that_is_malformed_is_refused(whole_profile: str, change: dict[str, object]) -> None:
    content = json.loads(Path(whole_profile).read_text())
    Path(whole_profile).write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=r"age|malformed|invalid literal"):
        read_profile(whole_profile)
