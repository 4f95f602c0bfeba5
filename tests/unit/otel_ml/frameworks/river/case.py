"""River for the contract tests of every framework."""

from __future__ import annotations

import copy
import importlib
from typing import Any

from otel_ml.frameworks.river import RiverInstrumentor
from tests.support.framework_case import Case

ROWS: list[dict[str, Any]] = [{"age": 20.0 + 10 * i, "calls": float(i % 3)} for i in range(4)]


def river(name: str) -> Any:
    return importlib.import_module(f"river.{name}")


def make() -> dict[str, Any]:
    models = {
        "binary": river("preprocessing").StandardScaler() | river("linear_model").LogisticRegression(),
        "multiclass": river("tree").HoeffdingTreeClassifier(),
        "ensemble": river("forest").ARFClassifier(n_models=3, seed=1),
        "value": river("preprocessing").StandardScaler() | river("linear_model").LinearRegression(),
    }
    for place, row in enumerate(ROWS * 5):
        models["binary"].learn_one(row, place % 4 > 1)
        models["multiclass"].learn_one(row, "abc"[place % 3])
        models["ensemble"].learn_one(row, place % 4 > 1)
        models["value"].learn_one(row, row["age"] / 100)
    return models


def evaluates(models: dict[str, Any], table: Any) -> None:
    stream = [(row, place % 4 > 1) for place, row in enumerate(ROWS * 5)]
    metrics, evaluate = river("metrics"), river("evaluate")
    evaluate.progressive_val_score(stream, models["binary"], metrics.Accuracy())
    for _ in evaluate.iter_progressive_val_score(stream, models["ensemble"], metrics.ROCAUC(), step=2):
        pass


def detects(models: dict[str, Any], table: Any) -> None:
    detector = river("anomaly").HalfSpaceTrees(seed=1)
    for row in ROWS:
        detector.score_one(row)
        detector.learn_one(row)
    river("cluster").KMeans(2, seed=1).learn_one(ROWS[0])
    river("tree").HoeffdingTreeClassifier().predict_one(ROWS[0])  # it has learned nothing


CASE = Case(
    instrumentor=RiverInstrumentor,
    make=make,
    table=lambda: copy.deepcopy(ROWS),
    predictions={
        "a class": lambda models, table: models["binary"].predict_one(table[0]),
        "probabilities": lambda models, table: models["binary"].predict_proba_one(table[1]),
        "of several": lambda models, table: models["multiclass"].predict_proba_one(x=table[1]),
        "of an ensemble": lambda models, table: models["ensemble"].predict_proba_one(table[2]),
        "a value": lambda models, table: models["value"].predict_one(table[3]),
    },
    silent={"training": lambda models, table: make(), "evaluation": evaluates, "detectors": detects},
    errors={"a text": lambda models, table: models["binary"].predict_one({"age": "old"})},
    copies={"deepcopy": copy.deepcopy},
    packages=("river",),
)
