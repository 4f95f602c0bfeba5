"""Several receiving processes: the figures of one, nothing lost at the end, and what happens when one dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector_processor.config import parse_config
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.run import Service
from collector_processor.service.workers import supervisor as module
from collector_processor.service.workers.supervisor import Source, Supervisor
from support.waiting import wait_until

DEADLINE_S = 60.0
MODEL = "fraud"
MINUTE_NS = 60 * 10**9
PROTOBUF = {"Content-Type": "application/x-protobuf"}
PASSING = ("otel_ml", "process_", "python_", "target_info", "ml_prediction_age", "ml_window_age")
"""Beginnings of the names of what tells of the process or the moment."""


class Many:
    """A service with so many workers, on a loop of its own."""

    def __init__(self, settings: Mapping[str, Any], workers: int) -> None:
        text = yaml.safe_dump(settings)
        self.failed = threading.Event()
        self.service = Service(
            parse_config(text), workers=workers, source=Source(text, Path()), on_failure=self.failed.set
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.drained = False

    def __enter__(self) -> Many:
        self._thread.start()
        try:
            self._run(self.service.start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.drained = self._run(self.service.stop())
        self._end()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def supervisor(self) -> Supervisor:
        assert self.service.supervisor is not None
        return self.service.supervisor

    def post(self, body: bytes, *, close: bool = True) -> int:
        """Sends on a connection of its own, so that any worker may get it."""
        port = dict(self.service.addresses())["http"]
        headers = {**PROTOBUF, **({"Connection": "close"} if close else {})}
        return requests.post(f"http://localhost:{port}/v1/traces", body, headers=headers, timeout=30).status_code

    def own(self, name: str) -> float:
        samples = self.samples(self.service.own_metrics.port)
        return sum(value for (sample, _), value in samples.items() if sample == name)

    def measured(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        port = next(item.port for item in self.service.exporters if hasattr(item, "port"))  # type: ignore[attr-defined]
        return {key: value for key, value in self.samples(port).items() if not key[0].startswith(PASSING)}

    def samples(self, port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = requests.get(f"http://localhost:{port}/metrics", timeout=10).text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def settings(tmp_path: Path, service_settings: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    window = {"size": "60s", "every": "60s", "allowed_lateness": "120s", "min_rows": 100}
    return service_settings(tmp_path / "state", {"connectors": {"ml_monitor": {"window": window}}})


def traffic(otlp: Any, start_ns: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """What the reference is learned from; what goes into the window after it, with labels; and what closes that."""
    rng = np.random.default_rng(7)

    def prediction(number: int, time_ns: int) -> Any:
        score = float(rng.random())
        attributes = {
            "ml.prediction.id": f"p{number}",
            "ml.prediction.score": score,
            "ml.prediction.class": "fraud" if score > 0.5 else "ok",
            "ml.feature.amount": float(rng.normal(100, 20)),
            "ml.feature.plan": str(rng.choice(["basic", "pro"])),
            "ml.segment.country": str(rng.choice(["DE", "FR"])),
        }
        return otlp.prediction(
            MODEL, attributes, number, start_time_unix_nano=time_ns, end_time_unix_nano=time_ns + 2_000_000
        )

    learned = [otlp.request([prediction(number, start_ns + number) for number in range(1000)])]
    times = start_ns + MINUTE_NS + rng.integers(0, MINUTE_NS, 2000)
    rows = [prediction(1000 + row, int(at)) for row, at in enumerate(times)]
    counted = [otlp.request(rows[first : first + 50]) for first in range(0, 2000, 50)]
    labels = [
        otlp.label(
            MODEL,
            f"p{1000 + row}",
            {"ml.label.class": str(rng.choice(["fraud", "ok"]))},
            start_time_unix_nano=int(times[row]) + 1,
        )
        for row in range(1500)
    ]
    counted += [otlp.request(labels[first : first + 100]) for first in range(0, 1500, 100)]
    return learned, counted, [otlp.request([prediction(9999, start_ns + 4 * MINUTE_NS + 2 * 10**9)])]


def figures(settings: Mapping[str, Any], workers: int, sent: tuple[list[bytes], ...]) -> dict[Any, float]:
    with Many(settings, workers) as running:
        items = 0.0
        for bodies in sent:
            for body in bodies:
                assert running.post(body) == 200
            items = running.own("otelcol_receiver_accepted_spans_total")
            wait_until(lambda: running.own("otel_ml_journal_entries") == 0)
        assert items == 1000 + 2000 + 1500 + 1
        found: dict[Any, float] = {}

        def closed() -> bool:
            found.clear()
            found.update(running.measured())
            return any(key[0] == "ml_window_labels" and value == 1500 for key, value in found.items())

        wait_until(closed)
    assert running.drained
    return found


def test_the_figures_of_one_and_of_two_workers_are_equal(settings: dict[str, Any], tmp_path: Path, otlp: Any) -> None:
    sent = traffic(otlp, (time.time_ns() // MINUTE_NS - 8) * MINUTE_NS)
    found: list[dict[Any, float]] = []
    for workers in (1, 2):
        settings["extensions"]["file_storage"]["directory"] = str(tmp_path / f"state-{workers}")
        found.append(figures(settings, workers, sent))

    assert len(found[0]) > 50
    # A performance that is learned is that of the labels that come first, and two workers do not keep the order.
    learned = ("_drop", "ml_cause_")
    found = [{key: value for key, value in each.items() if not any(one in key[0] for one in learned)} for each in found]
    assert found[0].keys() == found[1].keys()
    assert found[1] == pytest.approx(found[0], rel=1e-12, abs=1e-12)


def test_a_worker_that_dies_is_replaced_and_what_it_counted_stays(settings: dict[str, Any], otlp: Any) -> None:
    body = otlp.request([otlp.prediction(MODEL, {"ml.prediction.id": "a"})])
    with Many(settings, 2) as running:
        for _ in range(10):
            assert running.post(body) == 200
        assert running.own("otelcol_receiver_accepted_spans_total") == 10
        before = running.supervisor.pids
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(running.supervisor.pids) == 2 and before[0] not in running.supervisor.pids)
        wait_until(lambda: running.own("otel_ml_errors_total") == 1)
        assert running.own("otelcol_receiver_accepted_spans_total") == 10

        def taken() -> bool:
            try:
                return all(running.post(body) == 200 for _ in range(10))
            except requests.ConnectionError:
                return False

        wait_until(taken)
        assert not running.failed.is_set()
    assert running.drained


def test_each_worker_forwards_what_it_received(settings: dict[str, Any], run: Callable[..., Any], otlp: Any) -> None:
    bodies = [otlp.request([otlp.prediction(MODEL, {"ml.prediction.id": str(n)}, n)] * (n + 1)) for n in range(20)]
    with run() as destination:
        settings["exporters"]["otlp_http"] = {
            "endpoint": f"http://localhost:{destination.port('http')}",
            "tls": {"insecure": True},
        }
        settings["extensions"]["file_storage"]["directory"] += "-2"
        settings["service"]["pipelines"]["traces"]["exporters"] = ["ml_monitor", "otlp_http"]
        with Many(settings, 2) as running:
            for body in bodies:
                assert running.post(body) == 200
            wait_until(lambda: running.own("otelcol_exporter_sent_spans_total") == 210)
        assert running.drained
        assert destination.counted("otelcol_receiver_accepted_spans_total") == 210


def test_what_a_killed_worker_counted_stays_though_nobody_asked_for_it(settings: dict[str, Any], otlp: Any) -> None:
    body = otlp.request([otlp.prediction(MODEL, {"ml.prediction.id": "a"})])
    accepted = "otelcol_receiver_accepted_spans_total"
    with Many(settings, 2) as running:
        for _ in range(20):
            assert running.post(body) == 200
        workers = list(running.supervisor._workers.values())

        def told() -> float:
            families = [family for worker in workers for family in worker.last_metrics]
            return sum(value for family in families for name, _, value in family[3] if name == accepted)

        wait_until(lambda: told() == 20)
        for worker in workers:
            worker.process.kill()
        wait_until(lambda: not set(running.supervisor.pids) & {worker.process.pid for worker in workers})
        assert running.own(accepted) == 20


def test_a_worker_killed_while_it_starts_anew_is_started_once_more(settings: dict[str, Any]) -> None:
    with Many(settings, 2) as running:
        seen = set(running.supervisor.pids)
        first = min(seen)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: set(running.supervisor.pids) - seen)
        os.kill((set(running.supervisor.pids) - seen).pop(), signal.SIGKILL)
        wait_until(lambda: running.failed.is_set() or running.own("otel_ml_errors_total") == 2)
        wait_until(lambda: running.failed.is_set() or len(running.supervisor.pids) == 2)
        assert not running.failed.is_set()
    assert running.drained


def test_a_worker_that_cannot_be_started_anew_ends_the_service(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    with Many(settings, 2) as running:
        monkeypatch.setattr(module.subprocess, "Popen", refused)
        os.kill(running.supervisor.pids[0], signal.SIGKILL)
        wait_until(running.failed.is_set)
        assert running.supervisor.problem == "worker 1 cannot be restarted: no more processes"


def test_health_says_when_no_worker_receives(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESTART_WAIT_S", 3600.0)
    with Many(settings, 2) as running:
        health = running.service.servers["health_check"]
        assert health is not None
        url = f"http://localhost:{health.port}/health"
        assert requests.get(url, timeout=5).status_code == 200
        for pid in running.supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: requests.get(url, timeout=5).status_code == 503)
        assert "no worker is receiving" in requests.get(url, timeout=5).text


def test_workers_that_keep_dying_end_the_service(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESTARTS", 1)
    with Many(settings, 2) as running:
        for pid in running.supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(running.failed.is_set)
        assert "2 workers ended within 60 s" in running.supervisor.problem
        health = running.service.servers["health_check"]
        assert health is not None
        assert requests.get(f"http://localhost:{health.port}/health", timeout=5).status_code == 503


def test_senders_are_held_back_when_the_statistics_lag(settings: dict[str, Any], otlp: Any) -> None:
    settings["connectors"]["ml_monitor"]["limits"] = {"journal": "1MiB"}
    text = yaml.safe_dump(settings)
    telemetry = Telemetry()
    journal = MemoryJournal(telemetry, max_bytes=2**20)
    journal.subscribe("nobody reads", essential=True)
    workers = Supervisor(parse_config(text), Source(text, Path()), 2, journal, telemetry, instance_id="x")
    body = otlp.request([otlp.prediction(MODEL, {"ml.feature.amount": float(row)}, row) for row in range(2000)])
    asyncio.run(workers.start())
    try:
        url = f"http://localhost:{dict(workers.addresses())['http']}/v1/traces"

        def busy() -> bool:
            answer = requests.post(url, body, headers={**PROTOBUF, "Connection": "close"}, timeout=30)
            return answer.status_code == 503 and "Retry-After" in answer.headers

        wait_until(busy)
    finally:
        asyncio.run(workers.stop(1.0))
    assert workers.pids == []


def start(tmp_path: Path, settings: Mapping[str, Any], workers: int = 2) -> subprocess.Popen[str]:
    path = tmp_path / "otel-ml.yaml"
    path.write_text(yaml.safe_dump(settings))
    line = [
        sys.executable,
        "-m",
        "collector_processor",
        "serve",
        "--config",
        str(path),
        "--workers",
        str(workers),
    ]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True)


def until_ready(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stderr is not None
    for line in process.stderr:
        if "ready: " in line:
            pairs = (pair.rpartition(" :") for pair in line.partition("ready: ")[2].strip().split(", "))
            return {name: int(port) for name, _, port in pairs}
    raise AssertionError("it did not become ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_the_end_waits_for_what_the_workers_have(
    settings: dict[str, Any], tmp_path: Path, otlp: Any, number: signal.Signals
) -> None:
    body = otlp.request([otlp.prediction(MODEL, {"ml.feature.amount": float(row)}, row) for row in range(500)])
    process = start(tmp_path, settings)
    ports = until_ready(process)
    workers = psutil.Process(process.pid).children()
    for _ in range(20):
        url = f"http://localhost:{ports['http']}/v1/traces"
        assert requests.post(url, body, headers={**PROTOBUF, "Connection": "close"}, timeout=30).status_code == 200
    process.send_signal(number)

    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log
    assert "did not" not in log
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)


def test_workers_end_with_the_one_that_counts(settings: dict[str, Any], tmp_path: Path) -> None:
    process = start(tmp_path, settings)
    until_ready(process)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate(timeout=DEADLINE_S)

    psutil.wait_procs(workers, timeout=DEADLINE_S)
    assert not any(worker.is_running() for worker in workers)


def test_a_port_in_use_is_an_error_at_the_start(settings: dict[str, Any], tmp_path: Path) -> None:
    with Many(settings, 2) as running:
        port = dict(running.service.addresses())["http"]
        settings["receivers"]["otlp"]["protocols"]["http"]["endpoint"] = f"localhost:{port}"
        settings["extensions"]["file_storage"]["directory"] = str(tmp_path / "other")
        process = start(tmp_path, settings)
        _, log = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 1
    assert f"receivers.otlp.protocols.http: cannot listen on localhost:{port}: address already in use" in log


def test_no_workers_at_all_is_an_error(settings: dict[str, Any], tmp_path: Path) -> None:
    process = start(tmp_path, settings, workers=0)
    _, log = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 2
    assert "workers must be at least 1, not 0" in log
