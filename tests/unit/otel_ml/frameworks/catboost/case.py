"""CatBoost for the contract tests of every framework."""

from __future__ import annotations

import copy
import importlib
from typing import Any

from otel_ml.frameworks.catboost import CatBoostInstrumentor
from tests.support.framework_case import Case

PARAMS = {"iterations": 3, "depth": 2, "thread_count": 1, "verbose": False, "allow_writing_files": False}


def training() -> tuple[Any, list[str]]:
    import pandas as pd

    age = [20.0, 30.0, 40.0, 50.0] * 10
    frame = pd.DataFrame({"age": age, "calls": [1.0, 0.0, 2.0, 9.0] * 10, "country": ["de", "fr", "us", "us"] * 10})
    return frame, ["stays", "stays", "leaves", "leaves"] * 10


def versioned(model: Any) -> Any:
    model.get_metadata()["model_guid"] = "7"  # by default each model has its own
    return model


def make() -> dict[str, Any]:
    catboost: Any = importlib.import_module("catboost")
    table, classes = training()
    cats: dict[str, Any] = {"cat_features": ["country"]}
    numbers = table[["age", "calls"]]
    models = {
        "classifier": catboost.CatBoostClassifier(**PARAMS, **cats).fit(table, classes),
        "multiclass": catboost.CatBoostClassifier(**PARAMS, **cats).fit(table, [0, 1, 2, 2] * 10),
        "regressor": catboost.CatBoostRegressor(**PARAMS).fit(numbers, table["age"]),
        "plain": catboost.CatBoost({**PARAMS, "loss_function": "Logloss"}).fit(numbers, [0, 0, 1, 1] * 10),
    }
    return {name: versioned(model) for name, model in models.items()}


def pool(table: Any) -> Any:
    catboost: Any = importlib.import_module("catboost")
    return catboost.Pool(table[["age", "calls"]])


def validates(models: dict[str, Any], table: Any) -> None:
    catboost: Any = importlib.import_module("catboost")
    from sklearn.model_selection import cross_val_score

    X, y = training()
    classifier = catboost.CatBoostClassifier(**PARAMS, cat_features=["country"])
    classifier.fit(X, y, eval_set=(X, y), early_stopping_rounds=2)
    classifier.score(X, y)
    classifier.eval_metrics(catboost.Pool(X, y, cat_features=["country"]), ["Logloss"])
    cross_val_score(catboost.CatBoostClassifier(**PARAMS), X[["age", "calls"]], y, cv=2)
    data = catboost.Pool(X[["age", "calls"]], [0, 0, 1, 1] * 10)
    catboost.cv(data, {**PARAMS, "loss_function": "Logloss"}, fold_count=2)
    ranker = catboost.CatBoostRanker(**PARAMS).fit(X[["age", "calls"]], list(range(40)), group_id=[0] * 20 + [1] * 20)
    ranker.predict(X[["age", "calls"]])


CASE = Case(
    instrumentor=CatBoostInstrumentor,
    make=make,
    table=lambda: training()[0][1:5],
    predictions={
        "a class": lambda models, table: models["classifier"].predict(table[:1]),
        "classes": lambda models, table: models["classifier"].predict(table),
        "probabilities of a row": lambda models, table: models["classifier"].predict_proba(table[:1]),
        "probabilities": lambda models, table: models["classifier"].predict_proba(table),
        "classes of three": lambda models, table: models["multiclass"].predict(table),
        "probabilities of three": lambda models, table: models["multiclass"].predict_proba(table),
        "a single row": lambda models, table: models["classifier"].predict_proba(table.iloc[0].tolist()),
        "a value": lambda models, table: models["regressor"].predict([30.0, 1.0]),
        "values": lambda models, table: models["regressor"].predict(pool(table)),
        "probabilities by argument": lambda models, table: models["plain"].predict(
            pool(table[:1]), prediction_type="Probability"
        ),
    },
    silent={
        "training": lambda models, table: make(),
        "validation": validates,
        "raw": lambda models, table: models["classifier"].predict(table, prediction_type="RawFormulaVal"),
        "raw by default": lambda models, table: models["plain"].predict(pool(table)),
        "logarithms": lambda models, table: models["classifier"].predict_log_proba(table),
        "stages": lambda models, table: list(models["classifier"].staged_predict(table)),
    },
    errors={"a column less": lambda models, table: models["classifier"].predict(table[["age"]])},
    cheap=lambda models, table: models["regressor"].predict([[30.0, 1.0]]),
    copies={"deepcopy": copy.deepcopy},
)
