"""Start the receiving processes, journal what they decode, replace one that dies, and drain them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collector_processor.config import Config
from collector_processor.config.load import DEFAULT
from collector_processor.journal.base import Journal, JournalFullError, Request
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.workers.handover import unpack
from collector_processor.service.workers.link import Link, Message
from collector_processor.service.workers.metrics import Snapshot, counted, total
from collector_processor.serving.listen import check_free, listen
from collector_processor.settings.values import socket_path

START_TIMEOUT_S: Final = 30.0
_METRICS_TIMEOUT_S: Final = 2.0
_END_TIMEOUT_S: Final = 2.0
_FULL_WAIT_S: Final = 0.01
_RESTARTS: Final = 5
_RESTARTS_WITHIN_S: Final = 60.0
_RESTART_WAIT_S: Final = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a configuration, which each process reads itself, and the folder that its paths are relative to."""

    text: str
    base: Path

    @classmethod
    def read(cls, path: Path | None) -> Source:
        """Read a file; without one, return the built-in configuration."""
        return cls(DEFAULT, Path()) if path is None else cls(path.read_text(encoding="utf-8"), path.parent)


@dataclass(slots=True)
class _Running:
    """One worker process, its link, the thread that reads it, and the metrics that it sent last."""

    number: int
    process: subprocess.Popen[bytes]
    link: Link
    thread: threading.Thread | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    last_metrics: Snapshot = field(default_factory=list[object])


class Supervisor:
    """Runs ``count`` receiving processes in front of a journal, and takes the place of a receiver.

    They share the ports (``SO_REUSEPORT``), so the system distributes connections. A worker that dies is restarted;
    when that happens more than five times a minute, ``on_failure`` is called, and :attr:`problem` says why.
    """

    name: Final = "workers"

    def __init__(
        self,
        config: Config,
        source: Source,
        count: int,
        journal: Journal,
        telemetry: Telemetry,
        *,
        instance_id: str,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        if count < 1:
            raise ValueError(f"workers must be at least 1, not {count}")
        self._config = config
        self._source = source
        self._count = count
        self._journal = journal
        self._telemetry = telemetry
        self._instance_id = instance_id
        self._on_failure = on_failure
        self._ports: dict[str, int] = {}
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()
        self._workers: dict[int, _Running] = {}
        self._gone: Snapshot = []
        self._deaths: deque[float] = deque(maxlen=_RESTARTS)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.problem = ""

    def reload(self, config: Config, source: Source) -> None:
        """Let all workers use the tokens of a changed configuration, and those that start later all of it."""
        self._config, self._source = config, source
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            # One that has just died is replaced, and its successor reads the new source.
            with contextlib.suppress(OSError):
                worker.link.send_value("reload", {"text": source.text, "base": str(source.base)})

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        with self._lock:
            return [worker.process.pid for worker in self._workers.values()]

    @property
    def status(self) -> str:
        """Why nothing is received, now or permanently; empty while at least one worker receives."""
        with self._lock:
            receiving = any(worker.ready.is_set() for worker in self._workers.values())
        return self.problem or ("" if receiving else "no worker is receiving")

    def addresses(self) -> list[tuple[str, int]]:
        """Return each listener's name and port."""
        return [(name.rpartition(".")[2], port) for name, port in self._ports.items()]

    async def start(self) -> None:
        """Start all workers; if any cannot start, raise ``OSError`` with the first one's reason."""
        self._hold_ports()
        await asyncio.to_thread(self._start_all)

    def _start_all(self) -> None:
        started = [self._launch(number) for number in range(1, self._count + 1)]
        deadline = time.monotonic() + START_TIMEOUT_S
        for worker in started:
            worker.ready.wait(max(0.0, deadline - time.monotonic()))
            if worker.problem or not worker.ready.is_set():
                raise OSError(worker.problem or f"worker {worker.number} did not start within {START_TIMEOUT_S:g} s")

    async def stop(self, timeout_s: float) -> None:
        """Let the workers finish what is in flight and hand everything over; kill those that take too long."""
        self._stopping.set()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.link.send_value("stop", timeout_s)
        await asyncio.to_thread(self._join, workers, time.monotonic() + timeout_s + 1.0)
        for sock in self._held:
            sock.close()
        self._held.clear()

    def _join(self, workers: Iterable[_Running], deadline: float) -> None:
        for worker in workers:
            _end(worker, max(0.1, deadline - time.monotonic()))
        for worker in workers:
            if worker.thread is not None:
                worker.thread.join(max(0.1, deadline - time.monotonic()))
        # What still has no room in the journal will not get any.
        self._ended.set()
        for worker in workers:
            if worker.thread is not None:
                worker.thread.join(_END_TIMEOUT_S)

    def metrics(self) -> list[Snapshot]:
        """Return what all workers counted, ended ones included; request it and wait briefly for their answers."""
        with self._lock:
            workers = list(self._workers.values())
        requested: list[_Running] = []
        for worker in workers:
            worker.answered.clear()
            with contextlib.suppress(OSError):
                worker.link.send_value("metrics")
                requested.append(worker)
        deadline = time.monotonic() + _METRICS_TIMEOUT_S
        for worker in requested:
            worker.answered.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return [
                self._gone,
                *(worker.last_metrics for worker in workers if self._workers.get(worker.number) is worker),
            ]

    def _hold_ports(self) -> None:
        """Find a port for each receiver and hold it, even while a worker restarts."""
        for name, settings in self._config.receivers.items():
            for part_key, part in settings.parts(f"receivers.{name}"):
                for key, endpoint in part.listens(part_key):
                    if socket_path(endpoint):
                        problem = "several workers cannot share a Unix socket; use --workers 1, or a port"
                        raise OSError(f"{key}: {endpoint}: {problem}")
                    # Sharing would let a second service in unnoticed, so no other process may have the port.
                    _, port = check_free(endpoint, key)
                    self._held += listen(f"{endpoint.rpartition(':')[0]}:{port}", key, shared=True, accepting=False)
                    self._ports[key] = port

    def _launch(self, number: int) -> _Running:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "collector_processor.service.workers.process", str(theirs.fileno())]
        with contextlib.ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            process = subprocess.Popen(  # noqa: S603 -- nothing in it comes from outside
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
            unless_started.pop_all()
        worker = _Running(number, process, Link(ours))
        with contextlib.suppress(OSError):
            worker.link.send_value(
                "begin",
                {
                    "text": self._source.text,
                    "base": str(self._source.base),
                    "ports": self._ports,
                    "workers": self._count,
                    "number": number,
                    "instance_id": self._instance_id,
                    "log_level": self._config.log_level,
                },
            )
        with self._lock:
            self._workers[number] = worker
        worker.thread = threading.Thread(target=self._attend, args=(worker,), name=f"worker-{number}", daemon=True)
        worker.thread.start()
        return worker

    def _attend(self, worker: _Running) -> None:
        """Receive what a worker hands over, until the worker is gone."""
        # Without a link, or memory for what arrives, nothing can continue: the worker ends too.
        with contextlib.suppress(OSError, MemoryError):
            while (message := worker.link.receive()) is not None:
                with survived("worker", self._telemetry):
                    self._take(worker, message)
        worker.link.close()
        code = worker.process.wait()
        with self._lock:
            # What the worker held is lost with it, but what it counted did happen.
            self._gone = total([self._gone, counted(worker.last_metrics)])
            self._workers.pop(worker.number, None)
        worker.answered.set()
        started = worker.ready.is_set()
        worker.problem = worker.problem or ("" if started else f"worker {worker.number} ended with code {code}")
        worker.ready.set()
        if started and not self._stopping.is_set():
            self._replace(worker, code)

    def _take(self, worker: _Running, message: Message) -> None:
        if message.kind == "request":
            request = unpack(message.head, message.block)
            # While there is no room, not reading holds the worker back, which holds back its senders.
            while not self._appended(request):
                if self._ended.wait(_FULL_WAIT_S):
                    self._telemetry.errors.labels("worker").inc()
                    _log.error("%d items are lost: worker %d handed them over too late", request.items, worker.number)
                    return
        elif message.kind == "metrics":
            worker.last_metrics = message.value()
            worker.answered.set()
        elif message.kind == "counted":
            worker.last_metrics = message.value()
        elif message.kind == "failed":
            worker.problem = str(message.value())
        elif message.kind == "ready":
            worker.ready.set()

    def _appended(self, request: Request) -> bool:
        try:
            self._journal.append(request)
        except JournalFullError:
            return False
        return True

    def _replace(self, worker: _Running, code: int) -> None:
        now_s = time.monotonic()
        self._telemetry.errors.labels("worker").inc()
        too_often = len(self._deaths) == _RESTARTS and now_s - self._deaths[0] < _RESTARTS_WITHIN_S
        self._deaths.append(now_s)
        if too_often:
            deaths = f"{_RESTARTS + 1} workers ended within {_RESTARTS_WITHIN_S:g} s"
            self._fail(f"worker {worker.number} ended with code {code}: {deaths}")
            return
        _log.error("worker %d ended with code %d; restarting it", worker.number, code)
        if self._stopping.wait(_RESTART_WAIT_S):
            return
        try:
            again = self._launch(worker.number)
        except OSError as error:
            self._fail(f"worker {worker.number} cannot be restarted: {error}")
            return
        if self._stopping.is_set():
            # The service stopped in the meantime and does not know this worker.
            again.process.kill()
            return
        if not again.ready.wait(START_TIMEOUT_S):
            again.process.kill()
            again.ready.wait()
        if not again.problem or self._stopping.is_set():
            return
        ended = again.process.returncode
        if ended is not None and ended < 0:
            # It was killed, which does not mean that the next one cannot start.
            self._replace(again, ended)
        else:
            self._fail(f"worker {again.number} cannot be restarted: {again.problem}")

    def _fail(self, problem: str) -> None:
        """Log that the workers cannot continue, and report the failure."""
        self.problem = problem
        _log.error("%s", problem)
        self._on_failure()


def _end(worker: _Running, timeout_s: float) -> None:
    try:
        worker.process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _log.error("worker %d did not end in time and is killed", worker.number)
        worker.process.kill()
        worker.process.wait()
