"""Attributions of real libraries: with their constant part they add up to what the model says, in any form of rows."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from otel_ml.explain.explainers import Explainer, UnexplainedError, linear

NAMES = list("abcdef")
DATA: Any = make_classification(400, 6, random_state=1)
MATRIX, TRUTH = DATA
FRAME = pd.DataFrame(MATRIX, columns=NAMES)
REGRESSED = make_regression(400, 6, random_state=1)[1]
FLOWERS: Any = load_iris(return_X_y=True)
IRIS, SPECIES = FLOWERS


def made(library: str, name: str, **arguments: Any) -> Any:
    return getattr(pytest.importorskip(library), name)(**arguments)


def log_odds(model: Any, rows: Any) -> Any:
    probability = model.predict_proba(rows)
    return np.log(probability[:, 1] / probability[:, 0])


def of_positive(model: Any, rows: Any) -> Any:
    return model.predict_proba(rows)[:, 1]


def differences(values: Any) -> Any:
    return values - values[0]


@pytest.mark.parametrize(
    ("library", "name", "truth", "raw"),
    [
        ("lightgbm", "LGBMClassifier", TRUTH, log_odds),
        ("lightgbm", "LGBMRegressor", REGRESSED, lambda model, rows: model.predict(rows)),
        ("xgboost", "XGBClassifier", TRUTH, log_odds),
        ("xgboost", "XGBRegressor", REGRESSED, lambda model, rows: model.predict(rows)),
    ],
)
def test_boosted_trees_add_up(library: str, name: str, truth: Any, raw: Any) -> None:
    quiet = {"verbose": -1} if library == "lightgbm" else {}
    model = made(library, name, n_estimators=20, **quiet).fit(FRAME, truth)
    names, phi = Explainer(model)(FRAME[:50])
    assert names == tuple(NAMES)
    expected = differences(raw(model, FRAME[:50]))
    assert differences(phi.sum(axis=1)) == pytest.approx(expected, abs=2e-4 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize(
    ("model", "truth", "raw"),
    [
        (RandomForestClassifier(20, random_state=1), TRUTH, of_positive),
        (RandomForestRegressor(20, random_state=1), REGRESSED, lambda model, rows: model.predict(rows)),
        (GradientBoostingClassifier(n_estimators=20), TRUTH, log_odds),
        (HistGradientBoostingRegressor(max_iter=20), REGRESSED, lambda model, rows: model.predict(rows)),
        (DecisionTreeRegressor(max_depth=4), REGRESSED, lambda model, rows: model.predict(rows)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_trees_of_scikit_learn_add_up(model: Any, truth: Any, raw: Any) -> None:
    pytest.importorskip("shap")
    model.fit(MATRIX, truth)
    names, phi = Explainer(model)(MATRIX[:50])
    assert names == tuple(f"x{place}" for place in range(6))
    expected = differences(raw(model, MATRIX[:50]))
    assert differences(phi.sum(axis=1)) == pytest.approx(expected, abs=1e-5 * max(1.0, np.abs(expected).max()))


def test_a_linear_model_is_weight_times_distance_from_the_mean() -> None:
    model: Any = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TRUTH)
    names, phi = Explainer(model)(FRAME[:50])
    assert names == tuple(NAMES)
    expected = model[-1].coef_[0] / MATRIX.std(axis=0) * (MATRIX[:50] - MATRIX.mean(axis=0))
    assert phi == pytest.approx(expected, rel=1e-9, abs=1e-12)
    plain = Ridge().fit(FRAME, REGRESSED)
    with pytest.raises(UnexplainedError, match="means of its features"):
        Explainer(plain)
    found = Explainer(linear(plain, MATRIX.mean(axis=0)), names=NAMES)(FRAME[:50])
    assert found.phi.sum(axis=1) == pytest.approx(plain.predict(FRAME[:50]) - plain.predict(FRAME).mean(), abs=1e-8)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "sklearn"])
def test_of_several_classes_the_likeliest_is_explained(library: str) -> None:
    if library == "sklearn":
        pytest.importorskip("shap")
        model: Any = RandomForestClassifier(20, random_state=1)
    else:
        quiet = {"verbose": -1} if library == "lightgbm" else {}
        name = {"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier"}[library]
        model = made(library, name, n_estimators=9, **quiet)
    model.fit(IRIS, SPECIES)
    rows = IRIS[[0, 60, 140]]
    phi = Explainer(model)(rows).phi
    assert phi.shape == (3, 4)
    assert model.predict(rows).tolist() == [0, 1, 2]
    assert (phi.sum(axis=1) > 0).all(), "each is predicted, so its attributions speak for it"


def test_the_positive_class_may_be_the_first() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(MATRIX, np.where(TRUTH, "spam", "ham"))
    phi = Explainer(model)(MATRIX[:9]).phi
    assert np.array_equal(Explainer(model, positive="spam")(MATRIX[:9]).phi, phi)
    assert np.array_equal(Explainer(model, positive="ham")(MATRIX[:9]).phi, -phi)
    if find_spec("shap"):
        forest = RandomForestClassifier(5, random_state=1).fit(MATRIX, np.where(TRUTH, "spam", "ham"))
        first, second = (Explainer(forest, positive=each)(MATRIX[:9]).phi for each in ("ham", "spam"))
        assert first == pytest.approx(-second)


FORMS = {
    "frame": lambda: FRAME[:1],
    "matrix": lambda: MATRIX[:1],
    "vector": lambda: MATRIX[0],
    "list": lambda: MATRIX[0].tolist(),
    "row": lambda: FRAME.iloc[0].to_dict(),
    "other order": lambda: dict(reversed(FRAME.iloc[0].to_dict().items())),
    "rows": lambda: [FRAME.iloc[0].to_dict()],
    "columns": lambda: {name: [MATRIX[0, place]] for place, name in enumerate(NAMES)},
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scaled", [True, False])
def test_one_row_has_the_same_attributions_in_every_form(form: str, scaled: bool) -> None:
    boosted = made("lightgbm", "LGBMClassifier", n_estimators=9, verbose=-1)
    model = make_pipeline(MinMaxScaler(), boosted) if scaled else boosted
    model.fit(FRAME, TRUTH)
    expected = Explainer(model)(FRAME[:1])
    found = Explainer(model)(FORMS[form]())
    assert found.names == expected.names
    assert found.phi == pytest.approx(expected.phi, rel=1e-12)


def test_categories_and_missing_cells_are_read_as_the_model_reads_them() -> None:
    frame = FRAME.assign(town=pd.Categorical(np.where(TRUTH, "rome", "oslo")))
    frame.loc[::7, "a"] = np.nan
    model = made("lightgbm", "LGBMClassifier", n_estimators=9, verbose=-1).fit(frame, TRUTH)
    names, phi = Explainer(model)(frame[:20])
    assert names == (*NAMES, "town")
    assert differences(phi.sum(axis=1)) == pytest.approx(differences(log_odds(model, frame[:20])), abs=1e-6)


def test_a_search_is_explained_by_its_best_model() -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1, 2]}, cv=2)
    search.fit(FRAME, TRUTH)
    assert np.array_equal(Explainer(search)(FRAME[:5]).phi, Explainer(search.best_estimator_)(FRAME[:5]).phi)


def test_what_has_no_attributions_says_so() -> None:
    with pytest.raises(UnexplainedError, match="a KNeighborsClassifier has no attributions"):
        Explainer(KNeighborsClassifier())


def test_a_model_of_several_values_is_refused() -> None:
    """Two values are not two classes: the attributions of the second would be wrong for the first."""
    both = np.column_stack([REGRESSED, -REGRESSED, TRUTH])
    for count in (2, 3):
        model = make_pipeline(StandardScaler(), Ridge()).fit(MATRIX, both[:, :count])
        with pytest.raises(UnexplainedError, match=f"it has {count} outputs that are not classes"):
            Explainer(model)(MATRIX[:5])
    boosted = made("xgboost", "XGBRegressor", n_estimators=3).fit(MATRIX, both[:, :2])
    with pytest.raises(UnexplainedError, match="it has 2 outputs"):
        Explainer(boosted)(MATRIX[:5])
