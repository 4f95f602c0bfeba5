"""A real MLServer under ``opentelemetry-instrument``: predictions have its names and ids, once, however it runs."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlserver", reason="is in the environment of `make frameworks`")

from support.model_servers import CLASSES, inference_request, write_mlserver
from support.ports import free_port
from support.served import Answer, ask, serving, together, wait_for_predictions
from support.sink import Sink, listening


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


class Server:
    """An address of MLServer."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v2/models/churn/infer"

    def infer(self, ages: list[float], request_id: str | None = None, output: str = "predict_proba") -> Answer:
        """Send one inference request."""
        return ask(self._url, inference_request(ages, request_id, output))


@pytest.fixture
def start(sink: Sink, tmp_path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def started(workers: int, **model: Any) -> Server:
            http = free_port()
            write_mlserver(tmp_path, http, free_port(), free_port(), workers, **model)
            command = [Path(sys.executable).with_name("mlserver"), "start", "."]
            ready = f"http://127.0.0.1:{http}/v2/health/ready"
            stack.enter_context(serving(sink.endpoint, tmp_path, command, ready, OTEL_ML_MODEL_NAME="env"))
            return Server(http)

        yield started


@pytest.mark.parametrize("workers", [0, 1])
def test_predictions_have_the_names_and_the_id_of_the_request(start: Any, sink: Sink, workers: int) -> None:
    server: Server = start(workers)
    numbers = range(20)
    answers = together(
        [lambda number=number: server.infer([float(number)], f"order-{number}") for number in numbers]
        + [lambda: server.infer([20.0, 50.0], "two")]
    )
    assert {answer.status for answer in answers} == {200}
    failed = server.infer([20.0], "bad", output="nothing")
    assert failed.status >= 400
    made = server.infer([33.0])
    seen = wait_for_predictions(sink, 23)
    assert {(each.model, each.version) for each in seen} == {("churn", "v7")}
    by_id = {each.id: dict(each.features) for each in seen}
    expected = {f"order-{number}": {"age": float(number), "calls": 7.0} for number in numbers}
    expected |= {"two:0": {"age": 20.0, "calls": 7.0}, "two:1": {"age": 50.0, "calls": 7.0}}
    expected |= {made.body["id"]: {"age": 33.0, "calls": 7.0}}
    assert by_id == expected
    assert len(seen) == len(by_id), "each counts once"
    assert all(each.score is not None and each.class_ in CLASSES for each in seen)
    if not workers:  # in another process the ids are not known to the one that answers
        assert answers[0].headers["x-prediction-id"] == "order-0"


@pytest.mark.parametrize("workers", [0, 1])
def test_with_adaptive_batching_each_row_has_the_id_of_its_request(start: Any, sink: Sink, workers: int) -> None:
    server: Server = start(workers, max_batch_size=8, max_batch_time=0.5)
    ages = {f"order-{number}": [float(number)] * (1 + number % 2) for number in range(40)}
    answers = together([lambda name=name, rows=rows: server.infer(rows, name) for name, rows in ages.items()])
    assert [answer.body.get("id", answer.body) for answer in answers] == list(ages)
    seen = wait_for_predictions(sink, 60)
    assert len(seen) == 60
    for each in seen:
        assert each.features["age"] == ages[each.id.partition(":")[0]][0]
    assert Counter(each.id for each in seen) == Counter(
        f"{name}:{row}" if len(rows) > 1 else name for name, rows in ages.items() for row in range(len(rows))
    )
    spans = [span for span in sink.spans() if span.name.startswith("predict ")]
    assert len(spans) < 40, "some were merged"
    assert not any(span.parent_span_id for span in spans), "a batch is of no single request"
