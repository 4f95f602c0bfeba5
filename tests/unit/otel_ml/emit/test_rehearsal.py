"""What MLflow computes while it saves, logs or evaluates a model is not a prediction; what it serves is one."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from otel_ml import Model
from otel_ml.frameworks.sklearn import SklearnInstrumentor
from otel_ml.testing import capture


def called_by(module: str, function: str) -> ModuleType:
    """Return a module in which a function of this name calls what it gets, as MLflow 3.17's do."""
    made = ModuleType(module)
    exec(f"def {function}(work):\n    return work()\n", made.__dict__)
    return made


@pytest.mark.parametrize(
    ("module", "function", "real"),
    [
        ("mlflow.sklearn", "save_model", False),
        ("mlflow.pyfunc", "log_model", False),
        ("mlflow.models.signature", "_infer_signature_from_input_example", False),
        ("mlflow.models.utils", "_validate_serving_input", False),
        ("mlflow.sklearn", "patched_fit", False),
        ("mlflow.models.evaluation.base", "evaluate", False),
        ("mlflow.pyfunc", "predict", True),
        ("mlflow.sklearn", "patched_predict", True),
        ("mlflow.pyfunc.scoring_server", "invocations", True),
        ("shop.mlflow", "save_model", True),
        ("mlflow_jobs", "save_model", True),
    ],
)
def test_only_predictions_that_serve_someone_count(
    monkeypatch: pytest.MonkeyPatch, module: str, function: str, real: bool
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    call = getattr(called_by(module, function), function)
    estimator = LogisticRegression().fit(np.arange(8.0).reshape(8, 1), [0, 1] * 4)

    def by_hand() -> None:
        with Model("m").predict([1.0]) as prediction:
            prediction.record(score=0.5)

    SklearnInstrumentor().instrument()
    try:
        with capture() as captured:
            call(lambda: estimator.predict([[1.0]]))
            call(by_hand)
    finally:
        SklearnInstrumentor().uninstrument()
    assert [seen.model for seen in captured.predictions] == (["LogisticRegression", "m"] if real else [])
