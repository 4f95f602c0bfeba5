"""Logging of a service process: to standard error, one line per message, by a thread that alone may wait.

A reader of standard error that stops reading (a full pipe, a stuck terminal) would stop every thread that logs, and so
the receivers. Messages wait in a bounded queue; those beyond it are dropped, counted, and reported once there is room.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from typing import Final

_MAX_MESSAGES: Final = 4096
_FLUSH_S: Final = 2.0
"""How long the end of the process waits for messages to be read."""


READY: Final = "collector_processor.service.started"
"""Logger of the one line that comes at any level: that the service has started, and where it listens."""


def log_to_stderr(level: str, who: str = "") -> None:
    """Set up logging for this process; ``who`` precedes each message."""
    try:
        handler: logging.Handler = QueuedHandler(sys.stderr.fileno())
    except OSError:
        # Whoever runs the service inside another program may have put something else in its place.
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s %(name)s: {who}%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger(READY).setLevel(logging.INFO)


def dropped_messages() -> int:
    """Return how many messages of this process were dropped because nobody read standard error."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, QueuedHandler))


class QueuedHandler(logging.Handler):
    """Writes messages to a file descriptor in its own thread; at most ``max_messages`` wait."""

    def __init__(self, descriptor: int, max_messages: int = _MAX_MESSAGES) -> None:
        super().__init__()
        self.dropped = 0
        self._descriptor = descriptor
        self._reported = 0
        self._queue: queue.Queue[bytes] = queue.Queue(max_messages)
        # Not through sys.stderr: a thread that waits in it would hold its lock while the interpreter ends.
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a message, or count it as dropped."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 -- as every handler does; a wrong message must not end its sender
            self.handleError(record)
            return
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1  # under the handler's lock

    def flush(self) -> None:
        """Wait until all messages have been written, but not for long."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, _FLUSH_S)

    def _write_all(self) -> None:
        while True:
            line = self._queue.get()
            if not self._written(line):
                self.dropped += 1
            lost = self.dropped - self._reported
            if lost and self._queue.qsize() == 0:
                text = f"WARNING {__name__}: {lost} messages were dropped: standard error was not read\n"
                if self._written(text.encode()):
                    self._reported += lost
            self._queue.task_done()

    def _written(self, octets: bytes) -> bool:
        """Write all; return False if the reader is gone."""
        try:
            while octets:
                octets = octets[os.write(self._descriptor, octets) :]
        except OSError:
            return False
        return True


class _OneLine(logging.Formatter):
    """Keeps a message on one line: names in it come over the network, and must not look like other log lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name that the base class calls
        """Return the line without the traceback."""
        record.message = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in record.message)
        return super().formatMessage(record)
