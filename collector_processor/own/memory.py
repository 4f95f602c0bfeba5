"""A soft limit on resident memory: above it, requests are refused, and senders can retry them.

By default it is 80% of the memory that the process may use: the limit of the container (cgroup v2 or v1, the lowest of
all enclosing groups) or the memory of the machine, whichever is less. The rest is for requests in progress.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_CHECK_INTERVAL_S: Final = 1.0
_SHARE: Final = 0.8
_KEPT_BYTES: Final = 128 * 2**20
_MAPPED_BYTES: Final = 16 * 2**20
"""Larger blocks go back to the system as soon as they are freed, such as the large arrays of the join."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_CGROUPS: Final = (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
"""The controller in ``/proc/self/cgroup`` (none in v2), and the file of its limit."""


def default_limit_bytes(root: Path = Path("/")) -> int | None:
    """Return 80% of the memory that this process may use; None if the system does not report it.

    ``root`` is the folder of ``proc`` and ``sys``.
    """
    limits = [*_container_limits(root), *_machine(root)]
    return int(min(limits) * _SHARE) if limits else None


def _container_limits(root: Path) -> Iterator[int]:
    """Yield the limits of this process's cgroups and their parents; a v1 group without a limit has a huge one."""
    for controller, name in _CGROUPS:
        mount = root / "sys/fs/cgroup" / controller
        for path in _paths(root, controller):
            # Inside a container the path may be that of the host; only its end is mounted here, at the top.
            for folder in (path, *path.parents):
                with suppress(OSError, ValueError):
                    yield int((mount / folder.relative_to("/") / name).read_text(encoding="ascii"))


def _paths(root: Path, controller: str) -> Iterator[Path]:
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                yield Path("/") / path.lstrip("/")


def _machine(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                yield int(line.split()[1]) * 1024


def resident_bytes(process: int | None = None) -> int | None:
    """Return the resident memory of a process, by default this one; None if there is no ``/proc``."""
    try:
        statm = Path(f"/proc/{process or 'self'}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def give_back() -> None:
    """Collect garbage and return free pages to the system: if the allocator kept them, the limit would stay reached."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_freed(limit_bytes: int | None = None) -> bool:
    """Let the allocator keep up to 128 MiB of freed memory, at most 1/8 of ``limit_bytes``; return whether it does.

    Bodies of a megabyte are allocated and freed all the time; clearing new pages for each would cost more than
    receiving it. This does nothing if the environment configures the allocator, or without glibc.
    """
    if any(name == "GLIBC_TUNABLES" or (name.startswith("MALLOC_") and name.endswith("_")) for name in os.environ):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None:
        return False
    kept = _KEPT_BYTES if limit_bytes is None else min(_KEPT_BYTES, limit_bytes // 8)
    return bool(set_option(_M_TRIM_THRESHOLD, kept)) and bool(set_option(_M_MMAP_THRESHOLD, min(kept, _MAPPED_BYTES)))


class MemoryLimit:
    """Checks at most once a second whether the process is over ``limit_bytes``; None means no limit.

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
        """Return whether requests must be refused now."""
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
