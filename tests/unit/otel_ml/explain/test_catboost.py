"""CatBoost's own attributions, where CatBoost is installed: they add up, or the model is refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, make_classification

import otel_ml
from otel_ml.explain.explainers import Explainer, UnexplainedError
from otel_ml.testing import capture

catboost: Any = pytest.importorskip("catboost")
NAMES = list("abcdef")
DATA: Any = make_classification(400, 6, random_state=1)
MATRIX, TRUTH = DATA
FRAME = pd.DataFrame(MATRIX, columns=NAMES)
TOWNS = FRAME.assign(town=np.array(["oslo", "rome", "lima"])[np.arange(400) % 3], floor=np.arange(400) % 4)
QUIET = {"iterations": 20, "verbose": False, "allow_writing_files": False, "thread_count": 1}


def classifier(frame: Any = FRAME, truth: Any = TRUTH, **more: Any) -> Any:
    return catboost.CatBoostClassifier(**QUIET, **more).fit(frame, truth)


def assert_adds_up(model: Any, rows: Any) -> None:
    """Differences between rows: the constant part is left out."""
    phi, raw = Explainer(model)(rows).phi.sum(axis=1), model.predict(rows, prediction_type="RawFormulaVal")
    assert phi - phi[0] == pytest.approx(raw - raw[0], abs=1e-9)


def test_attributions_add_up_to_the_raw_prediction() -> None:
    assert_adds_up(classifier(), FRAME[:50])
    assert_adds_up(catboost.CatBoostRegressor(**QUIET).fit(FRAME, MATRIX[:, 0]), FRAME[:50])
    missing = TOWNS.assign(a=np.where(TRUTH, TOWNS["a"], np.nan))
    assert_adds_up(classifier(missing, cat_features=["town", "floor"]), missing[:50])
    texts = FRAME.assign(note=np.where(TRUTH, "good day", "bad night"))
    assert_adds_up(classifier(texts, text_features=["note"]), texts[:20])


def test_columns_of_an_array_have_the_names_that_the_sender_gives_them() -> None:
    assert Explainer(classifier(MATRIX))(MATRIX[:2]).names == tuple(f"x{place}" for place in range(6))
    assert Explainer(classifier())(MATRIX[:2]).names == tuple(NAMES)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row.iloc[0].to_dict(),
        lambda row: dict(reversed(row.iloc[0].to_dict().items())),
        lambda row: [row.iloc[0].to_dict()],
        lambda row: {name: row[name].tolist() for name in row},
        lambda row: row.iloc[0].tolist(),
        lambda row: row[list(reversed(list(row)))],
    ],
    ids=["mapping", "other order", "rows", "columns", "list", "frame in another order"],
)
def test_categories_are_read_in_every_form(form: Any) -> None:
    model = classifier(TOWNS, cat_features=["town", "floor"])
    assert np.array_equal(Explainer(model)(form(TOWNS[3:4])).phi, Explainer(model)(TOWNS[3:4]).phi)


def test_of_several_classes_the_likeliest_is_explained() -> None:
    flowers: Any = load_iris(return_X_y=True)
    model = classifier(*flowers)
    rows = flowers[0][[0, 60, 140]]
    assert model.predict(rows)[:, 0].tolist() == [0, 1, 2]
    assert (Explainer(model)(rows).phi.sum(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        ("CatBoostClassifier", {"grow_policy": "Lossguide"}, "Lossguide trees do not add up"),
        ("CatBoostClassifier", {"grow_policy": "Depthwise"}, "Depthwise trees do not add up"),
        ("CatBoostRegressor", {"loss_function": "RMSEWithUncertainty"}, r"several outputs \(RMSEWithUncertainty\)"),
    ],
)
def test_what_would_be_wrong_is_refused(kind: str, settings: Any, why: str) -> None:
    model = getattr(catboost, kind)(**QUIET, **settings).fit(FRAME, TRUTH)
    with pytest.raises(UnexplainedError, match=why):
        Explainer(model)


def test_trees_that_do_not_add_up_still_do_not() -> None:
    """When this fails, CatBoost has mended it, and the refusal can go."""
    model = classifier(grow_policy="Lossguide")
    phi = model.get_feature_importance(catboost.Pool(FRAME), type="ShapValues")
    assert np.abs(phi.sum(axis=1) - model.predict(FRAME, prediction_type="RawFormulaVal")).max() > 0.1


def test_predictions_carry_them() -> None:
    model = classifier(TOWNS, cat_features=["town", "floor"])
    handle = otel_ml.Model("towns", explainer=model, config=otel_ml.Config(explain="1 in 1"))
    with capture() as captured:
        with handle.predict(TOWNS.iloc[0].to_dict()) as prediction:
            prediction.record(score=0.5)
        with handle.predict(TOWNS[:2]) as prediction:
            prediction.record(score=[0.5, 0.4])
    expected = Explainer(model)(TOWNS[:1])
    for each in captured.predictions[:2]:
        assert each.attributions == pytest.approx(dict(zip(expected.names, expected.phi[0], strict=True)))
