"""How a model is named: by code, else by the environment, else by its class."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_ml import name_model, serving
from otel_ml.frameworks.names import Name, register_model

X = pd.DataFrame(np.random.default_rng(5).random((30, 2)), columns=["age", "amount"])
Y = (X["age"] > 0.5).to_numpy().astype(int)


def seen(captured):
    return [(prediction.model, prediction.version) for prediction in captured.predictions]


def test_the_class_names_a_model(instrumented):
    Ridge().fit(X, Y).predict(X[:1])
    assert seen(instrumented) == [("Ridge", "")]


def test_the_environment_names_every_model(instrumented, monkeypatch):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "churn")
    monkeypatch.setenv("OTEL_ML_MODEL_VERSION", "7")
    make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y).predict(X[:1])
    assert seen(instrumented) == [("churn", "7")]


def test_a_second_model_gets_a_name_with_its_class_and_one_warning(instrumented, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "team/churn")
    first, second = LogisticRegression().fit(X, Y), Ridge().fit(X, Y)
    other_features = Ridge().fit(X[["age"]], Y)
    other_classes = LogisticRegression().fit(X, np.where(Y, "yes", "no"))
    for _ in range(2):
        for model in (first, second, other_classes):
            model.predict(X[:1])
        other_features.predict(X[["age"]][:1])
    names = ["team/churn", "team/churn/Ridge", "team/churn/LogisticRegression", "team/churn/Ridge-2"]
    assert [name for name, _ in seen(instrumented)] == names * 2
    warned = [message for message in caplog.messages if "OTEL_ML_MODEL_NAME" in message]
    assert len(warned) == 3
    assert "'team/churn/Ridge'" in warned[0]


def test_a_model_that_is_fitted_or_loaded_again_keeps_its_name(instrumented, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "churn")
    model = LogisticRegression().fit(X, Y)
    model.predict(X[:1])
    model.fit(X[["age"]], Y).predict(X[["age"]][:1])
    stored = pickle.dumps(LogisticRegression().fit(X, Y))
    del model
    gc.collect()
    pickle.loads(stored).predict(X[:1])
    assert [name for name, _ in seen(instrumented)] == ["churn"] * 3
    assert not caplog.messages


def test_two_objects_that_cannot_be_told_apart_share_a_name_with_one_warning(instrumented, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "price")
    first, second = Ridge().fit(X, Y), Ridge().fit(X, 1 - Y)
    for model in (first, second, first, second):
        model.predict(X[:1])
    assert [name for name, _ in seen(instrumented)] == ["price"] * 4
    [message] = caplog.messages
    assert "two objects of class Ridge" in message


def test_code_overrules_the_environment(instrumented, monkeypatch):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "churn")
    model = LogisticRegression().fit(X, Y)
    name_model(model, name="fraud", version="2026-11")
    model.predict(X[:1])
    assert seen(instrumented) == [("fraud", "2026-11")]


@pytest.mark.parametrize("inner", [lambda model: model[-1], lambda model: model], ids=["the step", "the pipeline"])
def test_a_step_or_its_pipeline_may_be_named_even_after_predictions(instrumented, inner):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    model.predict(X[:1])
    name_model(inner(model), name="fraud")
    model.predict(X[:1])
    name_model(inner(model), name="fraud", version="2")
    model.predict(X[:1])
    assert seen(instrumented) == [("LogisticRegression", ""), ("fraud", ""), ("fraud", "2")]


def test_the_name_of_the_outer_model_wins(instrumented):
    model = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X, Y)
    name_model(model.best_estimator_, name="inner")
    model.predict(X[:1])
    name_model(model, name="outer")
    model.predict(X[:1])
    assert seen(instrumented) == [("inner", ""), ("outer", "")]


def test_two_models_of_a_class_have_their_own_names(instrumented):
    models = [Ridge().fit(X, Y), Ridge().fit(X, Y)]
    for position, model in enumerate(models):
        name_model(model, name=f"model-{position}")
    for model in models:
        model.predict(X[:1])
    assert seen(instrumented) == [("model-0", ""), ("model-1", "")]


def test_the_name_is_beside_the_model_and_not_in_it(instrumented):
    model = Ridge().fit(X, Y)
    before = pickle.dumps(model)
    name_model(model, name="named")
    assert pickle.dumps(model) == before
    for twin in (pickle.loads(before), copy.deepcopy(model), clone(model).fit(X, Y)):
        twin.predict(X[:1])
    model.fit(X, Y).predict(X[:1])
    assert seen(instrumented) == [("Ridge", "")] * 3 + [("named", "")]


def test_a_name_goes_with_its_model(instrumented):
    for _ in range(3):
        model = Ridge().fit(X, Y)
        name_model(model, name="gone")
        del model
        gc.collect()
        Ridge().fit(X, Y).predict(X[:1])
    assert set(seen(instrumented)) == {("Ridge", "")}


def test_models_need_be_neither_hashable_nor_weakly_referenced(instrumented):
    class Unhashable(Ridge):
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("compared")

    model = Unhashable().fit(X, Y)
    name_model(model, name="unhashable")
    model.predict(X[:1])
    assert seen(instrumented) == [("unhashable", "")]


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="the name is empty"):
        name_model(Ridge(), name="")


def test_the_server_names_a_model_and_its_requests(instrumented, monkeypatch):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "from-the-environment")
    model = LogisticRegression().fit(X, Y)
    for version, request_id in (("1", "a"), ("2", "b"), ("1", "c")):
        with serving("churn", version=version, request_id=request_id):
            model.predict(X[:1])
    with serving(version="3"):
        model.predict(X[:1])
    model.predict(X[:1])
    assert seen(instrumented) == [
        ("churn", "1"),
        ("churn", "2"),
        ("churn", "1"),
        ("from-the-environment", "3"),
        ("from-the-environment", ""),
    ]
    assert [row.id for row in instrumented.predictions[:3]] == ["a", "b", "c"]


def test_code_comes_before_the_server_and_the_server_before_a_registry(instrumented):
    coded, registered = Ridge().fit(X, Y), Ridge().fit(X[["age"]], Y)
    register_model(coded, Name("in-registry", "3"))
    register_model(registered, Name("in-registry", "3"))
    name_model(coded, name="in-code")
    registered.predict(X[["age"]][:1])
    with serving("served", version="2"):
        coded.predict(X[:1])
        registered.predict(X[["age"]][:1])
    coded.predict(X[:1])
    assert seen(instrumented) == [("in-registry", "3"), ("in-code", "2"), ("served", "2"), ("in-code", "3")]


def test_a_second_model_behind_one_served_name_gets_another(instrumented, caplog):
    first, second = LogisticRegression().fit(X, Y), Ridge().fit(X, Y)
    with serving("churn"):
        for _ in range(2):
            first.predict(X[:1])
            second.predict(X[:1])
    assert seen(instrumented) == [("churn", ""), ("churn/Ridge", "")] * 2
    [warned] = [message for message in caplog.messages if "churn/Ridge" in message]
    assert "from its server" in warned


def test_two_versions_that_are_served_beside_each_other_are_no_mistake(instrumented, caplog):
    models = {version: LogisticRegression().fit(X, Y) for version in "12"}
    for version, model in models.items():
        with serving("churn", version=version):
            model.predict(X[:1])
    assert seen(instrumented) == [("churn", "1"), ("churn", "2")]
    assert not caplog.messages


def test_a_call_that_is_not_a_prediction_leaves_the_id_to_the_next(instrumented):
    model = LogisticRegression().fit(X, Y)

    class Odd(LogisticRegression):
        def predict(self, X):
            return "no rows"

    odd = Odd().fit(X, Y)
    name_model(odd, name="churn")
    name_model(model, name="churn")
    with serving(request_id="r"):
        odd.predict(X[:1])
        model.predict(X[:1])
    assert [row.id for row in instrumented.predictions] == ["r"]
