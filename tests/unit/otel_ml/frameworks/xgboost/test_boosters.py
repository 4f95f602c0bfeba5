"""What is recorded of boosters: missing is missing, zero is zero, categories are texts; and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml import problems
from otel_ml.testing import Captured, capture

xgboost = pytest.importorskip("xgboost", exc_type=ImportError)
scipy_sparse = pytest.importorskip("scipy.sparse", exc_type=ImportError)

from otel_ml.frameworks.xgboost import XGBoostInstrumentor  # noqa: E402 - after what skips this file

RNG = np.random.default_rng(1)
X = RNG.random((60, 3))
Y = (X[:, 0] > 0.5).astype(int)
NAMES = ["age", "calls", "paid"]


def trained(objective: str = "binary:logistic", labels: Any = Y, names: Any = NAMES, **params: Any) -> Any:
    matrix = xgboost.DMatrix(X, labels, feature_names=names, nthread=1)
    return xgboost.train({"objective": objective, "nthread": 1, **params}, matrix, 2)


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = XGBoostInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


CELLS = st.one_of(st.just(0.0), st.just(float("nan")), st.floats(-5, 5, width=32))


@settings(deadline=None, max_examples=40)
@given(table=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_every_way_to_give_cells_records_the_same_ones(table: list[list[float]]) -> None:
    booster, array = trained(), np.array(table, np.float32)
    expected = [
        {name: cell for name, cell in zip(NAMES, row, strict=True) if cell == cell} for row in array.astype(float)
    ]
    stored = np.isfinite(array)
    rows, columns = np.nonzero(stored)
    sparse = scipy_sparse.csr_matrix((array[stored], (rows, columns)), shape=array.shape)
    instrumentor = XGBoostInstrumentor()
    instrumentor.instrument()
    try:
        with capture() as captured:
            for call in (
                lambda: booster.inplace_predict(array),
                lambda: booster.inplace_predict(sparse),
                lambda: booster.inplace_predict(np.nan_to_num(array, nan=-9), missing=-9),
                lambda: booster.inplace_predict(pd.DataFrame(array, columns=NAMES).fillna(-9), missing=-9),
                lambda: booster.predict(xgboost.DMatrix(array, feature_names=NAMES, nthread=1)),
                lambda: booster.predict(xgboost.DMatrix(sparse, feature_names=NAMES, nthread=1)),
            ):
                captured.clear()
                result = call()
                assert [dict(row.features) for row in captured.predictions] == expected
                assert [row.score for row in captured.predictions] == pytest.approx(result.tolist())
    finally:
        instrumentor.uninstrument()


def test_the_class_is_that_of_xgbclassifier(captured: Captured) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(X, Y)
    captured.clear()
    classifier.get_booster().inplace_predict(X)
    assert [row.class_ for row in captured.predictions] == [str(label) for label in classifier.predict(X)]


def test_scikit_learns_classes_are_left_to_its_instrumentation(captured: Captured) -> None:
    classifier = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(X, Y)
    classifier.predict(X[:1])
    classifier.predict_proba(X[:1])
    xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(X, Y).predict(X[:1])
    assert captured.spans == ()


def test_codes_of_an_application_are_their_texts(captured: Captured) -> None:
    codes = np.array([[0.5, 2.0], [np.nan, 0.0], [0.5, np.nan]])
    types = ["float", "c"]
    train = xgboost.DMatrix(codes, [0, 1, 1], feature_types=types, feature_names=["age", "plan"], nthread=1)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, train, 1)
    booster.predict(xgboost.DMatrix(codes, feature_types=types, feature_names=["age", "plan"], nthread=1))
    assert [dict(row.features) for row in captured.predictions] == [
        {"age": 0.5, "plan": "2"},
        {"plan": "0"},
        {"age": 0.5},
    ]


@pytest.mark.parametrize("objective", ["rank:pairwise", "binary:logitraw"])
def test_what_is_no_prediction_is_said_once(
    objective: str, captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    booster = trained(objective)
    for _ in range(2):
        booster.inplace_predict(X[:2])
    assert captured.spans == ()
    assert caplog.text.count(f"what the objective {objective} returns") == 1


def test_several_outputs_are_left_out(captured: Captured) -> None:
    trained("reg:squarederror", np.stack([Y, Y], axis=1)).inplace_predict(X[:2])
    trained("reg:quantileerror", Y, quantile_alpha=[0.1, 0.9]).inplace_predict(X[:2])
    assert captured.spans == ()


@pytest.mark.parametrize("kind", ["quantized", "large"])
def test_a_matrix_whose_cells_cannot_be_had_has_predictions_without_features(
    kind: str, captured: Captured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "large":
        monkeypatch.setattr("otel_ml.frameworks.xgboost.boosters.DENSE_CELLS", 5)
    make = xgboost.DMatrix if kind == "large" else xgboost.QuantileDMatrix
    trained().predict(make(X[:4], feature_names=NAMES, nthread=1))
    assert [(dict(row.features), row.score is not None) for row in captured.predictions] == [({}, True)] * 4
    assert "a large or quantized DMatrix is predicted without features" in caplog.text


def test_what_changes_a_booster_changes_its_plan(captured: Captured) -> None:
    booster = trained()
    booster.inplace_predict(X[:1])
    booster.set_attr(version="8")
    booster.inplace_predict(X[:1])
    booster.feature_names = ["a", "b", "c"]
    booster.inplace_predict(X[:1])
    other = trained("reg:squarederror")
    booster.load_model(other.save_raw())
    booster.inplace_predict(X[:1])
    assert [(row.version, next(iter(row.features)), row.value is None) for row in captured.predictions] == [
        ("", "age", True),
        ("8", "age", True),
        ("8", "a", True),
        ("", "age", False),
    ]


def test_a_booster_without_names_has_numbered_features(captured: Captured) -> None:
    booster = trained(names=None)
    booster.inplace_predict(X[:1])
    booster.predict(xgboost.DMatrix(X[:1], nthread=1))
    assert [list(row.features) for row in captured.predictions] == [["x0", "x1", "x2"]] * 2
