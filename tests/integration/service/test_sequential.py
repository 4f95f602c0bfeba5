"""A monitor with state through the end of a process: SIGTERM, a new process, and the state goes on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector_processor.monitors.missing_shift import MissingShiftSettings, MissingShiftState, page_hinkley

DEADLINE_S = 60.0
PANE_ROWS = 100
SHIFT = {"enabled": True, "min_cells": PANE_ROWS, "min_steps": 3}


@contextlib.contextmanager
def serving(path: Path) -> Iterator[dict[str, int]]:
    """A service in a process of its own, as its ports by name; ends with SIGTERM."""
    line = [sys.executable, "-m", "collector_processor", "serve", "--config", str(path)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        ready = next(text for text in process.stderr if "ready: " in text)
        pairs = (pair.rpartition(" :") for pair in ready.partition("ready: ")[2].strip().split(", "))
        yield {name: int(port) for name, _, port in pairs}
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
    finally:
        process.kill()
        process.communicate()


def evidence(port: int) -> float | None:
    """The newest evidence about the feature ``amount``."""
    text = requests.get(f"http://localhost:{port}/metrics", timeout=5).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "ml_quality_missing_shift_ratio" and sample.labels["ml_feature_name"] == "amount":
                return sample.value
    return None


def expected(shares: list[float]) -> float:
    config = MissingShiftSettings(**SHIFT)  # type: ignore[arg-type]
    none = np.zeros(1)
    state = MissingShiftState(
        none, none, np.zeros(1, np.int64), none, none, np.full(1, np.inf), none, np.full(1, -np.inf)
    )
    last = none
    for share in shares:
        state, last = page_hinkley(config, state, np.array([share]), np.array([True]))
    return float(last[0])


def test_the_state_of_a_monitor_goes_on_after_sigterm(
    tmp_path: Path, service_settings: Callable[..., dict[str, Any]], otlp: Any
) -> None:
    monitor: Mapping[str, Any] = {
        "window": {"size": f"{PANE_ROWS} rows"}, "reference": {"learn": PANE_ROWS}, "missing_shift": SHIFT
    }  # fmt: skip
    path = tmp_path / "otel-ml.yaml"
    path.write_text(yaml.safe_dump(service_settings(tmp_path / "state", {"connectors": {"ml_monitor": monitor}})))

    def send(ports: Mapping[str, int], missing: int) -> None:
        spans = [
            otlp.prediction("fraud", {"ml.feature.plan": "a", **({} if row < missing else {"ml.feature.amount": 1.5})})
            for row in range(PANE_ROWS)
        ]
        url = f"http://localhost:{ports['http']}/v1/traces"
        headers = {"Content-Type": "application/x-protobuf"}
        assert requests.post(url, otlp.request(spans), headers=headers, timeout=30).status_code == 200

    with serving(path) as ports:
        for _ in range(5):
            send(ports, missing=10)
    with serving(path) as ports:
        assert evidence(ports["prometheus"]) is None
        send(ports, missing=40)
        deadline = time.monotonic() + DEADLINE_S
        while (found := evidence(ports["prometheus"])) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert found == pytest.approx(expected([0.1] * 5 + [0.4]))
    assert found > 0.3
