"""Limit how often one kind of message is logged: senders decide how often there is a reason to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 10.0


class Throttle:
    """Permits one message per ``interval_s``; safe to call from any thread.

    >>> now_s = 0.0
    >>> throttle = Throttle(10.0, clock=lambda: now_s)
    >>> throttle.permit(), throttle.permit(), throttle.permit()
    (0, None, None)
    >>> now_s = 10.0
    >>> throttle.permit()
    2
    """

    def __init__(self, interval_s: float = INTERVAL_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s = float("-inf")
        self._held_back = 0

    def permit(self) -> int | None:
        """Return None if a message is to be held back; otherwise how many have been since the last permitted one."""
        now_s = self._clock()
        with self._lock:
            if now_s < self._next_s:
                self._held_back += 1
                return None
            self._next_s = now_s + self._interval_s
            held_back, self._held_back = self._held_back, 0
            return held_back
