"""XGBoost's own API for the contract tests of every framework."""

from __future__ import annotations

import copy
from typing import Any

from otel_ml.frameworks.xgboost import XGBoostInstrumentor
from tests.support.framework_case import Case


def training() -> tuple[Any, Any]:
    import pandas as pd

    age = [20.0, 30.0, 40.0, 50.0] * 10
    country = pd.Categorical(["de", "fr", "us", "us"] * 10)
    return pd.DataFrame({"age": age, "calls": [1.0, 0.0, 2.0, 9.0] * 10, "country": country}), [0, 0, 1, 2] * 10


def trained(objective: str, labels: list[int], **params: Any) -> Any:
    import xgboost

    matrix = xgboost.DMatrix(training()[0], labels, enable_categorical=True, nthread=1)
    return xgboost.train({"objective": objective, "max_depth": 2, "nthread": 1, "eta": 1, **params}, matrix, 3)


def make() -> dict[str, Any]:
    _, classes = training()
    binary = trained("binary:logistic", [int(label > 0) for label in classes])
    binary.set_attr(version="7")
    return {
        "binary": binary,
        "softprob": trained("multi:softprob", classes, num_class=3),
        "softmax": trained("multi:softmax", classes, num_class=3),
        "value": trained("reg:squarederror", classes),
    }


def matrix(table: Any) -> Any:
    import xgboost

    return xgboost.DMatrix(table, enable_categorical=True, nthread=1)


def validates(models: dict[str, Any], table: Any) -> None:
    import xgboost
    from xgboost.callback import TrainingCallback

    whole, labels = training()
    data = xgboost.DMatrix(whole, [int(label > 0) for label in labels], enable_categorical=True, nthread=1)
    params = {"objective": "binary:logistic", "nthread": 1}

    class Peeks(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            models["value"].predict(data)
            return False

    def metric(scores: Any, data: Any) -> tuple[str, float]:
        models["value"].predict(data)
        return "mean", float(scores.mean())

    def own(scores: Any, data: Any) -> tuple[Any, Any]:
        return scores - data.get_label(), scores * 0 + 1

    xgboost.cv(params, data, 3, nfold=2, custom_metric=metric, early_stopping_rounds=2, callbacks=[Peeks()])
    evals = [(data, "valid")]
    more: dict[str, Any] = {"evals": evals, "custom_metric": metric, "early_stopping_rounds": 2, "verbose_eval": False}
    xgboost.train(params, data, 3, xgb_model=models["binary"], callbacks=[Peeks()], **more)
    xgboost.train({"nthread": 1}, data, 3, obj=own, **more)
    models["binary"].update(data, 3)
    models["binary"].eval(data)


def in_scikit_learn(models: dict[str, Any], table: Any) -> None:
    """Evaluate an estimator of the application that predicts with a booster."""
    import numpy as np
    import xgboost
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import cross_val_predict, cross_val_score

    class Own(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: Any) -> Any:
            return models["softmax"].inplace_predict(X).astype(int)

    X, y = training()
    cross_val_predict(Own(), X, y, cv=2)
    cross_val_score(xgboost.XGBClassifier(n_estimators=2, n_jobs=1, enable_categorical=True), X, y, cv=2)


def loaded(models: dict[str, Any]) -> dict[str, Any]:
    import xgboost

    return {name: xgboost.Booster(model_file=model.save_raw()) for name, model in models.items()}


CASE = Case(
    instrumentor=XGBoostInstrumentor,
    make=make,
    table=lambda: training()[0][:4],
    predictions={
        "a row": lambda models, table: models["binary"].inplace_predict(table[1:2]),
        "rows": lambda models, table: models["binary"].inplace_predict(table),
        "a matrix of a row": lambda models, table: models["binary"].predict(matrix(table[1:2])),
        "a matrix": lambda models, table: models["binary"].predict(matrix(table), strict_shape=True),
        "probabilities": lambda models, table: models["softprob"].inplace_predict(table[:1]),
        "probabilities of rows": lambda models, table: models["softprob"].predict(matrix(table)),
        "classes": lambda models, table: models["softmax"].predict(matrix(table)),
        "value": lambda models, table: models["value"].inplace_predict(table[:1], strict_shape=True),
        "values": lambda models, table: models["value"].predict(matrix(table)),
    },
    silent={
        "training": lambda models, table: make(),
        "validation": validates,
        "scikit-learn": in_scikit_learn,
        "margins": lambda models, table: models["binary"].predict(matrix(table), output_margin=True),
        "margins in place": lambda models, table: models["binary"].inplace_predict(table, predict_type="margin"),
        "leaves": lambda models, table: models["binary"].predict(matrix(table), pred_leaf=True),
        "contributions": lambda models, table: models["binary"].predict(matrix(table), pred_contribs=True),
        "ranking": lambda models, table: ranking().predict(matrix(table)),
    },
    errors={
        "an array": lambda models, table: models["binary"].predict([[1.0, 2.0, 3.0]]),
        "a column less": lambda models, table: models["binary"].inplace_predict(table[["age", "calls"]]),
    },
    cheap=lambda models, table: models["value"].inplace_predict([[20.0, 1.0, 0.0]]),
    copies={"deepcopy": copy.deepcopy, "save and load": loaded},
)


def ranking() -> Any:
    import xgboost

    table, labels = training()
    data = xgboost.DMatrix(table, labels, group=[20, 20], enable_categorical=True, nthread=1)
    return xgboost.train({"objective": "rank:pairwise", "nthread": 1}, data, 2)
