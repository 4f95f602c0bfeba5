"""Explains predictions in a separate thread: what waits for it is bounded, and a full queue costs only explanations.

The span of a prediction that is to be explained ends when it is: it then has its attributions, and the end of the call
as its end. So nothing has to be joined later, and the request does not wait.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_ml.delivery.flush import before_flush
from otel_ml.problems import report

MAX_ROWS: Final = 1000
"""Rows that wait to be explained; those of a call that finds no room are sent without attributions."""
QUEUE_FULL: Final = "queue_full"
EXIT: Final = "exit"


@dataclass(frozen=True, slots=True)
class Job:
    """One call with ``rows`` to explain; ``drop`` gets the reason if they are not. ``finish`` always sends the call."""

    rows: int
    explain: Callable[[], None]
    finish: Callable[[], None]
    drop: Callable[[str], None]

    def run(self) -> None:
        """Explain and send."""
        try:
            with suppress_instrumentation():
                self.explain()
        except Exception as error:  # noqa: BLE001 - a model's own code may raise anything
            report("explain", "a prediction cannot be explained", error=error)
            self._dropped(type(error).__name__)
        self._finished()

    def release(self, why: str) -> None:
        """Send without an explanation."""
        self._dropped(why)
        self._finished()

    def _dropped(self, why: str) -> None:
        try:
            self.drop(why)
        except Exception as error:  # noqa: BLE001 - a meter may raise
            report("explain count", "an explanation that was dropped is not counted", error=error)

    def _finished(self) -> None:
        try:
            self.finish()
        except Exception as error:  # noqa: BLE001 - the application's span processor may raise
            report("explain end", "a prediction that was to be explained is not sent", error=error)


class Queue:
    """The jobs that wait, and the thread that does them; it starts with the first job.

    >>> queue, ended = Queue(), []
    >>> queue.put(Job(1, lambda: ended.append("explained"), lambda: ended.append("sent"), ended.append))
    >>> queue.settle(5)
    True
    >>> ended
    ['explained', 'sent']
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self.restart()

    def restart(self) -> None:
        """Forget what waits: after a fork it waits in the parent, and the thread is there."""
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._busy = False
        self._started = False

    def put(self, job: Job) -> None:
        """Take a job; without room for its rows its call is sent at once, unexplained."""
        with self._changed:
            # A call larger than the queue has room in an empty one.
            full = self._rows > 0 and self._rows + job.rows > self._max_rows
            if not full:
                self._jobs.append(job)
                self._rows += job.rows
                if not self._started:
                    self._start()
                self._changed.notify_all()
        if full:
            job.release(QUEUE_FULL)

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing waits, and return whether that was so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def end(self, timeout_s: float) -> None:
        """Explain what can be explained in the time, and send the rest without; the process ends."""
        began = monotonic()
        if self.settle(timeout_s / 2):
            return
        with self._changed:
            left, self._jobs = list(self._jobs), deque()
            self._rows = 0
        for job in left:
            job.release(EXIT)
        self.settle(max(0.0, began + timeout_s - monotonic()))

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="otel-ml-explain", daemon=True).start()
            self._started = True
        except RuntimeError:  # the interpreter is about to end: `end` sends what waits
            return

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                job = self._jobs.popleft()
                self._busy = True
            rows = job.rows
            job.run()
            del job  # until the next one comes it would keep the model alive
            with self._changed:
                self._busy = False
                # Rows count until they are explained; `end` may have set the sum to 0 in the meantime.
                self._rows = max(0, self._rows - rows)
                self._changed.notify_all()


queue: Final = Queue()
"""The queue of this process."""

before_flush(queue.settle, queue.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=queue.restart)
