"""Starts the receiving processes, takes over what they decoded, replaces one that dies, and drains them at the end."""

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
    """A configuration as it was written, and the folder that its paths are taken from: each process reads it itself."""

    text: str
    base: Path

    @classmethod
    def read(cls, path: Path | None) -> Source:
        """A file, or the built-in configuration where there is none."""
        return cls(DEFAULT, Path()) if path is None else cls(path.read_text(encoding="utf-8"), path.parent)


@dataclass(slots=True)
class _Running:
    """One worker process, its link, the thread that reads it, and the metrics that it told last."""

    number: int
    process: subprocess.Popen[bytes]
    link: Link
    thread: threading.Thread | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    told: Snapshot = field(default_factory=list[object])


class Supervisor:
    """``count`` receiving processes in front of a journal; stands where a receiver does.

    They share the ports (``SO_REUSEPORT``), so the system deals connections out. One that dies is started anew; when
    that happens more than five times a minute ``on_failure`` is called, and :attr:`problem` says why.
    """

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

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        with self._lock:
            return [worker.process.pid for worker in self._workers.values()]

    @property
    def status(self) -> str:
        """Why nothing is received, for now or for good; empty while at least one worker receives."""
        with self._lock:
            receiving = any(worker.ready.is_set() for worker in self._workers.values())
        return self.problem or ("" if receiving else "no worker receives")

    def addresses(self) -> list[tuple[str, int]]:
        """What is listened on, and its port."""
        return [(name.rpartition(".")[2], port) for name, port in self._ports.items()]

    async def start(self) -> None:
        """Starts all; raises ``OSError`` with what the first of them says when one cannot."""
        self._hold_ports()
        await asyncio.to_thread(self._start_all)

    def _start_all(self) -> None:
        started = [self._launch(number) for number in range(1, self._count + 1)]
        deadline = time.monotonic() + START_TIMEOUT_S
        for worker in started:
            worker.ready.wait(max(0.0, deadline - time.monotonic()))
            if worker.problem or not worker.ready.is_set():
                raise OSError(worker.problem or f"worker {worker.number} did not start in {START_TIMEOUT_S:g} s")

    async def stop(self, timeout_s: float) -> None:
        """Has the workers finish what is in flight and hand everything over; those that outlast the time are killed."""
        self._stopping.set()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.link.tell("stop", timeout_s)
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
        # What there is still no room for never gets any.
        self._ended.set()
        for worker in workers:
            if worker.thread is not None:
                worker.thread.join(_END_TIMEOUT_S)

    def metrics(self) -> list[Snapshot]:
        """What the workers counted, those that are gone included; asks all and waits a little for their answers."""
        with self._lock:
            workers = list(self._workers.values())
        asked: list[_Running] = []
        for worker in workers:
            worker.answered.clear()
            with contextlib.suppress(OSError):
                worker.link.tell("metrics")
                asked.append(worker)
        deadline = time.monotonic() + _METRICS_TIMEOUT_S
        for worker in asked:
            worker.answered.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return [self._gone, *(worker.told for worker in workers if self._workers.get(worker.number) is worker)]

    def _hold_ports(self) -> None:
        """Finds a port for each receiver and keeps it, also while a worker is being started anew."""
        for name, settings in self._config.receivers.items():
            for part_key, part in settings.parts(f"receivers.{name}"):
                for key, endpoint in part.listens(part_key):
                    # Sharing would let a second service in unseen: nobody else may have the port.
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
            worker.link.tell(
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
        """Takes what a worker hands over, until it is gone."""
        # A link without which, or without memory for what comes, nothing goes on: the worker ends with it.
        with contextlib.suppress(OSError, MemoryError):
            while (message := worker.link.receive()) is not None:
                with survived("worker", self._telemetry):
                    self._take(worker, message)
        worker.link.close()
        code = worker.process.wait()
        with self._lock:
            # What it held is lost with it, what it counted was so.
            self._gone = total([self._gone, counted(worker.told)])
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
            # Not reading on is what holds the worker back while there is no room, and it its senders.
            while not self._appended(request):
                if self._ended.wait(_FULL_WAIT_S):
                    self._telemetry.errors.labels("worker").inc()
                    _log.error("worker %d handed %d items over too late", worker.number, request.items)
                    return
        elif message.kind == "metrics":
            worker.told = message.described()
            worker.answered.set()
        elif message.kind == "counted":
            worker.told = message.described()
        elif message.kind == "failed":
            worker.problem = str(message.described())
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
        often = len(self._deaths) == _RESTARTS and now_s - self._deaths[0] < _RESTARTS_WITHIN_S
        self._deaths.append(now_s)
        if often:
            self._fail(f"worker {worker.number} ended with code {code}, as others did: more than can be made good")
            return
        _log.error("worker %d ended with code %d and is started anew", worker.number, code)
        if self._stopping.wait(_RESTART_WAIT_S):
            return
        try:
            again = self._launch(worker.number)
        except OSError as error:
            self._fail(f"worker {worker.number} cannot be started anew: {error}")
            return
        if self._stopping.is_set():
            # The end came in between and does not know of this one.
            again.process.kill()
            return
        if not again.ready.wait(START_TIMEOUT_S):
            again.process.kill()
            again.ready.wait()
        if not again.problem or self._stopping.is_set():
            return
        ended = again.process.returncode
        if ended is not None and ended < 0:
            # It was killed, which says nothing against the next one.
            self._replace(again, ended)
        else:
            self._fail(f"worker {again.number} cannot be started anew: {again.problem}")

    def _fail(self, problem: str) -> None:
        """Says that the workers cannot go on."""
        self.problem = problem
        _log.error("%s", problem)
        self._on_failure()


def _end(worker: _Running, timeout_s: float) -> None:
    try:
        worker.process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _log.error("worker %d did not end in time", worker.number)
        worker.process.kill()
        worker.process.wait()
