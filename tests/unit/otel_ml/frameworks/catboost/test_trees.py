"""What is recorded of CatBoost's models, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_ml import problems
from otel_ml.testing import Captured, capture

catboost = pytest.importorskip("catboost", exc_type=ImportError)

from otel_ml.frameworks.catboost import CatBoostInstrumentor  # noqa: E402 - after what skips this file

PARAMS: Any = {"iterations": 3, "depth": 2, "thread_count": 1, "verbose": False, "allow_writing_files": False}
X = np.random.default_rng(1).random((80, 2))
Y = (X[:, 0] > 0.5).astype(int)
FRAME = pd.DataFrame(X, columns=["age", "calls"])


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = CatBoostInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    instrumentor.uninstrument()


@pytest.mark.parametrize("form", ["array", "frame", "lists", "pool", "pool of a frame"])
def test_missing_is_missing_and_zero_is_zero(form: str, captured: Captured) -> None:
    rows = [[0.0, float("nan")], [2.0, 0.0]]
    frame = pd.DataFrame(rows, columns=FRAME.columns)
    table: Any = {
        "array": np.array(rows),
        "frame": frame,
        "lists": rows,
        "pool": lambda: catboost.Pool(np.array(rows)),
        "pool of a frame": lambda: catboost.Pool(frame),
    }[form]
    model = catboost.CatBoostRegressor(**PARAMS).fit(FRAME, X[:, 1])
    model.predict(table() if callable(table) else table)
    assert [dict(row.features) for row in captured.predictions] == [{"age": 0.0}, {"age": 2.0, "calls": 0.0}]


def test_a_model_without_names_has_numbered_features(captured: Captured) -> None:
    model = catboost.CatBoostRegressor(**PARAMS).fit(X, X[:, 1])
    model.predict(X[0])
    model.predict(catboost.Pool(X[:1]))
    assert [list(row.features) for row in captured.predictions] == [["x0", "x1"]] * 2


def test_a_pool_with_categories_is_predicted_without_features(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    table = FRAME.assign(plan=["basic", "plus"] * 40)
    model = catboost.CatBoostClassifier(**PARAMS, cat_features=["plan"]).fit(table, Y)
    for _ in range(2):
        model.predict(catboost.Pool(table[:1], cat_features=["plan"]))
    assert [(dict(row.features), row.class_ is None) for row in captured.predictions] == [({}, False)] * 2
    assert caplog.text.count("a pool with categories or texts is predicted without features") == 1


def test_the_threshold_decides_the_class_as_in_predict(captured: Captured) -> None:
    model = catboost.CatBoostClassifier(**PARAMS).fit(X, Y)
    model.set_probability_threshold(0.25)
    model.predict_proba(X)
    probable = [row.class_ for row in captured.predictions]
    captured.clear()
    model.predict(X)
    assert probable == [row.class_ for row in captured.predictions]
    assert captured.spans[0].attributes["ml.model.threshold"] == 0.25


@pytest.mark.parametrize("loss", ["Poisson", "RMSEWithUncertainty", "MAE"])
def test_values_are_those_of_the_regressor(loss: str, captured: Captured) -> None:
    model = catboost.CatBoostRegressor(**PARAMS, loss_function=loss).fit(X, X[:, 1])
    result = model.predict(X[:3])
    expected = result[:, 0] if loss == "RMSEWithUncertainty" else result
    assert [row.value for row in captured.predictions] == expected.tolist()
    model.predict(X[0])
    assert captured.predictions[-1].value == expected[0]


def test_logarithms_of_values_are_left_out(captured: Captured) -> None:
    catboost.CatBoost({**PARAMS, "loss_function": "Poisson"}).fit(X, X[:, 1]).predict(X[:2])
    assert captured.spans == ()


@pytest.mark.parametrize("loss", ["MultiRMSE", "QueryRMSE"])
def test_what_is_no_prediction_is_said_once(loss: str, captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    labels, groups = (X, None) if loss == "MultiRMSE" else (Y, [0] * 40 + [1] * 40)
    model = catboost.CatBoost({**PARAMS, "loss_function": loss})
    model.fit(catboost.Pool(X, labels, group_id=groups))
    for _ in range(2):
        model.predict(X[:2])
    assert captured.spans == ()
    assert caplog.text.count("a CatBoost is not observed") == 1


def test_the_version_is_the_guid_and_survives_a_file(captured: Captured, tmp_path: Path) -> None:
    model = catboost.CatBoostClassifier(**PARAMS).fit(X, Y)
    model.save_model(str(tmp_path / "model.cbm"))
    catboost.CatBoostClassifier().load_model(str(tmp_path / "model.cbm")).predict(X[:1])
    assert captured.predictions[0].version == model.get_metadata()["model_guid"] != ""


def test_a_model_that_is_fitted_again_is_described_again(captured: Captured) -> None:
    model = catboost.CatBoostClassifier(**PARAMS).fit(X, Y)
    model.predict(X[:1])
    model.fit(FRAME, np.where(Y, "yes", "no"))
    model.predict_proba(X[:1])
    first, second = captured.predictions
    assert (list(first.features), list(second.features)) == (["x0", "x1"], ["age", "calls"])
    assert set(second.scores or {}) == {"yes", "no"}
    assert first.version != second.version
