"""``otel-ml relearn`` against a running service: one model learns again, the others keep what they know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from collector_processor.cli.main import main

Make = Callable[..., Any]


@pytest.fixture
def running(run: Make) -> Iterator[Any]:
    with run({}, size="2000 rows") as service:
        yield service


def states(running: Any) -> dict[str, Any]:
    answer = requests.get(f"http://localhost:{running.own}/status", timeout=10).json()
    return {item["model"]: item for item in answer["details"]}


def send(running: Any, otlp: Any, model: str, classes: str, task: str, first: int = 0) -> None:
    spans = [
        otlp.prediction(
            model,
            {"ml.feature.x": float(row % 7), "ml.prediction.class": classes[row % len(classes)], "ml.model.task": task},
            row,
        )
        for row in range(first, first + 1000)
    ]
    assert running.send("grpc", "traces", otlp.request(spans)).code == 0


def test_one_model_learns_again(running: Any, otlp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("churn", "price class"):
        send(running, otlp, model, "ny", "binary_classification")
    running.wait(lambda: [item["phase"] for item in states(running).values()] == ["counting"] * 2)
    send(running, otlp, "churn", "abcd", "multiclass_classification", first=1000)
    running.wait(lambda: states(running)["churn"]["problems"])
    [problem, *_] = states(running)["churn"]["problems"]
    assert "multiclass_classification" in problem

    config = tmp_path / "service.yaml"
    config.write_text(yaml.safe_dump(
        {"service": {"telemetry": {"metrics": {"endpoint": f"localhost:{running.own}"}},
                     "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
         "receivers": {"otlp": {"protocols": {"grpc": {}}}}, "exporters": {"debug": {}}}
    ))  # fmt: skip
    assert main(["relearn", "churn", "--endpoint", f"localhost:{running.own}"]) == 0
    assert "model 'churn': learning its reference again" in capsys.readouterr().out
    running.wait(lambda: states(running)["churn"]["phase"] == "learning")
    assert states(running)["churn"]["problems"] == []
    assert states(running)["price class"]["phase"] == "counting"
    send(running, otlp, "churn", "abcd", "multiclass_classification", first=2000)
    running.wait(lambda: states(running)["churn"]["task"] == "multiclass_classification")
    assert states(running)["churn"]["problems"] == []

    assert main(["relearn", "price", "--endpoint", f"localhost:{running.own}"]) == 1
    assert "no model 'price'" in capsys.readouterr().err
    assert main(["relearn", "churn", "--version", "9", "--endpoint", f"localhost:{running.own}"]) == 1
    assert "no version '9' of model 'churn'" in capsys.readouterr().err


def test_only_a_post_of_no_other_site_that_names_a_model_changes_anything(running: Any) -> None:
    url = f"http://localhost:{running.own}/relearn"
    answers = [
        requests.get(f"{url}?model=m", timeout=10),
        requests.post(f"{url}?model=m", headers={"Origin": "https://elsewhere.example"}, timeout=10),
        requests.post(url, timeout=10),
        requests.post(f"{url}?model=m&model=n", timeout=10),
        requests.post(f"{url}?model=m", timeout=10),
    ]
    assert [answer.status_code for answer in answers] == [405, 403, 400, 400, 404]
    assert answers[0].headers["allow"] == "POST"


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relearn", "m", "--endpoint", "localhost:1"]) == 1
    assert "no service answers at localhost:1" in capsys.readouterr().err
