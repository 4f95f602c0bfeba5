"""A real KServe model server under ``opentelemetry-instrument``: predictions have its model's name and the ids."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("kserve", reason="is in the environment of `make frameworks`")

from support.ports import free_port
from support.served import ask, serving, together, wait_for_predictions
from support.sink import Sink, listening

SERVER = """
import argparse

import numpy as np
import pandas as pd
from kserve import InferOutput, InferResponse, Model, ModelServer, logging, model_server
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


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


def test_predictions_have_the_name_and_the_id_of_the_request(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "server.py", f"--http_port={port}", "--enable_grpc=false"]

    def second(ages: list[float], **given: str) -> dict[str, object]:
        cells = {"age": ages, "calls": [7.0] * len(ages)}
        inputs = [
            {"name": name, "shape": [len(ages)], "datatype": "FP64", "data": data} for name, data in cells.items()
        ]
        return {"inputs": inputs, **given}

    with serving(sink, tmp_path, command, f"{url}/v2/health/ready", OTEL_ML_MODEL_NAME="env"):
        v1, v2 = f"{url}/v1/models/churn:predict", f"{url}/v2/models/churn/infer"
        answers = together(
            [lambda age=age: ask(v2, second([float(age)], id=f"order-{age}")) for age in range(1, 21)]
            + [
                lambda: ask(v2, second([20.0, 50.0], id="two")),
                lambda: ask(v1, {"instances": [[30, 7]]}, X_Request_Id="header"),
                lambda: ask(v1, {"instances": [[31, 7]]}, Ce_Id="event", X_Request_Id="other"),
                lambda: ask(v1, {"instances": [[32, 7]]}),
            ]
        )
        assert {answer.status for answer in answers} == {200}
        failed = ask(v1, {"instances": [[-1, 7]]}, X_Request_Id="fails")
        assert failed.status == 500
        seen = wait_for_predictions(sink, 26)
    assert {each.model for each in seen} == {"churn"}
    by_id = {each.id: each for each in seen}
    assert len(by_id) == len(seen) == 26
    expected = {f"order-{age}": float(age) for age in range(1, 21)}
    expected |= {"two:0": 20.0, "two:1": 50.0, "header": 30.0, "event": 31.0}
    assert {name: by_id[name].features["age"] for name in expected} == expected
    assert by_id["fails"].error_type == "ValueError"
    [other] = by_id.keys() - expected.keys() - {"fails"}
    assert by_id[other].features["age"] == 32.0
    assert [answer.headers["x-prediction-id"] for answer in answers[-4:]] == ["two", "header", "event", other]
    assert failed.headers["x-prediction-id"] == "fails"
