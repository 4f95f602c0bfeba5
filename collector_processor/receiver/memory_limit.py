"""A soft limit on resident memory: above it requests are refused, retryably, until it falls again."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Final

_CHECK_INTERVAL_S: Final = 1.0


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the kernel does not tell (no ``/proc``)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def give_back() -> None:
    """Collects garbage and returns free pages to the system: an allocator that keeps them would keep the limit shut."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryLimit:
    """Whether the process is over ``limit_bytes``, looked up at most once a second; no limit when None.

    >>> MemoryLimit(None).exceeded(), MemoryLimit(1).exceeded()
    (False, True)
    """

    def __init__(
        self,
        limit_bytes: int | None,
        *,
        resident: Callable[[], int | None] = resident_bytes,
        release: Callable[[], None] = give_back,
        interval_s: float = _CHECK_INTERVAL_S,
    ) -> None:
        self._limit = limit_bytes
        self._resident = resident
        self._release = release
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._next_check = 0.0
        self._exceeded = False

    def exceeded(self) -> bool:
        """Whether requests are to be refused now."""
        if self._limit is None:
            return False
        with self._lock:
            now = time.monotonic()
            if now >= self._next_check:
                self._exceeded = self._check(self._limit)
                self._next_check = time.monotonic() + self._interval_s
            return self._exceeded

    def _check(self, limit: int) -> bool:
        if (self._resident() or 0) <= limit:
            return False
        self._release()
        return (self._resident() or 0) > limit
