"""statsmodels for the contract tests of every framework."""

from __future__ import annotations

import copy
import importlib
from typing import Any

from otel_ml.frameworks.statsmodels import StatsmodelsInstrumentor
from tests.support.framework_case import Case


def training() -> Any:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.uniform(20, 60, 90), "calls": rng.integers(0, 9, 90).astype(float)})
    frame["leaves"] = (frame["age"] + rng.normal(0, 20, 90) > 40).astype(int)
    frame["plan"] = rng.integers(0, 3, 90)
    frame["paid"] = frame["age"] * 2 + rng.normal(0, 1, 90)
    return frame


def make() -> dict[str, Any]:
    api: Any = importlib.import_module("statsmodels.api")
    formulas: Any = importlib.import_module("statsmodels.formula.api")
    table = training()
    exog = api.add_constant(table[["age", "calls"]])
    return {
        "logit": api.Logit(table["leaves"], exog).fit(disp=0),
        "formula": formulas.logit("leaves ~ age + calls", table).fit(disp=0),
        "binomial": api.GLM(table["leaves"].to_numpy(), exog.to_numpy(), family=api.families.Binomial()).fit(),
        "classes": api.MNLogit(table["plan"], exog).fit(disp=0),
        "value": formulas.ols("paid ~ age", table).fit(),
        "counts": api.GLM(table["calls"], exog[["const", "age"]], family=api.families.Poisson()).fit(),
    }


def exog(table: Any) -> Any:
    return table[["age", "calls"]].assign(const=1.0)[["const", "age", "calls"]]


def evaluates(models: dict[str, Any], table: Any) -> None:
    for model in models.values():
        model.predict()
        model.summary()
    models["value"].get_prediction(table[["age"]]).summary_frame()
    models["logit"].get_margeff()
    models["logit"].pred_table()


CASE = Case(
    instrumentor=StatsmodelsInstrumentor,
    make=make,
    table=lambda: training()[:4],
    predictions={
        "a row": lambda models, table: models["logit"].predict(exog(table[:1])),
        "rows": lambda models, table: models["logit"].predict(exog(table)),
        "of a formula": lambda models, table: models["formula"].predict(table[["age", "calls"]]),
        "of a family": lambda models, table: models["binomial"].predict(exog(table).to_numpy()),
        "classes": lambda models, table: models["classes"].predict(exog(table)),
        "a value": lambda models, table: models["value"].predict(table[:1][["age"]]),
        "values": lambda models, table: models["counts"].predict(exog=exog(table)[["const", "age"]]),
    },
    silent={
        "training": lambda models, table: make(),
        "evaluation": evaluates,
        "linear": lambda models, table: models["logit"].predict(exog(table), which="linear"),
    },
    errors={"a column less": lambda models, table: models["logit"].predict(exog(table)[["age"]])},
    cheap=lambda models, table: models["binomial"].predict([[1.0, 30.0, 2.0]]),
    copies={"deepcopy": copy.deepcopy},
)
