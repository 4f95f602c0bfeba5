"""ONNX Runtime for the contract tests of every framework."""

from __future__ import annotations

import importlib
from typing import Any

from otel_ml.frameworks.onnxruntime import OnnxRuntimeInstrumentor
from tests.support.framework_case import Case


def training() -> tuple[Any, list[str]]:
    import pandas as pd

    frame = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0] * 5, "calls": [1.0, 0.0, 2.0, 9.0] * 5})
    return frame, ["stays", "stays", "leaves", "leaves"] * 5


def session(model: Any, inputs: Any, **options: Any) -> Any:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    skl2onnx: Any = importlib.import_module("skl2onnx")
    onnx = skl2onnx.to_onnx(model, inputs, options={id(model): options} if options else None)
    onnx.graph.name, onnx.model_version = "churn", 7
    setting = onnxruntime.SessionOptions()
    setting.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx.SerializeToString(), setting, providers=["CPUExecutionProvider"])


def make() -> dict[str, Any]:
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = training()
    array = X.to_numpy().astype("float32")
    return {
        "columns": session(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X[:1].astype("float32")),
        "matrix": session(LogisticRegression().fit(array, y), array[:1], zipmap=False),
        "value": session(LinearRegression().fit(array, X["age"]), array[:1]),
        "scaler": session(StandardScaler().fit(array), array[:1]),
    }


def columns(table: Any) -> dict[str, Any]:
    return {name: table[[name]].to_numpy().astype("float32") for name in table}


def matrix(table: Any) -> dict[str, Any]:
    return {"X": table.to_numpy().astype("float32")}


CASE = Case(
    instrumentor=OnnxRuntimeInstrumentor,
    make=make,
    table=lambda: training()[0][:4],
    predictions={
        "a row": lambda models, table: models["columns"].run(None, columns(table[:1])),
        "rows": lambda models, table: models["columns"].run(None, columns(table)),
        "a matrix": lambda models, table: models["matrix"].run(None, matrix(table)),
        "classes": lambda models, table: models["matrix"].run(["label"], matrix(table)),
        "a value": lambda models, table: models["value"].run(None, matrix(table[:1])),
        "values": lambda models, table: models["value"].run(output_names=None, input_feed=matrix(table)),
    },
    silent={
        "training": lambda models, table: make(),
        "transformer": lambda models, table: models["scaler"].run(None, matrix(table)),
    },
    errors={"an input less": lambda models, table: models["columns"].run(None, columns(table[["age"]]))},
    cheap=lambda models, table: models["value"].run(None, matrix(table[:1])),
    dumps=None,
    copies={},
)
