"""Errors of the state directory, which name its configuration key."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CONFIG_KEY: Final = "extensions.file_storage.directory"
"""The configuration key that error texts name."""


class StorageError(OSError):
    """Raised if the state directory cannot be used; names the path, what is wrong and the configuration key."""


@contextmanager
def wrapped(verb: str, path: Path) -> Generator[None, None, None]:
    """Turn any ``OSError`` inside into a :class:`StorageError`: ``cannot <verb> <path>: <reason>``.

    >>> with wrapped("write", Path("state/windows.snapshot")):
    ...     raise PermissionError(13, "Permission denied")
    Traceback (most recent call last):
    collector_processor.storage.errors.StorageError: extensions.file_storage.directory: cannot write
    state/windows.snapshot: Permission denied
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{CONFIG_KEY}: cannot {verb} {path}: {error.strerror or error}") from error
