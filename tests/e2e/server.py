"""One real server of a test: its port, its process, its log; ``stack.py`` has the kinds of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools" / "bin"
DEADLINE_S = 60.0
Settings = Mapping[str, Any]
Labels = Mapping[str, str]


def tool(name: str) -> str:
    """Path of a tool, or a skip that says what is missing."""
    found = shutil.which(name, path=str(TOOLS)) or (None if name == "prometheus" else shutil.which(name))
    if found is None:
        pytest.skip(f"{name} is not there: see what `make tools` says")
    return found


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as free:
        free.bind(("127.0.0.1", port))
        return True
    return False


def _ports() -> Iterator[int]:
    """Below the range from which the system takes ports of its own, and each test process in a part of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    first, last = 12_000 + 2_000 * (worker % 8), 14_000 + 2_000 * (worker % 8)
    port = first + os.getpid() % 1_900
    while True:
        if _is_free(port):
            yield port
        port = first if port + 1 == last else port + 1


_FREE = _ports()


def free_port() -> int:
    """A port of this machine on which nobody listens, given once."""
    return next(_FREE)


def wait(condition: Callable[[], object], timeout_s: float = DEADLINE_S, told: Callable[[], str] = str) -> None:
    """Polls until the condition holds; what does not answer meanwhile counts as "not yet"."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except requests.RequestException as error:
            last = error
        else:
            if last:
                return
        threading.Event().wait(0.05)
    raise AssertionError(f"it did not happen in {timeout_s:g} s; last: {last!r} {told()}")


def merged(base: Settings, changes: Settings) -> dict[str, Any]:
    """The settings with the changes laid over, mapping by mapping; ``None`` removes a key."""
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


class Server:
    """A process of its own; what it says goes to a file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        env: Mapping[str, str] | None = None,
        ready: Callable[[], object] | None = None,
    ) -> None:
        self.name, self.directory = name, directory
        self.log = directory / "log.txt"
        self._command, self._env, self._ready = command, {**os.environ, **(env or {})}, ready
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env, cwd=self.directory)
        if self._ready is not None:
            self.wait(self._ready)

    def log_text(self, last: int = 20_000) -> str:
        """What it has said, or the end of it."""
        return self.log.read_text(errors="replace")[-last:]

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        """Polls until the condition holds; fails at once when the process has ended."""

        def alive_and() -> object:
            if not self.running():
                raise AssertionError(f"{self.name} has ended with {self._process.returncode}: {self.log_text()}")
            return condition()

        wait(alive_and, timeout_s, lambda: f"{self.name} said: {self.log_text(1_500)}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it and gives its exit code."""
        if self.running():
            self._process.send_signal(number)
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> int:
        return self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Ends it where it still runs, and starts it anew with the same ports, files and environment."""
        self.stop()
        self._start()


def samples(port: int) -> list[tuple[str, Labels, float]]:
    """Every sample that a Prometheus endpoint serves: name, labels, value."""
    text = requests.get(f"http://localhost:{port}/metrics", timeout=10).text
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def value_of(found: list[tuple[str, Labels, float]], name: str, labels: Labels) -> float | None:
    """Sum of the samples of a name with these labels (those of segments only when asked for); ``None`` for none."""
    values = [
        value
        for sample, attached, value in found
        if sample == name
        and labels.items() <= attached.items()
        and ("ml_segment_name" in labels or not attached.get("ml_segment_name"))
    ]
    return sum(values) if values else None
