"""What is recorded of boosters, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_ml import problems
from otel_ml.testing import Captured, capture

lightgbm = pytest.importorskip("lightgbm", exc_type=ImportError)
sparse = pytest.importorskip("scipy.sparse", exc_type=ImportError)

from otel_ml.frameworks.lightgbm import LightGBMInstrumentor  # noqa: E402 - after what skips this file

RNG = np.random.default_rng(1)
X = RNG.random((80, 3))
Y = (X[:, 0] > 0.5).astype(int)
FRAME = pd.DataFrame(X, columns=["age", "calls", "paid"])


def trained(objective: Any = "binary", table: Any = FRAME, labels: Any = Y) -> Any:
    params = {"objective": objective, "verbose": -1, "num_threads": 1}
    return lightgbm.train(params, lightgbm.Dataset(table, labels), 2)


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = LightGBMInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, sparse.csr_matrix, sparse.csc_matrix, list])
def test_missing_is_missing_and_zero_is_zero(form: Any, captured: Captured) -> None:
    rows = [[0.0, float("nan"), 1.5], [2.0, 0.0, 0.0]]
    table = pd.DataFrame(rows, columns=FRAME.columns) if form is pd.DataFrame else form(rows)
    result = trained().predict(table)
    assert [dict(row.features) for row in captured.predictions] == [
        {"age": 0.0, "paid": 1.5},
        {"age": 2.0, "calls": 0.0, "paid": 0.0},
    ]
    assert [row.score for row in captured.predictions] == result.tolist()


def test_the_class_is_that_of_lgbmclassifier(captured: Captured) -> None:
    classifier = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, Y)
    classifier.booster_.predict(X)
    assert [row.class_ for row in captured.predictions] == [str(label) for label in classifier.predict(X)]


def test_scikit_learns_classes_are_left_to_its_instrumentation(captured: Captured) -> None:
    classifier = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, Y)
    classifier.predict(X[:1])
    classifier.predict_proba(X[:1])
    assert captured.spans == ()


def own(scores: Any, data: Any) -> tuple[Any, Any]:
    return scores - data.get_label(), scores * 0 + 1


def test_raw_scores_of_an_own_objective_are_left_out_and_said_once(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    booster = trained(own)
    for _ in range(2):
        booster.predict(X[:2])
    assert captured.spans == ()
    assert caplog.text.count("an objective of the application returns raw scores") == 1


def test_a_booster_without_names_has_numbered_features(captured: Captured) -> None:
    trained(table=X).predict(X[:1])
    assert list(captured.predictions[0].features) == ["x0", "x1", "x2"]


def test_a_large_sparse_table_is_predicted_without_features(
    captured: Captured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_ml.frameworks.calls.DENSE_CELLS", 5)
    trained().predict(sparse.csr_matrix(X[:4]))
    assert [(dict(row.features), row.score is not None) for row in captured.predictions] == [({}, True)] * 4
    assert "is predicted without features" in caplog.text


@pytest.mark.parametrize("objective", ["regression_l1", "poisson", "tweedie", "quantile", "cross_entropy"])
def test_every_other_objective_is_a_regression(objective: str, captured: Captured) -> None:
    result = trained(objective).predict(X[:3])
    assert [row.value for row in captured.predictions] == result.tolist()
    assert captured.spans[0].attributes["ml.model.task"] == "regression"
