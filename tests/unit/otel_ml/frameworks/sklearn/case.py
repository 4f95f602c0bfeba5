"""scikit-learn for the contract tests of every framework."""

from __future__ import annotations

import copy
from typing import Any

from otel_ml.frameworks.sklearn import SklearnInstrumentor
from tests.support.framework_case import Case


def training() -> tuple[Any, Any, Any]:
    import pandas as pd

    X = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0] * 5, "calls": [1, 7, 2, 9] * 5})
    return X, ["stays", "stays", "leaves", "leaves"] * 5, (X["age"] * 2 + X["calls"]).to_numpy()


def make() -> dict[str, Any]:
    import numpy as np
    from sklearn.ensemble import IsolationForest, RandomForestRegressor
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, classes, values = training()
    return {
        "plain": LogisticRegression().fit(X.to_numpy(), classes),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, classes),
        "search": GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2).fit(X, classes),
        "forest": RandomForestRegressor(4, random_state=1, n_jobs=2).fit(X, values),
        "texts": make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["cheap pills", "your invoice"], [1, 0]),
        "outputs": LinearRegression().fit(X, np.column_stack([values, -values])),
        "anomalies": IsolationForest(n_estimators=5, random_state=1).fit(X),
    }


def clones(models: dict[str, Any]) -> dict[str, Any]:
    from sklearn.base import clone

    X, classes, _ = training()
    copied: dict[str, Any] = models | {name: clone(models[name]) for name in ("plain", "pipeline", "search")}
    copied["plain"].fit(X.to_numpy(), classes)
    copied["pipeline"].fit(X, classes)
    copied["search"].fit(X, classes)
    return copied


def sparse(table: Any) -> Any:
    from scipy.sparse import csr_array

    return csr_array(table.to_numpy()[:1])


def evaluates(models: dict[str, Any], table: Any) -> None:
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import get_scorer
    from sklearn.model_selection import cross_val_predict, cross_val_score

    X, classes, _ = training()
    models["pipeline"].score(X, classes)
    get_scorer("neg_log_loss")(models["pipeline"], X, classes)
    cross_val_score(models["pipeline"], X, classes, cv=2)
    cross_val_predict(models["pipeline"], X, classes, cv=2, method="predict_proba")
    permutation_importance(models["pipeline"], X, classes, n_repeats=2)


def stops_early(models: dict[str, Any], table: Any) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    X, classes, _ = training()
    HistGradientBoostingClassifier(early_stopping=True, max_iter=3, random_state=1).fit(X, classes)


CASE = Case(
    instrumentor=SklearnInstrumentor,
    make=make,
    table=lambda: training()[0][:3],
    predictions={
        "classes": lambda models, table: models["pipeline"].predict(table),
        "probabilities of one row": lambda models, table: models["pipeline"].predict_proba(table[:1]),
        "probabilities of rows": lambda models, table: models["search"].predict_proba(table),
        "values": lambda models, table: models["forest"].predict(table),
        "an array": lambda models, table: models["plain"].predict(table.to_numpy()[:1]),
        "a sparse matrix": lambda models, table: models["plain"].predict(sparse(table)),
        "texts": lambda models, table: models["texts"].predict_proba(["cheap invoice"]),
        "logarithms": lambda models, table: models["pipeline"].predict_log_proba(table[:1]),
        "margins": lambda models, table: models["pipeline"].decision_function(table[:1]),
        "two outputs": lambda models, table: models["outputs"].predict(table),
        "anomalies": lambda models, table: models["anomalies"].predict(table[:1]),
        "scores of anomalies": lambda models, table: models["anomalies"].score_samples(table),
    },
    silent={
        "training": lambda models, table: make(),
        "evaluation": evaluates,
        "early stopping": stops_early,
        "steps": lambda models, table: models["pipeline"][:-1].transform(table),
    },
    errors={
        "a wrong column": lambda models, table: models["pipeline"].predict(table[["age"]]),
        "texts": lambda models, table: models["pipeline"].predict_proba(table.assign(age="old")),
    },
    cheap=lambda models, table: models["plain"].predict(table.to_numpy()[:1]),
    copies={"deepcopy": copy.deepcopy, "clone": clones},
)
