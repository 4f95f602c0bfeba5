"""Gathers rows in memory and sends them together, once a second or as soon as there are many.

What is added waits in a bounded buffer without a lock, because a signal's handler or the collection of garbage may
interrupt the thread that adds. One thread of the process empties all buffers. A process that ends flushes them first
(:mod:`.flush`). A forked child starts with empty ones and without the thread: the parent sends what it has gathered.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from otel_ml.delivery.flush import drain_first
from otel_ml.delivery.requests import receiver
from otel_ml.problems import report

PERIOD_S: Final = 1.0
"""Seconds that a row waits at most."""
MANY: Final = 1000
"""Rows that are sent together, without waiting."""
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 64 * 1024 * 1024
"""Rows of one buffer that wait, and bytes; beyond either the oldest are dropped."""

R = TypeVar("R")


class Gatherer(Generic[R]):
    """Rows that wait, of ``name``; ``send`` takes them in order, and ``lost`` the number of those dropped."""

    def __init__(self, name: str, send: Callable[[Sequence[R]], None], lost: Callable[[int], None]) -> None:
        self._name = name
        self._send = send
        self._lost = lost
        self._rows: deque[R] = deque()
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self._rows.clear()
        self._draining = threading.Lock()
        self._announced = self._urged = False
        self._widest = 0
        self._limit, self._many = MAX_ROWS, MANY

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: R, size: int) -> None:
        """Add a row of about ``size`` bytes."""
        rows = self._rows
        rows.append(row)
        if size > self._widest:
            self._widest = size
            # A bound for the widest row: exact sums would need a lock.
            self._limit = min(MAX_ROWS, max(1, MAX_BYTES // size))
            self._many = min(MANY, max(1, self._limit // 4))
        if not self._announced:
            self._announced = True
            _sender.wake(self)
        count = len(rows)
        if count >= self._many:
            if not self._urged:
                self._urged = True
                _sender.wake(None)
            if count > self._limit:
                self._drop()
        if receiver.exiting:
            self.drain()

    def _drop(self) -> None:
        with suppress(IndexError):  # another thread has taken it
            self._rows.popleft()
            report(
                f"gathered {self._name}",
                "%s: predictions come faster than they are sent; the oldest are dropped",
                self._name,
            )
            self._lost(1)

    def drain(self) -> None:
        """Send everything that waits; what is being sent by another thread is waited for."""
        with self._draining:
            self._announced = self._urged = False
            while self._rows:
                taken: list[R] = []
                with suppress(IndexError):
                    while len(taken) < self._many:
                        taken.append(self._rows.popleft())
                if taken:
                    self._deliver(taken)
            self._widest = 0

    def _deliver(self, rows: Sequence[R]) -> None:
        try:
            self._send(rows)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - rows that cannot be sent must not keep those after
            report(f"send {self._name}", "%s: what was gathered is not sent", self._name, error=error)
            self._lost(len(rows))

    def restart(self) -> None:
        """Begin with nothing, in a forked child."""
        self._begin()


class _Sender:
    """The thread that empties the buffers; it starts with the first row, and again after it has died."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Gatherer[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wake(self, gatherer: Gatherer[Any] | None) -> None:
        """Note a buffer that has rows; None stands for one that has many."""
        self._calls.put(gatherer)  # it may be interrupted by itself, unlike an event or a condition
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is not None and self._thread.is_alive():
                return
            atexit.unregister(drain)
            atexit.register(drain)
            if self._thread is not None:
                self._calls.put(None)  # it has died, perhaps with what it was about to send
            thread = threading.Thread(target=self._run, name="otel-ml-rows", daemon=True)
            with suppress(RuntimeError):  # no thread starts at exit, where the buffers are flushed
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def _run(self) -> None:
        calls = self._calls
        while True:
            waiting = {calls.get()}
            until = monotonic() + PERIOD_S
            while None not in waiting and (left := until - monotonic()) > 0:
                with suppress(Empty):
                    waiting.add(calls.get(timeout=left))
            for gatherer in waiting:
                if gatherer is not None:
                    gatherer.drain()
            if None in waiting:
                drain()


def drain() -> None:
    """Send everything that waits in any buffer."""
    for gatherer in _gatherers():
        if len(gatherer):
            gatherer.drain()


def _gatherers() -> list[Gatherer[Any]]:
    while True:
        with suppress(RuntimeError):  # another thread makes a model at this moment
            return list(_living)


_living: WeakSet[Gatherer[Any]] = WeakSet()
_sender = _Sender()
drain_first(drain)


def _after_fork_in_child() -> None:
    global _sender
    _sender = _Sender()
    for gatherer in _gatherers():
        gatherer.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
