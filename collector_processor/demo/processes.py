"""The processes of the demo: the service and the serving app, on ports that are free."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import requests

from collector_processor.demo.flights import MODEL_NAME, MODEL_VERSION
from collector_processor.serving.listen import check_free

DEFAULT_PORT = 9464
ALERTS = "alerts.log"
_START_TIMEOUT_S = 60.0
CONFIG = (
    (files("collector_processor.demo") / "otel-ml.yaml").read_text(encoding="utf-8").replace("MODEL_NAME", MODEL_NAME)
)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the demo, all on this machine only."""

    prometheus: int
    grpc: int
    health: int
    own: int
    app: int


def choose_ports(port: int | None) -> Ports:
    """Return free ports: the one that is asked for, or the usual one of Prometheus exporters if it is free.

    Raises ``OSError`` if the one that is asked for is taken.
    """
    if port is not None:
        check_free(f"localhost:{port}", "--port")
    else:
        with contextlib.suppress(OSError):
            port = check_free(f"localhost:{DEFAULT_PORT}", "--port")[1]
    *others, spare = _free_ports(5)
    return Ports(spare if port is None else port, *others)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def service(directory: Path, ports: Ports) -> contextlib.AbstractContextManager[None]:
    """Run the service; its alerts are in ``alerts.log``, its other output in ``service.log``."""
    config = directory / "otel-ml.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    environment = {
        "DEMO_OTLP_PORT": str(ports.grpc),
        "DEMO_PROMETHEUS_PORT": str(ports.prometheus),
        "DEMO_HEALTH_PORT": str(ports.health),
        "DEMO_OWN_PORT": str(ports.own),
    }
    command = [sys.executable, "-m", "collector_processor", "serve", "--config", str(config)]
    ready = f"http://localhost:{ports.health}/"
    return _running(command, directory / "service.log", ready, environment, directory / ALERTS)


def serving_app(directory: Path, ports: Ports) -> contextlib.AbstractContextManager[None]:
    """Run the app that serves the model, under ``opentelemetry-instrument``."""
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
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    return _running(command, directory / "app.log", f"http://localhost:{ports.app}/ready", environment)


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, ready_url: str, environment: dict[str, str], printed: Path | None = None
) -> Generator[None, None, None]:
    """Run a child process that answers at ``ready_url``, until the demo ends; if it fails, the error has its log.

    What it prints to standard output is in ``printed``, or in the log too.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with contextlib.ExitStack() as files:
        errors = files.enter_context(log.open("wb"))
        output = errors if printed is None else files.enter_context(printed.open("wb"))
        process = subprocess.Popen(  # noqa: S603 -- our own programs
            command, env={**inherited, **environment}, stdout=output, stderr=errors
        )
    try:
        until(lambda: process.poll() is not None or _answers(ready_url), _START_TIMEOUT_S)
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


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
