"""A real LitServe under ``opentelemetry-instrument``: predictions have the name of their path."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("litserve", reason="is in the environment of `make frameworks`")

from support.ports import free_port
from support.served import ask, serving, together, wait_for_predictions
from support.sink import Sink, listening

SERVER = """
import sys

import litserve as ls
import pandas as pd
from sklearn.linear_model import LogisticRegression

TABLE = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})


class One(ls.LitAPI):
    def setup(self, device):
        self.fitted = LogisticRegression().fit(TABLE, ["stays", "stays", "leaves", "leaves"])

    def decode_request(self, request):
        return float(request["age"])

    def predict(self, age):
        table = pd.DataFrame({"age": [float("inf") if age < 0 else age], "calls": [7.0]})
        return float(self.fitted.predict_proba(table)[0, 0])

    def encode_response(self, score):
        return {"score": score}


class Later(One):
    async def decode_request(self, request):
        return float(request["age"])

    async def predict(self, age):
        return One.predict(self, age)

    async def encode_response(self, score):
        return {"score": score}


class Many(One):
    def predict(self, ages):
        table = pd.DataFrame({"age": ages, "calls": [7.0] * len(ages)})
        return self.fitted.predict_proba(table)[:, 0].tolist()


if __name__ == "__main__":
    apis = [
        One(api_path="/one"),
        Later(api_path="/later", enable_async=True),
        Many(api_path="/many", max_batch_size=8, batch_timeout=0.3),
        One(),
    ]
    ls.LitServer(apis, accelerator="cpu").run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False)
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


def test_predictions_have_the_name_of_their_path(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(
        sink.endpoint, tmp_path, [sys.executable, "server.py", port], f"{url}/health", OTEL_ML_MODEL_NAME="env"
    ):
        paths = ["one", "later", "many", "predict"]
        calls = [(path, float(age)) for age in range(1, 21) for path in paths]
        answers = together([lambda path=path, age=age: ask(f"{url}/{path}", {"age": age}) for path, age in calls])
        assert {answer.status for answer in answers} == {200}
        assert ask(f"{url}/one", {"age": -1.0}).status == 500
        seen = wait_for_predictions(sink, 81)
    assert Counter(each.model for each in seen) == {"one": 21, "later": 20, "many": 20, "env": 20}
    assert len({each.id for each in seen}) == len(seen) == 81
    assert [each.model for each in seen if each.error_type] == ["one"]
    for path in ("one", "later", "many"):
        ages = sorted(each.features["age"] for each in seen if each.model == path and not each.error_type)
        assert ages == [float(age) for age in range(1, 21)]
    assert len([span for span in sink.spans() if span.name == "predict many"]) < 20, "some were batched"
