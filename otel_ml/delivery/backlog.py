"""Keeps a bulk job from running ahead of its exporter: the SDK's queue counts spans, and theirs are of a megabyte.

A queue of 2,048 such spans is 2 GB of memory, and beyond it spans are dropped. So sending starts once some megabytes
wait, without waiting for the SDK's five seconds; and a call whose rows would make too many of them waits for its turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from otel_ml.delivery.flush import IDLE_S, flush_traces
from otel_ml.delivery.requests import receiver
from otel_ml.problems import report
from otel_ml.semconv import BATCH

SEND_BYTES: Final = 16 * 1024 * 1024
"""Bytes of batches that wait when sending starts."""
WAIT_BYTES: Final = 64 * 1024 * 1024
"""Bytes of batches that wait when a call has to wait, too."""
_PAUSE_S: Final = 60.0
"""Seconds in which no call waits after the receiver took nothing."""
_STEP_S: Final = 0.01


def size_of(attributes: Mapping[str, object]) -> int:
    """Return the size of a batch that travels as Arrow; one of arrays, the slow form, cannot get ahead."""
    stream = attributes.get(BATCH)
    return len(stream) if isinstance(stream, bytes) else 0


class Backlog:
    """The bytes of batches that were emitted and not yet sent, as far as is known without looking into queues."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._sent = threading.Event()
        self._sending = False
        self._no_wait_until = 0.0

    def add(self, size: int) -> None:
        """Count a batch; start sending if much waits, and wait if too much does."""
        with self._lock:
            self._waiting += size
            if self._waiting < SEND_BYTES:
                return
            start = not self._sending
            self._sending = True
            if start:
                self._sent.clear()
            full = self._waiting > WAIT_BYTES and monotonic() > self._no_wait_until
        if start:
            with suppress(RuntimeError):  # no thread starts at exit, where the SDK sends what waits
                threading.Thread(target=self._send, name="otel-ml-send", daemon=True).start()
        if full:
            self._wait()

    def _send(self) -> None:
        with self._lock:
            taken = self._waiting
        flush_traces()
        with self._lock:
            self._waiting = max(0, self._waiting - taken)
            self._sending = False
            self._sent.set()

    def _wait(self) -> None:
        started = monotonic()
        while not self._sent.wait(_STEP_S):
            if monotonic() - max(started, receiver.last_success) > IDLE_S:
                self._no_wait_until = monotonic() + _PAUSE_S
                report("backlog", "the receiver is slower than the batches that are predicted; some may be lost")
                return

    def restart(self) -> None:
        """Begin with nothing: the queue of a forked child is empty."""
        self.__init__()  # type: ignore[misc]


backlog = Backlog()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=backlog.restart)
