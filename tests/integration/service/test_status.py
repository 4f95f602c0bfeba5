"""``/status`` of a running service: how far a model has got, what it waits for, what fires; and nothing of features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from collector_processor.exporters.debug.exporter import DebugExporter

Make = Callable[..., Any]
RULES = {"rows": {"measurement": "ml.window.rows", "above": 1999, "severity": "critical"}}


@pytest.fixture
def running(run: Make) -> Iterator[Any]:
    changes = {
        "connectors": {"ml_monitor": {"reference": {"learn": 5000}}},
        "alerts": {"notify": ["debug"], "rules": RULES, "defaults": False},
        "exporters": {"debug": {}},
        "service": {"pipelines": {"metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus", "debug"]}}},
    }
    with run(changes, size="2000 rows") as service:
        yield service


def status(running: Any) -> dict[str, Any]:
    answer = requests.get(f"http://localhost:{running.own}/status", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def details(running: Any) -> dict[str, Any]:
    """What is known of the only model; nothing before it was seen."""
    return next(iter(status(running)["details"]), {})


def health(running: Any) -> dict[str, Any]:
    port = dict(running.service.addresses())["health_check"]
    return requests.get(f"http://localhost:{port}/", timeout=10).json()


def test_a_model_is_followed_from_its_first_row_to_its_first_alert(
    running: Any, otlp: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = 0

    def send(rows: int) -> None:
        nonlocal sent
        spans = [
            otlp.prediction("fraud", {"ml.feature.secret": float(row % 97), "ml.prediction.id": f"id{row}",
                            "ml.prediction.class": "fraud" if row % 3 else "ok", "ml.prediction.score": row % 10 / 10,
                            "ml.segment.country": "DE"}, row)
            for row in range(sent, sent + rows)
        ]  # fmt: skip
        for start in range(0, rows, 1000):
            assert running.send("grpc", "traces", otlp.request(spans[start : start + 1000])).code == 0
        sent += rows

    assert status(running) | {"time": None} == {
        "status": "Server available", "models": 0, "learning": 0, "alerts_firing": 0, "time": None, "details": []
    }  # fmt: skip

    send(3200)
    running.wait(lambda: details(running).get("learning") == {"rows": 3200, "wanted": 5000, "progress": 0.64})
    learning = details(running)
    assert (learning["model"], learning["phase"]) == ("fraud", "learning")
    assert learning["reason"] == (
        "learning a reference: 3,200 of 5,000 rows; 200 rows are enough after 1d, and 0m have passed"
    )
    assert (learning["predictions"], learning["window"]) == (3200, None)
    assert [*health(running).items()][:3] == [("status", "Server available"), ("models", 1), ("learning", 1)]
    assert health(running)["alerts_firing"] == 0

    send(1800)
    running.wait(lambda: details(running)["phase"] == "measured")
    measured = details(running)
    assert (measured["reason"], measured["learning"], measured["reference"]) == ("", None, "the first 5000 rows")
    assert (measured["task"], measured["positive_class"]) == ("binary_classification", "fraud")
    assert measured["window"]["rows"] == 2000
    assert measured["labels"] == {"waiting": 5000, "joined": 0}

    labels = [otlp.label("fraud", f"id{row}", {"ml.label.class": "ok"}) for row in range(300)]
    assert running.send("http", "traces", otlp.request(labels)).code == 0
    running.wait(lambda: details(running)["labels"] == {"waiting": 4700, "joined": 300})

    running.wait(lambda: status(running)["alerts_firing"] == 1)
    [alert] = details(running)["alerts"]
    assert (alert["rule"], alert["severity"], alert["series"]) == ("rows", "critical", 2)
    assert health(running)["alerts_firing"] == 1

    for open_to_all in (str(status(running)), str(health(running))):
        assert not any(word in open_to_all for word in ("secret", "country", "DE"))


def test_two_hundred_predictions_a_day_have_figures_on_the_second_day(run: Make, otlp: Any) -> None:
    """Spans with the time stamps of several days: progress at once, a reference after a day, drift after 2.5 more."""
    begun_ns = time.time_ns() - 6 * 86_400 * 10**9
    sent = 0

    def send(running: Any, rows: int) -> None:
        nonlocal sent
        spans = [
            otlp.prediction("fraud", {"ml.feature.x": float(row * 7919 % 97), "ml.prediction.class": "ok"}, row,
                            start_time_unix_nano=begun_ns + row * 432 * 10**9)
            for row in range(sent, sent + rows)
        ]  # fmt: skip
        sent += rows
        assert running.send("grpc", "traces", otlp.request(spans)).code == 0

    def reason(running: Any) -> str:
        return details(running)["reason"]

    changes = {"connectors": {"ml_monitor": {"reference": {"learn": 5000}, "window": {"min_rows": 500}}}}
    with run(changes, size="500 rows") as running:
        send(running, 138)
        running.wait(lambda: "learning" in details(running))
        assert running.counted("otel_ml_learning_ratio", model="fraud") == 0.685
        assert reason(running) == (
            "learning a reference: 138 of 5,000 rows; 200 rows are enough after 1d, and 16h26m have passed"
        )
    with run(changes, size="500 rows") as running:
        running.wait(lambda: "learning" in details(running))
        assert details(running)["learning"] == {"rows": 138, "wanted": 5000, "progress": 0.685}
        send(running, 62)
        running.wait(lambda: details(running)["learning"]["rows"] == 200)
        assert details(running)["learning"]["progress"] < 1
        send(running, 10)
        running.wait(lambda: details(running)["reference"] == "the first 210 rows")
        assert reason(running) == "waiting for the first window to close: 210 of 500 rows"
        assert details(running)["problems"][0].startswith("its reference was learned from 210 rows")
        send(running, 300)
        running.wait(lambda: details(running)["phase"] == "measured")
        assert running.value("ml_drift_drifted", ml_feature_name="x") == 0


def test_the_figures_of_the_newest_window_are_on_the_board(running: Any, otlp: Any) -> None:
    spans = [otlp.prediction("fraud", {"ml.feature.x": float(row % 7), "ml.prediction.class": "ok"}, row)
             for row in range(7000)]  # fmt: skip
    for start in range(0, 7000, 1000):
        assert running.send("grpc", "traces", otlp.request(spans[start : start + 1000])).code == 0
    running.wait(lambda: running.value("ml_window_rows") == 2000)
    board = running.service.board
    running.wait(lambda: any(model.measurements for model in board.state.models.values()))
    [model] = board.state.models.values()
    figures = {item.name: item.value for item in model.measurements if len(item.attributes) == 2}
    assert figures["ml.window.rows"] == model.window.rows == 2000
    with pytest.raises(TypeError):
        board.state.models[model.key] = model
    assert any(isinstance(exporter, DebugExporter) for exporter in running.service.exporters)
