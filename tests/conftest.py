"""Fixtures for all tests: a real Prometheus that scrapes what a test serves, a real Alertmanager."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from support.ports import free_port

# Machines are shared and noisy: no example fails for taking its time.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

Sample = tuple[dict[str, str], float]
DEADLINE_S = 60.0


class PrometheusServer:
    """Debian's Prometheus on a free port of this machine, asked over its HTTP API."""

    def __init__(self, binary: str, directory: Path, scrape_ports: Sequence[int], rules: str = "") -> None:
        self.port = free_port()
        targets = ", ".join(f"'127.0.0.1:{port}'" for port in scrape_ports)
        (directory / "rules.yml").write_text(rules or "groups: []\n")
        (directory / "prometheus.yml").write_text(
            "global: { scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }\n"
            "rule_files: [rules.yml]\n"
            "scrape_configs:\n"
            f"- {{ job_name: otel-ml, static_configs: [ {{ targets: [{targets}] }} ] }}\n"
        )
        with (directory / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--query.lookback-delta=2s",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        self._log = directory / "log.txt"

    def get(self, path: str, **parameters: str) -> object:
        """The ``data`` of an API answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=5) as answer:
            return json.load(answer)["data"]

    def query(self, promql: str) -> list[Sample]:
        """The instant vector that an expression gives now: labels and value of each series."""
        result = self.get("query", query=promql)["result"]  # type: ignore[index]  # the API's own shape
        return [(series["metric"], float(series["value"][1])) for series in result]

    def wait_for(self, promql: str, accept: Callable[[list[Sample]], bool] = bool) -> list[Sample]:
        """Asks until the answer is accepted; fails with the last answer and the log when that takes too long."""
        deadline = time.monotonic() + DEADLINE_S
        found: list[Sample] = []
        while time.monotonic() < deadline:
            try:
                found = self.query(promql)
            except (urllib.error.URLError, ConnectionError):
                pass  # still starting
            else:
                if accept(found):
                    return found
            if self._process.poll() is not None:
                break
            threading.Event().wait(0.05)
        raise AssertionError(f"{promql} gave {found}; Prometheus said: {self._log.read_text()}")

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


class AlertmanagerServer:
    """Debian's Alertmanager on a free port of this machine; it sends what it is told on to ``webhook`` at once."""

    def __init__(self, binary: str, directory: Path, webhook: str) -> None:
        self.port = free_port()
        receiver = f"webhook_configs: [ {{ url: '{webhook}', send_resolved: true }} ]" if webhook else ""
        (directory / "alertmanager.yml").write_text(
            "route: { receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }\n"
            f"receivers:\n- name: test\n  {receiver}\n"
        )
        self._command = [
            binary,
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'state'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
        self._log = directory / "log.txt"
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process, again after :meth:`stop`."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire there now; none while it cannot be reached."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return []

    def wait_for(self, accept: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """Asks until the alerts are accepted; fails with the last ones and the log when that takes too long."""
        deadline, found = time.monotonic() + DEADLINE_S, list[dict[str, Any]]()
        while time.monotonic() < deadline:
            found = self.alerts()
            if accept(found):
                return found
            threading.Event().wait(0.05)
        raise AssertionError(f"there is {found}; Alertmanager said: {self._log.read_text()}")


@pytest.fixture
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., AlertmanagerServer]]:
    """Starts an Alertmanager: ``alertmanager(webhook="http://…")``."""
    binary = shutil.which("prometheus-alertmanager")
    if binary is None:
        pytest.skip("Alertmanager is not installed: apt-get install --no-install-recommends prometheus-alertmanager")
    started: list[AlertmanagerServer] = []

    def start(webhook: str = "") -> AlertmanagerServer:
        server = AlertmanagerServer(binary, tmp_path_factory.mktemp("alertmanager"), webhook)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PrometheusServer]]:
    """Starts a Prometheus: ``prometheus([port, …], rules="…")`` scrapes these ports of this machine.

    It takes five seconds to its first scrape, so share one among the tests of a file; it lives as long as these.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed: apt-get install --no-install-recommends prometheus")
    started: list[PrometheusServer] = []

    def start(scrape_ports: Sequence[int], rules: str = "") -> PrometheusServer:
        server = PrometheusServer(binary, tmp_path_factory.mktemp("prometheus"), scrape_ports, rules)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
