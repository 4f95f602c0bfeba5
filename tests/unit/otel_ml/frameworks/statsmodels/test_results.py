"""What is recorded of fitted results: names without the constant, missing cells, and the name of the wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otel_ml import name_model, problems
from otel_ml.testing import Captured, capture

api = pytest.importorskip("statsmodels.api", exc_type=ImportError)
formulas = pytest.importorskip("statsmodels.formula.api", exc_type=ImportError)

from otel_ml.frameworks.statsmodels import StatsmodelsInstrumentor  # noqa: E402 - after what skips this file

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame({"age": RNG.random(60), "calls": RNG.random(60)})
FRAME["paid"] = FRAME["age"] + RNG.random(60)
FRAME["plan"] = ["basic", "plus", "plus"] * 20
EXOG = api.add_constant(FRAME[["age", "calls"]])


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = StatsmodelsInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    instrumentor.uninstrument()


@pytest.mark.parametrize("form", ["frame", "array", "lists", "row", "row of an array"])
def test_features_are_named_and_the_constant_is_none(form: str, captured: Captured) -> None:
    row = EXOG.iloc[:1].assign(age=0.0)
    exog: Any = {
        "frame": row,
        "array": row.to_numpy(),
        "lists": row.to_numpy().tolist(),
        "row": row.iloc[0],
        "row of an array": row.to_numpy()[0],
    }[form]
    result = api.OLS(FRAME["paid"], EXOG).fit().predict(exog)
    [seen] = captured.predictions
    assert dict(seen.features) == {"age": 0.0, "calls": pytest.approx(FRAME["calls"][0])}
    assert seen.value == pytest.approx(np.asarray(result)[0])


def test_a_formula_has_the_columns_of_the_frame(captured: Captured) -> None:
    results = formulas.ols("paid ~ np.log1p(age) + C(plan)", FRAME, eval_env=0).fit()
    results.predict(FRAME[["age", "plan"]].iloc[:1])
    assert dict(captured.predictions[0].features) == {"age": pytest.approx(FRAME["age"][0]), "plan": "basic"}


def test_a_name_given_to_the_wrapper_counts(captured: Captured) -> None:
    results = api.OLS(FRAME["paid"], EXOG).fit()
    name_model(results, name="price", version="3")
    results.predict(EXOG[:1])
    assert (captured.predictions[0].model, captured.predictions[0].version) == ("price", "3")


def test_classes_of_a_multinomial_are_their_names(captured: Captured) -> None:
    results = api.MNLogit(FRAME["plan"], EXOG).fit(disp=0)
    probabilities = np.asarray(results.predict(EXOG[:2]))
    assert [list((row.scores or {}).items()) for row in captured.predictions] == [
        [("basic", pytest.approx(row[0])), ("plus", pytest.approx(row[1]))] for row in probabilities
    ]


def test_a_missing_cell_is_missing(captured: Captured) -> None:
    api.OLS(FRAME["paid"], EXOG).fit().predict([[1.0, float("nan"), 0.0]])
    assert dict(captured.predictions[0].features) == {"calls": 0.0}


def test_the_training_rows_are_no_predictions(captured: Captured) -> None:
    results = api.Poisson(np.arange(60) % 5, EXOG).fit(disp=0)
    results.predict()
    results.predict(EXOG[:2], which="prob")
    results.predict(EXOG[:2], which="linear")
    assert captured.spans == ()
