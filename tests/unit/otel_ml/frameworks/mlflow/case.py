"""MLflow's custom models for the contract tests of every framework."""

from __future__ import annotations

import copy
import importlib
import tempfile
import warnings
from pathlib import Path
from typing import Any

from otel_ml.frameworks.mlflow import MlflowInstrumentor
from tests.support.framework_case import Case

RULE = """
import statistics

import mlflow
import pandas as pd


class Rule(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        statistics.mean(model_input["age"][model_input["age"] > 0])  # raises in a file that stays where it is
        old = model_input["age"] > 30
        return pd.DataFrame({"label": old.map({True: "leaves", False: "stays"}), "score": old * 0.5 + 0.25})


mlflow.models.set_model(Rule())
"""


def table() -> Any:
    import pandas as pd

    return pd.DataFrame({"age": [20.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0]})


def make() -> Any:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of its own type hints
        mlflow: Any = importlib.import_module("mlflow")
        rule = Path(folder) / "rule.py"
        rule.write_text(RULE, encoding="utf-8")
        mlflow.pyfunc.save_model(
            f"{folder}/model",
            python_model=str(rule),
            signature=mlflow.models.infer_signature(table()),
            input_example=table(),
            pip_requirements=["mlflow"],
        )
        return mlflow.pyfunc.load_model(f"{folder}/model")


CASE = Case(
    instrumentor=MlflowInstrumentor,
    make=make,
    table=table,
    predictions={
        "rows": lambda model, table: model.predict(table),
        "one row": lambda model, table: model.predict(table[:1]),
        "columns": lambda model, table: model.predict(table.to_dict("list")),
        "more columns": lambda model, table: model.predict(table.assign(id=7)),
    },
    silent={"logging with an example": lambda model, table: make()},
    errors={
        "an exception of the model": lambda model, table: model.predict(table.assign(age=-1.0)),
        "a missing column": lambda model, table: model.predict(table[["age"]]),
    },
    cheap=lambda model, table: model.predict(table[:1]),
    dumps=None,  # its class is in a file that MLflow loads
    copies={"deepcopy": copy.deepcopy},
    imports_sdk=True,
)
