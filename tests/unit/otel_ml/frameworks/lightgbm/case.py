"""LightGBM's own API for the contract tests of every framework."""

from __future__ import annotations

import copy
from typing import Any

from otel_ml.frameworks.lightgbm import LightGBMInstrumentor
from tests.support.framework_case import Case

PARAMS = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "deterministic": True}


def training() -> tuple[Any, list[int]]:
    import pandas as pd

    age = [20.0, 30.0, 40.0, 50.0] * 10
    country = pd.Categorical(["de", "fr", "us", "us"] * 10)
    return pd.DataFrame({"age": age, "calls": [1.0, 0.0, 2.0, 9.0] * 10, "country": country}), [0, 0, 1, 2] * 10


def binary() -> list[int]:
    return [int(label > 0) for label in training()[1]]


def dataset(labels: list[int], **more: Any) -> Any:
    import lightgbm

    return lightgbm.Dataset(training()[0], labels, free_raw_data=False, **more)


def trained(objective: str, labels: list[int], **params: Any) -> Any:
    import lightgbm

    return lightgbm.train({**PARAMS, "objective": objective, **params}, dataset(labels), 3)


def make() -> dict[str, Any]:
    return {
        "binary": trained("binary", binary()),
        "multiclass": trained("multiclass", training()[1], num_class=3),
        "value": trained("regression", training()[1]),
    }


def validates(models: dict[str, Any], table: Any) -> None:
    import lightgbm

    def metric(scores: Any, data: Any) -> tuple[str, float, bool]:
        models["value"].predict(table)
        return "mean", float(scores.mean()), True

    def peeks(env: Any) -> None:
        models["value"].predict(table)

    params = {**PARAMS, "objective": "binary"}
    stops = lightgbm.early_stopping(2, verbose=False)
    valid = dataset(binary())
    for train in (lightgbm.train, lightgbm.engine.train):
        callbacks = [peeks, stops]
        train(params, dataset(binary()), 3, valid_sets=[valid], feval=metric, callbacks=callbacks)
    lightgbm.train(params, dataset(binary()), 2, init_model=models["binary"], callbacks=[peeks])
    lightgbm.cv(params, dataset(binary()), 3, nfold=2, feval=metric, callbacks=[peeks])
    models["binary"].refit(training()[0], binary())
    lightgbm.train({**params, "objective": own}, dataset(binary()), 2)


def own(scores: Any, data: Any) -> tuple[Any, Any]:
    return scores - data.get_label(), scores * 0 + 1


def in_scikit_learn(models: dict[str, Any], table: Any) -> None:
    """Evaluate an estimator of the application that predicts with a booster."""
    import lightgbm
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import cross_val_predict, cross_val_score

    class Own(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: Any) -> Any:
            return models["multiclass"].predict(X).argmax(axis=1)

    X, y = training()
    cross_val_predict(Own(), X, y, cv=2)
    cross_val_score(lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1), X, y, cv=2)


def ranking() -> Any:
    import lightgbm

    return lightgbm.train({**PARAMS, "objective": "lambdarank"}, dataset(training()[1], group=[20, 20]), 2)


def loaded(models: dict[str, Any]) -> dict[str, Any]:
    import lightgbm

    return {name: lightgbm.Booster(model_str=model.model_to_string()) for name, model in models.items()}


CASE = Case(
    instrumentor=LightGBMInstrumentor,
    make=make,
    table=lambda: training()[0][:4],
    predictions={
        "a row": lambda models, table: models["binary"].predict(table[1:2]),
        "rows": lambda models, table: models["binary"].predict(table, num_iteration=2),
        "an array": lambda models, table: models["binary"].predict(table[["age", "calls", "age"]].to_numpy()[:1]),
        "probabilities": lambda models, table: models["multiclass"].predict(table[:1]),
        "probabilities of rows": lambda models, table: models["multiclass"].predict(table),
        "value": lambda models, table: models["value"].predict(table[:1]),
        "values": lambda models, table: models["value"].predict(table),
    },
    silent={
        "training": lambda models, table: make(),
        "validation": validates,
        "scikit-learn": in_scikit_learn,
        "margins": lambda models, table: models["binary"].predict(table, raw_score=True),
        "margins by position": lambda models, table: models["binary"].predict(table, 0, None, True),
        "leaves": lambda models, table: models["binary"].predict(table, pred_leaf=True),
        "contributions": lambda models, table: models["binary"].predict(table, pred_contrib=True),
        "ranking": lambda models, table: ranking().predict(table),
    },
    errors={"a column less": lambda models, table: models["binary"].predict(table[["age"]])},
    cheap=lambda models, table: models["value"].predict([[20.0, 1.0, 0.0]]),
    copies={"deepcopy": copy.deepcopy, "save and load": loaded},
)
