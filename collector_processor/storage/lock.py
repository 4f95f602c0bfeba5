"""A lock, so that only one service uses a directory: two would overwrite each other's snapshots."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from collector_processor.storage.errors import CONFIG_KEY, StorageError, wrapped

_NAME: Final = ".lock"


class DirectoryLock:
    """Holds a directory for this process until :meth:`release` or its end, a crash included.

    Creates the directory if it is missing, readable by the owner only: snapshots reveal the models' traffic.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raise a :class:`.StorageError` that names the holder or what is wrong."""
        if self._descriptor is not None:
            return
        with wrapped("use", self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StorageError(
                f"{CONFIG_KEY}: {self._directory} is in use by another service"
                + (f" (process {holder})" if holder else "")
                + "; give each service its own directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the directory; safe to call without :meth:`acquire`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DirectoryLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
