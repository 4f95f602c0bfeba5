"""A real BentoML service under ``opentelemetry-instrument``: predictions have the Bento's names and the ids."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("bentoml", reason="is in the environment of `make frameworks`")

from support.ports import free_port
from support.served import ask, serving, together, wait_for_predictions
from support.sink import Sink, listening

SERVICE = """
import bentoml
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression


@bentoml.service(name="churn")
class Churn:
    def __init__(self):
        table = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})
        self.fitted = LogisticRegression().fit(table, ["stays", "stays", "leaves", "leaves"])

    def scored(self, age):
        table = pd.DataFrame({"age": [np.inf if age < 0 else age], "calls": [7.0]})
        return float(self.fitted.predict_proba(table)[0, 0])

    @bentoml.api
    def score(self, age: float) -> float:
        return self.scored(age)

    @bentoml.api
    async def score_async(self, age: float) -> float:
        return self.scored(age)

    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=20000)
    def scores(self, ages: list[float]) -> list[float]:
        table = pd.DataFrame({"age": ages, "calls": [7.0] * len(ages)})
        return self.fitted.predict_proba(table)[:, 0].tolist()
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


def test_predictions_have_the_bento_and_the_id_of_the_request(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        Path(sys.executable).with_name("bentoml"),
        "serve",
        "service:Churn",
        "--port",
        port,
        "--host",
        "127.0.0.1",
    ]
    environ = {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(tmp_path / "bentoml"), "OTEL_ML_MODEL_NAME": "env"}
    with serving(sink.endpoint, tmp_path, command, f"{url}/readyz", **environ):
        paths = ["score", "score_async"] * 10
        answers = together(
            [lambda path=path, age=age: ask(f"{url}/{path}", {"age": float(age)}) for age, path in enumerate(paths)]
        )
        assert {answer.status for answer in answers} == {200}, (tmp_path / "server.log").read_text()[-3000:]
        failed = ask(f"{url}/score", {"age": -1.0})
        assert failed.status == 500
        seen = wait_for_predictions(sink, 21)
        by_id = {each.id: each for each in seen}
        assert len(by_id) == len(seen) == 21
        for age, answer in enumerate(answers):
            made = by_id[answer.headers["x-bentoml-request-id"]]
            assert (made.model, made.features["age"]) == ("churn", float(age))
            assert answer.headers["x-prediction-id"] == made.id
        assert by_id[failed.headers["x-bentoml-request-id"]].error_type == "ValueError"

        batched = together([lambda age=age: ask(f"{url}/scores", {"ages": [float(age)]}) for age in range(100, 140)])
        assert {answer.status for answer in batched} == {200}
        seen = wait_for_predictions(sink, 61)[21:]
    assert sorted(each.features["age"] for each in seen) == [float(age) for age in range(100, 140)]
    ids = {each.id for each in seen}
    assert len(ids) == 40
    assert not ids & {answer.headers["x-bentoml-request-id"] for answer in batched}
    assert not any("x-prediction-id" in answer.headers for answer in batched), "no single request made it"
