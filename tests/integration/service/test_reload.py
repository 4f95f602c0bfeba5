"""SIGHUP in a real process: what can change does, no row is lost, and a file that cannot be used changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support.waiting import wait_until

PROTOBUF = {"Content-Type": "application/x-protobuf"}
EACH_COUNT = pytest.mark.parametrize("workers", [1, 2])


class Serving:
    """A service in a process, its configuration, and what it says."""

    def __init__(self, folder: Path, settings: Callable[..., dict[str, Any]], otlp: Any) -> None:
        self.path, self.log = folder / "otel-ml.yaml", folder / "log.txt"
        self._settings = lambda changes: settings(folder / "state", changes)
        self._otlp = otlp
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, changes: Mapping[str, Any]) -> None:
        self.path.write_text(yaml.safe_dump(self._settings(changes)))

    def start(self, changes: Mapping[str, Any], workers: int = 1) -> None:
        self.write(changes)
        line = [sys.executable, "-m", "collector_processor", "serve"]
        line += ["--config", str(self.path), "--workers", str(workers)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(line, stderr=log)
        wait_until(lambda: "ready: " in self.text() and self.text().endswith("\n"), 60)
        [ready] = [text for text in self.text().splitlines() if "ready: " in text]
        pairs = (pair.rpartition(" :") for pair in ready.partition("ready: ")[2].strip().split(", "))
        self.ports = {name: int(port) for name, _, port in pairs}

    def text(self) -> str:
        return self.log.read_text()

    def reload(self, changes: Mapping[str, Any] | None = None, result: str = "applied") -> None:
        """Ask for a reload, of a changed file if there are changes, and wait for its result."""
        assert self.process is not None
        before = self.own("otel_ml_reloads_total", result=result)
        if changes is not None:
            self.write(changes)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.own("otel_ml_reloads_total", result=result) == before + 1, 30)

    def post(self, rows: int, token: str = "", value: float = 1.5) -> int:
        """Send rows, and return the status of the answer."""
        spans = [
            self._otlp.prediction("fraud", {"ml.feature.amount": value + row % 7, "ml.prediction.score": row % 10 / 10})
            for row in range(rows)
        ]
        headers = {**PROTOBUF, "Connection": "close"} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = f"http://localhost:{self.ports['http']}/v1/traces"
        return requests.post(url, self._otlp.request(spans), headers=headers, timeout=30).status_code

    def _sum(self, port: str, name: str, wanted: Mapping[str, str]) -> float:
        text = requests.get(f"http://localhost:{self.ports[port]}/metrics", timeout=5).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(item.value for item in samples if item.name == name and wanted.items() <= item.labels.items())

    def own(self, name: str, **wanted: str) -> float:
        return self._sum("own metrics", name, wanted)

    def figure(self, name: str, **wanted: str) -> float:
        return self._sum("prometheus", name, wanted)

    def end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.text()


@pytest.fixture
def serving(tmp_path: Path, service_settings: Callable[..., dict[str, Any]], otlp: Any) -> Iterator[Serving]:
    service = Serving(tmp_path, service_settings, otlp)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.process.kill()
        service.process.wait()


def drift(methods: list[str]) -> dict[str, Any]:
    return {
        "connectors": {"ml_monitor": {"drift": {"numeric": methods}, "reference": {"learn": 1000}}},
        "alerts": {"rules": {"ours": {"measurement": "ml.window.rows", "above": 1}}},
    }


@EACH_COUNT
def test_no_row_is_lost_and_a_learned_reference_stays(serving: Serving, workers: int) -> None:
    serving.start(drift(["psi"]), workers)
    sent, going = [0], threading.Event()

    def send() -> None:
        while not going.is_set():
            assert serving.post(100) == 200
            sent[0] += 100

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_until(lambda: sent[0] >= 1500, 60)
        for methods in (["js"], ["ks", "psi"], ["wasserstein"]):
            serving.reload(drift(methods))
    finally:
        going.set()
        sender.join()
    reloaded = sent[0]
    while sent[0] % 2000 or sent[0] < reloaded + 2000:  # up to the end of a window that began after the reloads
        assert serving.post(100) == 200
        sent[0] += 100
    wait_until(lambda: serving.own("otel_ml_rows_total") == sent[0], 60)
    wait_until(lambda: serving.figure("ml_drift_threshold", ml_drift_method="wasserstein"), 60)
    assert serving.figure("ml_window_rows") == 2000
    assert serving.own("otel_ml_dropped_total") == 0
    assert serving.text().count("reference learned from") == 1
    serving.end()


@EACH_COUNT
def test_a_file_that_cannot_be_used_changes_nothing(serving: Serving, workers: int) -> None:
    serving.start(drift(["psi"]), workers)
    for changes, reason in (
        ({"connectors": {"ml_monitor": {"drift": {"numeric": ["kss"]}}}}, "unknown method 'kss'"),
        ({"connectors": {"ml_monitor": {"models": {"m": {"reference": "nowhere.json"}}}}}, "cannot be read"),
        (
            {**drift(["js"]), "exporters": {"prometheus": {"metric_expiration": "7m"}}},
            "exporters.prometheus.metric_expiration: changed; it only takes effect when the service restarts",
        ),
        ({"connectors": {"ml_monitor": {"limits": {"models": 5}}}}, "connectors.ml_monitor.limits.models: changed"),
        ({"alerts": {"notify": ["debug"]}, "exporters": {"debug": None}}, "alerts.notify: changed"),
    ):
        serving.reload(changes, "refused")
        last = [line for line in serving.text().splitlines() if "not reloaded" in line][-1]
        assert reason in last
        assert "line " in last
    serving.path.write_text("receivers: [")
    serving.reload(None, "refused")
    serving.path.unlink()
    serving.reload(None, "refused")
    for _ in range(30):
        assert serving.post(100) == 200
    wait_until(lambda: serving.figure("ml_drift_threshold", ml_drift_method="psi"), 60)
    wait_until(lambda: serving.figure("ml_window_rows") == 2000, 60)
    assert serving.figure("ml_drift_threshold", ml_drift_method="js") == 0
    serving.end()


@EACH_COUNT
def test_new_tokens_are_valid_and_old_ones_are_not(serving: Serving, workers: int) -> None:
    def tokens(*allowed: str) -> dict[str, Any]:
        return {
            "receivers": {"otlp": {"protocols": {"http": {"auth": {"authenticator": "bearertokenauth"}}}}},
            "extensions": {"bearertokenauth": {"tokens": list(allowed)}},
            "service": {"extensions": ["health_check", "file_storage", "bearertokenauth"]},
        }

    serving.start(tokens("t0k3n-one"), workers)
    assert (serving.post(1, "t0k3n-one"), serving.post(1, "t0k3n-two")) == (200, 401)
    serving.reload(tokens("t0k3n-two"))
    wait_until(lambda: serving.post(1, "t0k3n-two") == 200 and serving.post(1, "t0k3n-one") == 401, 30)
    serving.reload(
        {**tokens("t0k3n-two"), "extensions": {"bearertokenauth": {"token": "x", "scheme": "Key"}}}, "refused"
    )
    assert "t0k3n-one" not in serving.text()
    assert "t0k3n-two" not in serving.text()
    serving.end()


def test_what_was_counted_since_the_start_continues(serving: Serving, otlp: Any) -> None:
    serving.start({"connectors": {"ml_monitor": {"reference": {"learn": 100}}}})
    rows = [
        otlp.prediction("fraud", {"ml.feature.amount": float(row), "ml.prediction.id": str(row)}) for row in range(200)
    ]
    labels = [otlp.label("fraud", str(row), {"ml.label.class": "1"}) for row in range(50)]
    for spans in (rows, labels):
        url = f"http://localhost:{serving.ports['http']}/v1/traces"
        assert requests.post(url, otlp.request(spans), headers=PROTOBUF, timeout=30).status_code == 200

    def state() -> dict[str, Any]:
        answer = requests.get(f"http://localhost:{serving.ports['own metrics']}/status", timeout=5).json()
        return next(iter(answer["details"]), {})

    wait_until(lambda: state().get("labels", {}).get("joined") == 50, 60)
    before = state()
    serving.reload({"connectors": {"ml_monitor": {"reference": {"learn": 100}, "drift": {"numeric": ["ks"]}}}})
    wait_until(lambda: "phase" in state(), 60)
    assert {name: state()[name] for name in ("predictions", "labels")} == {
        name: before[name] for name in ("predictions", "labels")
    }
    serving.end()


def test_rules_change_and_what_a_removed_rule_had_sent_resolves(serving: Serving) -> None:
    serving.start(drift(["psi"]))
    for _ in range(30):
        assert serving.post(100) == 200
    wait_until(lambda: serving.own("otel_ml_alerts_total", rule="ours", state="firing") == 1, 60)
    serving.reload({**drift(["psi"]), "alerts": {"rules": {"mine": {"measurement": "ml.window.rows", "above": 1}}}})
    for _ in range(20):
        assert serving.post(100) == 200
    wait_until(lambda: serving.own("otel_ml_alerts_total", rule="mine", state="firing") == 1, 60)
    assert serving.own("otel_ml_alerts_total", rule="ours", state="resolved") == 1
    serving.end()
