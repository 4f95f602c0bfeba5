"""The service in a process of its own on localhost, a client that loads it, and a place for originals to go."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import grpc
import psutil
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.traffic import MODEL, POSITIVE, TASK, Template
from benchmarks.traffic import reference as traffic_reference
from collector_processor.reference.file import save_reference
from collector_processor.reference.profile import Reference

START_S, DRAIN_S = 30.0, 60.0
CONNECTIONS = 4
_BUSY_S = 0.02
_IDLE_POLL_S = 0.1
"""Asking is not free, and the service's CPU time is what is measured."""
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
Protocol = Literal["http", "grpc"]
Send = Callable[[bytes], bool]
"""Sends a request; False when the service is busy."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a stretch of load came to: rows taken in and counted, the server's CPU time for them, the wall time."""

    rows: int
    cpu_s: float
    wall_s: float

    @property
    def per_core(self) -> float:
        """Rows per second of one core."""
        return self.rows / self.cpu_s


class Server:
    """``otel-ml serve`` with a reference for the model; a context, ended by its process id.

    ``workers`` processes receive, ``labels`` is the join's capacity, ``originals`` an OTLP/HTTP endpoint that takes
    them, ``decoder`` chooses one, ``reference`` is another one than the traffic's, ``module`` runs the command.
    """

    def __init__(
        self,
        *,
        labels: int = 10_000_000,
        originals: str = "",
        compression: str | None = "none",
        decoder: str = "",
        workers: int = 1,
        reference: Reference | None = None,
        module: str = "collector_processor.cli.main",
    ) -> None:
        self._reference, self._module = reference or traffic_reference(), module
        self._workers = workers
        self._labels, self._originals, self._compression, self._decoder = labels, originals, compression, decoder
        self._exit = ExitStack()
        self._number = count(1)
        self.ports = {name: _free_port() for name in ("http", "grpc", "own", "health", "prometheus")}

    def __enter__(self) -> Server:
        folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory()))
        save_reference(self._reference, folder / "reference.json")
        (folder / "config.yaml").write_text(yaml.safe_dump(self._settings(folder)))
        self._log = self._exit.enter_context((folder / "log").open("w+"))
        environment = {**os.environ, **({"OTEL_ML_DECODER": self._decoder} if self._decoder else {})}
        command = [
            sys.executable,
            "-m",
            self._module,
            "serve",
            "--config",
            str(folder / "config.yaml"),
        ]
        command += ["--workers", str(self._workers)] if self._workers > 1 else []
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)
        self._usage = psutil.Process(self._process.pid)
        try:
            self._until(self._healthy, START_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        self._exit.close()

    def _settings(self, folder: Path) -> dict[str, Any]:
        at = {name: f"localhost:{port}" for name, port in self.ports.items()}
        exporters: dict[str, Any] = {"prometheus": {"endpoint": at["prometheus"]}}
        destinations = ["ml_monitor"]
        if self._originals:
            exporters["otlp_http"] = {"endpoint": self._originals}
            if self._compression is not None:
                exporters["otlp_http"]["compression"] = self._compression
            destinations.append("otlp_http")
        model = {
            "reference": str(folder / "reference.json"),
            "task": TASK,
            "positive_class": POSITIVE,
        }
        return {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": at["grpc"]}, "http": {"endpoint": at["http"]}}}},
            "connectors": {"ml_monitor": {"labels": {"capacity": self._labels}, "models": {MODEL: model}}},
            "exporters": exporters,
            "extensions": {"health_check": {"endpoint": at["health"]}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"endpoint": at["own"]}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": destinations},
                    "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus"]},
                },
            },
        }

    def cpu_s(self) -> float:
        """User and system time of the service's processes so far."""
        spent = [process.cpu_times() for process in self.processes()]
        return sum(times.user + times.system for times in spent)

    def processes(self) -> list[psutil.Process]:
        """The process that counts, and those that receive for it."""
        return [self._usage, *self._usage.children()]

    def pin(self, cores: Sequence[int]) -> None:
        """Has all threads of the service run on these cores only, from now on."""
        for process in self.processes():
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)

    def rss(self) -> int:
        """Resident memory now, bytes."""
        return self._usage.memory_info().rss

    def load(
        self,
        template: Template,
        seconds: float,
        protocol: Protocol = "http",
        connections: int = CONNECTIONS,
        requests: int | None = None,
        compress: bool = False,
    ) -> Load:
        """Sends requests for so long (or so many), as fast as the service takes them, until all are counted."""
        accepted = _Tally(requests)
        before, start = self.cpu_s(), time.perf_counter()
        deadline = time.monotonic() + seconds

        def work() -> None:
            with _sender(protocol, self.ports[protocol], compress) as send:
                while time.monotonic() < deadline and accepted.take():
                    body = template.body(next(self._number))
                    body = gzip.compress(body, 1) if compress else body
                    while not send(body):
                        time.sleep(_BUSY_S)

        threads = [threading.Thread(target=work) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._until(self._idle, DRAIN_S, _IDLE_POLL_S)
        return Load(accepted.taken * template.rows, self.cpu_s() - before, time.perf_counter() - start)

    def counted(self, name: str) -> float:
        """The sum of one of the service's own metrics."""
        with urllib.request.urlopen(f"http://localhost:{self.ports['own']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def _idle(self) -> bool:
        return self.counted("otel_ml_journal_entries") == 0

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{self.ports['health']}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _until(self, condition: Callable[[], bool], timeout_s: float, poll_s: float = 0.02) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError(f"the service did not do its work in {timeout_s:g} s:\n{self._log.read()[-2000:]}")
            time.sleep(poll_s)


class _Tally:
    """How many requests were begun, perhaps of at most so many."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.taken = 0

    def take(self) -> bool:
        with self._lock:
            if self._most is not None and self.taken >= self._most:
                return False
            self.taken += 1
            return True


class _sender:  # noqa: N801 -- a context, named as what it gives
    """One connection of a client."""

    def __init__(self, protocol: Protocol, port: int, compressed: bool) -> None:
        self._protocol, self._port = protocol, port
        self._headers = {"Content-Type": "application/x-protobuf"}
        if compressed:
            self._headers["Content-Encoding"] = "gzip"

    def __enter__(self) -> Send:
        if self._protocol == "http":
            self._http = http.client.HTTPConnection("localhost", self._port, timeout=60)
            return self._post
        # Channels to one address share a connection unless they differ in an option.
        self._channel = grpc.insecure_channel(
            f"localhost:{self._port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._call = self._channel.unary_unary(_METHOD)
        return self._export

    def __exit__(self, *_: object) -> None:
        (self._http if self._protocol == "http" else self._channel).close()

    def _post(self, body: bytes) -> bool:
        self._http.request("POST", "/v1/traces", body, self._headers)
        answer = self._http.getresponse()
        text = answer.read()
        return _taken(answer.status, 503, text)

    def _export(self, body: bytes) -> bool:
        try:
            return _taken(200, 503, self._call(body, timeout=60))
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                return False
            raise


def _taken(status: int, busy: int, text: bytes) -> bool:
    if status == busy:
        return False
    if status != 200 or ExportTraceServiceResponse.FromString(text).partial_success.rejected_spans:
        raise RuntimeError(f"the service answered {status}: {text!r}")
    return True


class Sink:
    """A process that takes OTLP/HTTP, reads it, says yes, and forgets it."""

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert self._process.stdout is not None
        return f"http://localhost:{int(self._process.stdout.readline())}"

    def __exit__(self, *_: object) -> None:
        end(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()


def end(process: subprocess.Popen[Any]) -> None:
    """Ends a process of ours, by asking first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as sock:
        return sock.getsockname()[1]
