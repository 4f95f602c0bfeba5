"""The thread that runs the pipeline: read the journal, close windows, export measurements, save snapshots.

It evaluates alerts as well, right after it has exported the measurements that they depend on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from collector_processor.alerts.alerting import Alerting
from collector_processor.columns.batch import ModelKey
from collector_processor.exporters.base import Exporter
from collector_processor.journal.base import Entry, Journal
from collector_processor.monitors.base import Measurement
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline

CONSUMER = "ml_monitor"
"""The name of the statistics thread in the journal; an essential consumer."""
GATHER_S = 0.025
"""How long the first request waits for others."""
PORTION_ROWS = 65_536
"""Rows after which the journal gets its room back: more in one pass would gain nothing and keep senders waiting."""
_TICK_S = 0.25
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """Something to do with the pipeline, and the place for what it returns."""

    question: Callable[[Pipeline], T]
    answer: Future[T]


class StatisticsThread:
    """Owns the pipeline: no other thread uses it while this one runs.

    Requests that wait in the journal are counted in one pass. ``observe`` gets each tick's measurements before the
    exporters do. ``save`` is called with the pipeline every ``save_interval_s`` and once at the end. A failure is
    counted and skipped: one bad batch must not stop the models' statistics.
    """

    def __init__(
        self,
        journal: Journal,
        pipeline: Pipeline,
        exporters: Sequence[Exporter],
        telemetry: Telemetry,
        *,
        alerting: Alerting | None = None,
        observe: Callable[[Sequence[Measurement], int], None] | None = None,
        save: Callable[[Pipeline], None] | None = None,
        save_interval_s: float = 60.0,
    ) -> None:
        self._journal = journal
        self._pipeline = pipeline
        self._exporters = tuple(exporters)
        self._telemetry = telemetry
        self._alerting = alerting
        self._observe = observe
        self._save = save
        self._save_interval_s = save_interval_s
        self._stopping = threading.Event()
        self._asked: SimpleQueue[_Question[Any]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)

    def ask(self, question: Callable[[Pipeline], T], timeout_s: float) -> T:
        """Return what ``question`` returns for the pipeline, in this thread, after which the state is saved.

        Raises what the question raises, and ``TimeoutError`` if the thread does not begin with it in time.
        """
        if self._stopping.is_set() or not self._thread.is_alive():
            raise TimeoutError("the statistics thread is not running")
        answer: Future[T] = Future()
        self._asked.put(_Question(question, answer))
        try:
            return answer.result(timeout_s)
        except FutureTimeoutError:
            if not answer.cancel():
                return answer.result()  # it has begun, and what it does cannot be taken back
            raise TimeoutError(f"the statistics thread did not answer within {timeout_s:g} s") from None

    def start(self) -> None:
        """Start the thread, after :data:`CONSUMER` has subscribed to the journal."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Process what is in the (closed) journal, save and end; return whether this succeeded in time."""
        failed = self.failed
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not failed and not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the thread was started and has ended without :meth:`stop`."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set()

    def _run(self) -> None:
        next_tick = next_save = time.monotonic()
        next_save += self._save_interval_s
        while True:
            waiting = deque(self._journal.read(CONSUMER, timeout_s=max(0.0, next_tick - time.monotonic())))
            idle = not waiting
            if waiting:
                # What arrives within this time is counted in the same pass, which costs hardly more than a short one.
                self._stopping.wait(GATHER_S)
                waiting.extend(self._journal.read(CONSUMER, timeout_s=0.0))
            while waiting:
                self._count(_portion(waiting))
            self._answer()
            now_s = time.monotonic()
            if now_s >= next_tick:
                self._tick()
                next_tick = time.monotonic() + _TICK_S
            if now_s >= next_save:
                self._store()
                next_save = time.monotonic() + self._save_interval_s
            if self._stopping.is_set() and idle:
                break
        self._tick()
        self._store()

    def _answer(self) -> None:
        while not self._asked.empty():
            asked = self._asked.get()
            if not asked.answer.set_running_or_notify_cancel():
                continue
            try:
                asked.answer.set_result(asked.question(self._pipeline))
            except Exception as error:  # noqa: BLE001 -- whoever asked gets the error
                asked.answer.set_exception(error)
            self._store()

    def _count(self, entries: Sequence[Entry]) -> None:
        with survived("statistics", self._telemetry):
            self._pipeline.process([entry.request.decoded for entry in entries], time.time_ns())
        self._journal.commit(CONSUMER, entries[-1].offset)

    def _tick(self) -> None:
        now_ns, measurements = time.time_ns(), list[Measurement]()
        with survived("evaluate", self._telemetry):
            measurements = self._pipeline.tick(now_ns)
        if self._observe is not None:
            with survived("status", self._telemetry):
                self._observe(measurements, now_ns)
        for exporter in self._exporters if measurements else ():
            # An exporter that fails must not keep the others from their measurements.
            with survived("export", self._telemetry, part=f"exporters.{exporter.name}"):
                exporter.export(measurements)
        if self._alerting is not None:
            with survived("alerts", self._telemetry):
                self._alerting.tick(measurements, self._arrivals, now_ns)

    def _arrivals(self) -> dict[ModelKey, int]:
        """Return when the last prediction of each model came."""
        return {key: model.last_seen_ns for key, model in self._pipeline.models.items()}

    def _store(self) -> None:
        if self._save is not None:
            with survived("snapshot", self._telemetry):
                self._save(self._pipeline)


def _portion(waiting: deque[Entry]) -> list[Entry]:
    """Remove the first entries from the queue, at least one, until they have enough rows for one pass."""
    taken: list[Entry] = []
    rows = 0
    while waiting and rows < PORTION_ROWS:
        taken.append(waiting.popleft())
        decoded = taken[-1].request.decoded
        rows += sum(map(len, decoded.predictions)) + sum(map(len, decoded.labels))
    return taken
