"""Each example runs as its first lines say, against a service of its own process, and its figures arrive."""

from __future__ import annotations

import csv
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

EXAMPLES = Path(__file__).parents[3] / "examples"
DEADLINE_S = 60.0
BASKETS, WINES = 200, 20 * 45


def until(condition: Callable[[], object], what: Callable[[], object]) -> None:
    """Polls until the condition holds; ``what`` says what there was instead."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        threading.Event().wait(0.1)


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def without_otel(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("OTEL_")}


class Serving:
    """``otel-ml serve`` with the examples' configuration on free ports, windows closing sooner."""

    def __init__(self, folder: Path) -> None:
        self.grpc, self.http, self.prometheus, self.health, self.own = free_ports(5)
        settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "otel-ml.yaml").read_text(encoding="utf-8"))
        settings["receivers"]["otlp"]["protocols"] = {
            "grpc": {"endpoint": f"localhost:{self.grpc}"},
            "http": {"endpoint": f"localhost:{self.http}"},
        }
        settings["connectors"]["ml_monitor"]["window"] |= {"every": "1s", "allowed_lateness": "1s"}
        settings["exporters"]["prometheus"]["endpoint"] = f"localhost:{self.prometheus}"
        settings["extensions"]["health_check"]["endpoint"] = f"localhost:{self.health}"
        settings["service"]["telemetry"] = {"metrics": {"endpoint": f"localhost:{self.own}"}}
        config = folder / "otel-ml.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.log = folder / "service.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "collector_processor", "serve", "--config", str(config)],
                env=without_otel(os.environ),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Serving:
        until(lambda: self._process.poll() is not None or self._healthy(), self.log.read_text)
        assert self._process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.wait(DEADLINE_S) == 0, self.log.read_text()

    def _healthy(self) -> bool:
        try:
            return requests.get(f"http://localhost:{self.health}/", timeout=5).ok
        except requests.ConnectionError:
            return False

    def run(self, *command: str, **variables: str) -> str:
        """Runs an example under ``opentelemetry-instrument`` to its end; what it printed."""
        instrument = Path(sys.executable).with_name("opentelemetry-instrument")
        sending = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{self.grpc}",
            # All at once, at the end: on a slow machine nothing is late for that.
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }
        done = subprocess.run(
            [str(instrument), "--service_name", "example", sys.executable, *command],
            env=without_otel(os.environ) | sending | variables,
            cwd=EXAMPLES.parent,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def samples(self, port: int) -> list[tuple[str, Mapping[str, str], float]]:
        text = requests.get(f"http://localhost:{port}/metrics", timeout=5).text
        families = text_string_to_metric_families(text)
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def values(self, name: str, **labels: str) -> list[float]:
        """The derived figures of that name with these labels; those of segments only when asked for."""
        return [
            value
            for sample, attached, value in self.samples(self.prometheus)
            if sample == name
            and labels.items() <= attached.items()
            and ("ml_segment_name" in labels or "ml_segment_name" not in attached)
        ]

    def counted(self, name: str, **labels: str) -> float:
        """One of the service's own counters, 0 where it has not begun."""
        return sum(
            value
            for sample, attached, value in self.samples(self.own)
            if sample == name and labels.items() <= attached.items()
        )

    def wait(self, condition: Callable[[], object]) -> None:
        until(condition, lambda: (self.log.read_text(), self.samples(self.own)))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serving")) as running:
        yield running


def test_predictions_by_hand_and_their_labels_become_drift_and_performance(serving: Serving) -> None:
    serving.run("examples/manual.py")
    baskets = {"ml_model_name": "basket-value", "ml_model_version": "3"}
    serving.wait(lambda: serving.values("ml_window_labels", **baskets) == [BASKETS])
    assert serving.values("ml_window_rows", **baskets) == [BASKETS]
    assert serving.counted("otel_ml_labels_total", model="basket-value", outcome="joined") == BASKETS
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "brier"):
        [value] = serving.values(f"ml_performance_{name}_ratio", **baskets)
        assert 0 < value < 1, name
    for feature in ("items", "amount", "country"):
        assert len(serving.values("ml_drift_score", ml_feature_name=feature, ml_drift_method="psi", **baskets)) == 1
    countries = [
        serving.values("ml_window_rows", ml_segment_name="country", ml_segment_value=name, **baskets)
        for name in ("DE", "FR", "IT")
    ]
    assert sum(value for [value] in countries) == BASKETS


def test_scikit_learn_without_a_line_about_monitoring_is_observed(serving: Serving) -> None:
    serving.run("examples/sklearn_zero_code.py", OTEL_ML_MODEL_NAME="wine")
    serving.wait(lambda: serving.values("ml_window_rows", ml_model_name="wine") == [WINES])
    scores = serving.values("ml_drift_score", ml_model_name="wine", ml_column_role="feature", ml_drift_method="ks")
    assert len(scores) == 13
    classes = [serving.values("ml_predictions_total", ml_model_name="wine", ml_prediction_class=name) for name in "012"]
    assert sum(value for [value] in classes) == WINES
    assert serving.counted("otel_ml_rows_total", model="wine") == WINES


def test_labels_of_a_later_job_find_their_predictions(serving: Serving, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    before = serving.counted("otel_ml_labels_total", model="basket-value", outcome="joined")
    serving.run("examples/manual.py", str(labels))
    assert serving.counted("otel_ml_labels_total", model="basket-value", outcome="joined") == before
    with labels.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == {"buys", "leaves"}

    printed = serving.run("examples/label_job.py", str(labels))
    assert printed.strip() == f"{BASKETS} labels sent"
    serving.wait(
        lambda: serving.counted("otel_ml_labels_total", model="basket-value", outcome="joined") == before + BASKETS
    )
    serving.wait(lambda: serving.values("ml_window_labels", ml_model_name="basket-value") == [before + BASKETS])


def test_nothing_of_it_was_dropped_refused_or_late(serving: Serving) -> None:
    unwanted = ("otel_ml_errors_total", "otelcol_receiver_refused_spans_total")
    assert {name: serving.counted(name) for name in unwanted} == dict.fromkeys(unwanted, 0)
    # The apps' own metrics come too; this configuration takes them nowhere, which is counted, but not as a loss.
    assert serving.counted("otel_ml_unread_total", signal="metrics") > 0
    assert serving.counted("otel_ml_dropped_total") == 0


def table_commands() -> Sequence[list[str]]:
    """The commands in the table of examples/README.md."""
    lines = (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    quoted = [part for line in lines if line.startswith("| [") for part in line.split("`")[1::2]]
    return [shlex.split(part) for part in quoted]


def test_the_page_of_examples_runs_them_all_as_these_tests_do() -> None:
    named = {word for words in table_commands() for word in words if word.startswith("examples/")}
    assert named >= {f"examples/{file.name}" for file in EXAMPLES.glob("*.py")}
    for words in table_commands():
        assert all((EXAMPLES.parent / word).exists() for word in words if word.startswith("examples/")), words
