"""A real KServe model server under ``opentelemetry-instrument``: predictions have its model's name and the ids."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("kserve", reason="is in the environment of `make frameworks`")

from support.model_servers import KSERVE, inference_request
from support.ports import free_port
from support.served import ask, serving, together, wait_for_predictions
from support.sink import Sink, listening


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


def test_predictions_have_the_name_and_the_id_of_the_request(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(KSERVE)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "server.py", f"--http_port={port}", "--enable_grpc=false"]

    def second(ages: list[float], **given: str) -> dict[str, object]:
        cells = {"age": ages, "calls": [7.0] * len(ages)}
        inputs = [
            {"name": name, "shape": [len(ages)], "datatype": "FP64", "data": data} for name, data in cells.items()
        ]
        return {"inputs": inputs, **given}

    with serving(sink.endpoint, tmp_path, command, f"{url}/v2/health/ready", OTEL_ML_MODEL_NAME="env"):
        v1, v2 = f"{url}/v1/models/churn:predict", f"{url}/v2/models/churn/infer"
        answers = together(
            [lambda age=age: ask(v2, inference_request([float(age)], f"order-{age}")) for age in range(1, 21)]
            + [
                lambda: ask(v2, inference_request([20.0, 50.0], "two")),
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
