"""Celery's workers under ``opentelemetry-instrument``: what their tasks predict arrives, however the worker ends."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("celery", reason="is in the environment of `make frameworks`")

from support.served import predictions, running
from support.sink import Sink, listening
from support.waiting import wait_until

TASKS = """
import os

from celery import Celery

import otel_ml

here = os.path.dirname(os.path.abspath(__file__))
app = Celery("tasks", broker="filesystem://", backend=f"file://{here}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{here}/queue",
    "data_folder_out": f"{here}/queue",
    "control_folder": f"{here}/control",
}
app.conf.broker_connection_retry_on_startup = False
churn = otel_ml.Model("churn")


@app.task
def score(age):
    with churn.predict({"age": age}) as prediction:
        prediction.record(score=0.5)
    return prediction.id
"""
SEND = """
import json

from tasks import score

print(json.dumps([result.get(timeout=60) for result in [score.delay(age) for age in range(60)]]))
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.mark.parametrize(
    "pool",
    ["--pool=prefork -c 2", "--pool=prefork -c 2 --max-tasks-per-child=10", "--pool=threads -c 4", "--pool=solo"],
)
def test_every_row_of_every_task_arrives_once(sink: Sink, tmp_path: Path, pool: str) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "--without-mingle",
        "--without-gossip",
        "--loglevel=INFO",
    ]
    log = tmp_path / "server.log"
    with running(sink.endpoint, tmp_path, [*command, *pool.split()], OTEL_BSP_SCHEDULE_DELAY="60000"):
        wait_until(lambda: "ready." in log.read_text(errors="replace"), explain=lambda: log.read_text(errors="replace"))
        done = subprocess.run(
            [sys.executable, "-c", SEND], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr + log.read_text(errors="replace")
    assert Counter(each.features["age"] for each in predictions(sink)) == Counter(range(60))
