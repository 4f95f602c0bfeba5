"""Model servers of other projects with a small classifier, and requests of the Open Inference Protocol to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

CLASSES: Final = ("stays", "stays", "leaves", "leaves")
TABLE: Final = {"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]}

KSERVE: Final = """
import argparse

import numpy as np
import pandas as pd
from kserve import InferOutput, InferResponse, Model, ModelServer, model_server
from sklearn.linear_model import LogisticRegression


class Churn(Model):
    def __init__(self, name):
        super().__init__(name)
        table = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})
        self.fitted = LogisticRegression().fit(table, ["stays", "stays", "leaves", "leaves"])
        self.ready = True

    def predict(self, payload, headers=None):
        if isinstance(payload, dict):
            table = pd.DataFrame(payload["instances"], columns=["age", "calls"])
        else:
            table = payload.as_dataframe()
        if (table["age"] < 0).any():
            self.fitted.predict_proba(table.assign(age=np.inf))
        scores = self.fitted.predict_proba(table)[:, 0].tolist()
        if isinstance(payload, dict):
            return {"predictions": scores}
        output = InferOutput("score", [len(scores)], "FP64", scores)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    args, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    ModelServer().start([Churn("churn")])
"""


def write_mlserver(folder: Path, http: int, grpc: int, metrics: int, workers: int, **model: Any) -> None:
    """Write what ``mlserver start FOLDER`` serves: version ``v7`` of a model ``churn``."""
    import joblib
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    joblib.dump(LogisticRegression().fit(pd.DataFrame(TABLE), CLASSES), folder / "model.joblib")
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings = {"host": "127.0.0.1", "parallel_workers": workers, **ports}
    served = {
        "name": "churn",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v7"},
        **model,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(served))


def inference_request(ages: list[float], request_id: str | None = None, output: str = "") -> dict[str, Any]:
    """Return a request of protocol 2: a table with names."""
    columns = {"age": ages, "calls": [7.0] * len(ages)}
    request: dict[str, Any] = {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": name, "shape": [len(cells)], "datatype": "FP64", "data": cells} for name, cells in columns.items()
        ],
    }
    if output:
        request["outputs"] = [{"name": output}]
    return request if request_id is None else {**request, "id": request_id}
