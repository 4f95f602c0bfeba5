"""Attributions of a sample of predictions: on the prediction's own span, with the weight, by hand and zero code."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from weakref import ref

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_ml import Config, Model
from otel_ml.explain.explainers import Explainer
from otel_ml.explain.sample import Sample
from otel_ml.frameworks.sklearn import SklearnInstrumentor
from otel_ml.semconv import ATTRIBUTIONS_WEIGHT, METRIC_ATTRIBUTIONS_DROPPED
from otel_ml.testing import Captured, capture

NAMES = list("abcdef")
DATA: Any = make_classification(400, 6, random_state=1)
MATRIX, TRUTH = DATA
FRAME = pd.DataFrame(MATRIX, columns=NAMES)


@pytest.fixture(scope="module")
def fitted() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TRUTH)


def by_id(captured: Captured) -> dict[str, dict[str, float]]:
    return {each.id: dict(each.attributions) for each in captured.predictions}


def expected(model: Any, rows: Any) -> list[dict[str, float]]:
    names, phi = Explainer(model)(rows)
    return [dict(zip(names, map(float, row), strict=True)) for row in phi]


def test_rows_of_the_sample_carry_their_attributions_and_weight(fitted: Any) -> None:
    with capture() as captured:
        model = Model("loans", explainer=fitted, config=Config(explain="1 in 3"))
        for row in range(60):
            with model.predict(FRAME.iloc[row].to_dict(), id=f"order-{row}") as prediction:
                prediction.record(score=0.5)
        seen, spans = by_id(captured), captured.spans
    whole, sample = expected(fitted, FRAME[:60]), Sample(3)
    assert 10 < sum(map(bool, seen.values())) < 30
    for row in range(60):
        key = f"order-{row}"
        assert seen[key] == (pytest.approx(whole[row], rel=1e-12) if sample.chooses(key) else {})
    for span in spans:
        assert span.attributes is not None
        assert span.attributes.get(ATTRIBUTIONS_WEIGHT) == (3.0 if seen[span.attributes["ml.prediction.id"]] else None)
        assert len(span.attributes) < 30, "features, and all else, are there too"


def test_rows_of_a_batch_are_explained_where_they_are(fitted: Any) -> None:
    frame = FRAME.copy()
    with capture() as captured:
        model = Model("loans", explainer=fitted, config=Config(explain=4))
        ids, scores = [f"order-{row}" for row in range(400)], np.linspace(0, 1, 400)
        with model.predict(frame, id=ids) as prediction:
            prediction.record(score=scores)
        frame["a"], scores[:], ids[0] = -99.0, -1.0, "changed"
        seen = {each.id: each for each in captured.predictions}
    assert list(seen) == [f"order-{row}" for row in range(400)]
    whole, was = expected(fitted, FRAME), np.linspace(0, 1, 400)
    for row, each in enumerate(seen.values()):
        assert each.attributions == (pytest.approx(whole[row], rel=1e-12) if Sample(4).chooses(each.id) else {})
        assert (each.score, each.features["a"]) == (was[row], MATRIX[row, 0]), "as they were at the end of the call"


def test_a_batch_without_ids_of_its_own_and_cut_into_spans(fitted: Any) -> None:
    with capture() as captured:
        model = Model("loans", explainer=fitted, config=Config(explain="1 in 5", max_span_bytes=8000))
        with model.predict(FRAME) as prediction:
            prediction.record(score=np.full(400, 0.5))
        seen, spans = by_id(captured), captured.spans
        assert list(seen) == prediction.ids
    assert len(spans) > 2
    whole = expected(fitted, FRAME)
    for row, (key, phi) in enumerate(seen.items()):
        assert phi == (pytest.approx(whole[row], rel=1e-12) if Sample(5).chooses(key) else {})


def test_the_call_ends_when_it_ends_and_explains_elsewhere() -> None:
    threads: list[str] = []
    may_go = threading.Event()

    def slow(table: Any) -> Any:
        assert may_go.wait(30)
        threads.append(threading.current_thread().name)
        return np.ones((1, 2))

    with capture() as captured:
        model = Model("loans", explainer=slow, config=Config(explain="1 in 1"))
        with model.predict({"a": 1, "b": 2}) as prediction:
            prediction.record(score=0.5)
        may_go.set()
        [span] = captured.spans
        assert threads == ["otel-ml-explain"]
        assert span.attributes is not None
        assert (span.attributes["ml.attribution.a"], span.attributes[ATTRIBUTIONS_WEIGHT]) == (1.0, 1.0)
        assert span.end_time is not None
        assert span.start_time is not None
        [duration] = captured.metric("ml.prediction.duration")
        assert (span.end_time - span.start_time) / 1e9 == pytest.approx(duration.value, abs=1e-6)


def test_an_explainer_explains_one_in_a_hundred_by_default_and_can_be_turned_off(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"order-{row}" for row in range(400)]

    def explained() -> int:
        with capture() as captured, Model("loans", explainer=fitted).predict(FRAME, id=ids) as prediction:
            prediction.record(score=np.full(400, 0.5))
        return sum(map(bool, by_id(captured).values()))

    assert explained() == sum(map(Sample(100).chooses, ids)) > 0
    monkeypatch.setenv("OTEL_ML_EXPLAIN", "off")
    assert explained() == 0
    monkeypatch.setenv("OTEL_ML_EXPLAIN", "1 in 1")
    assert explained() == 400


@pytest.mark.parametrize("config", [Config(capture_features=False), Config(features_deny=["b"])])
def test_what_may_not_leave_has_no_attributions_either(fitted: Any, config: Config) -> None:
    with capture() as captured:
        model = Model("loans", explainer=fitted, config=replace(config, explain=1))
        with model.predict(FRAME.iloc[0].to_dict()) as prediction:
            prediction.record(score=0.5)
        [seen] = captured.predictions
    assert set(seen.attributions) == (set() if config.capture_features is False else set("acdef"))


def test_many_features_become_a_map_so_that_attributions_have_room() -> None:
    names = [f"f{place}" for place in range(60)]
    with capture() as captured:
        model = Model("wide", explainer=lambda _: np.ones((1, 60)), config=Config(explain=1))
        with model.predict(dict.fromkeys(names, 1.0)) as prediction:
            prediction.record(score=0.5)
        [seen] = captured.predictions
    assert (len(seen.features), len(seen.attributions)) == (60, 60)


def test_a_model_that_cannot_be_explained_is_reported_once_and_its_predictions_are_sent(caplog: Any) -> None:
    with capture() as captured:
        model = Model("near", explainer=KNeighborsClassifier().fit(FRAME, TRUTH), config=Config(explain=1))
        for row in range(3):
            with model.predict(FRAME.iloc[row].to_dict()) as prediction:
                prediction.record(score=0.5)
            assert len(captured.spans) == row + 1
        [dropped] = captured.metric(METRIC_ATTRIBUTIONS_DROPPED)
    assert dict(dropped.attributes) == {"ml.model.name": "near", "error.type": "UnexplainedError"}
    assert dropped.value == 1, "it is not tried again"
    assert "has no attributions; pass a function that returns them" in caplog.text


def test_attributions_of_the_application_take_precedence(fitted: Any) -> None:
    with capture() as captured:
        with Model("loans", explainer=fitted, config=Config(explain=1)).predict({"a": 1.0}) as prediction:
            prediction.record(score=0.5, attributions={"a": 7.0})
        [seen] = captured.predictions
    assert seen.attributions == {"a": 7.0}


@pytest.fixture
def instrumented(monkeypatch: pytest.MonkeyPatch) -> Iterator[Captured]:
    monkeypatch.setenv("OTEL_ML_EXPLAIN", "1 in 1")
    with capture() as captured:
        SklearnInstrumentor().instrument()
        yield captured
        SklearnInstrumentor().uninstrument()


def test_zero_code_explains_a_pipeline_and_observes_nothing_while_it_does(instrumented: Captured, fitted: Any) -> None:
    fitted.predict_proba(FRAME[:1])
    fitted.predict_proba(FRAME[:5])
    fitted.predict(FRAME[:1])
    assert len(instrumented.spans) == 3
    seen = [dict(each.attributions) for each in instrumented.predictions]
    whole = expected(fitted, FRAME[:5])
    assert seen == [pytest.approx(row, rel=1e-12) for row in (whole[0], *whole, whole[0])]


def test_zero_code_explains_boosted_trees(instrumented: Captured) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1).fit(FRAME, TRUTH)
    model.predict_proba(FRAME[:3])
    [*seen] = instrumented.predictions
    assert [each.attributions for each in seen] == [pytest.approx(row) for row in expected(model, FRAME[:3])]


def test_a_refitted_model_is_explained_as_it_is_now(instrumented: Captured) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TRUTH)
    model.predict_proba(FRAME[:1])
    assert len(instrumented.spans) == 1
    model.fit(FRAME, 1 - TRUTH)
    model.predict_proba(FRAME[:1])
    before, after = (dict(each.attributions) for each in instrumented.predictions)
    assert after == pytest.approx({name: -phi for name, phi in before.items()}, rel=1e-6)


@pytest.mark.parametrize("kind", ["linear", "lightgbm", "forest"])
def test_an_explained_model_can_be_forgotten(instrumented: Captured, kind: str) -> None:
    if kind == "linear":
        model: Any = make_pipeline(StandardScaler(), LogisticRegression())
    elif kind == "lightgbm":
        model = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=9, verbose=-1)
    else:
        pytest.importorskip("shap")
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(5)
    model.fit(FRAME, TRUTH)
    model.predict_proba(FRAME[:1])
    [seen] = instrumented.predictions
    assert seen.attributions
    gone = ref(model)
    del model
    gc.collect()
    assert gone() is None
