"""Listen on a Unix socket. It is a file, so it can be stale or in the way, and it has a mode."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeVar

from collector_processor.serving.listen import BACKLOG, naming

_T = TypeVar("_T")
_NOT_LISTENING: Final = (errno.ECONNREFUSED, errno.ENOENT)
_ONLY_OWNER: Final = 0o077
_DEFAULT_MODE: Final = 0o660


class LocalSocket:
    """The socket at ``path``; only processes that may write to the file can connect.

    ``mode`` is the file's mode; without it, owner and group may connect, as far as the process's umask permits. ``key``
    is the listener's place in the configuration, for error messages.
    """

    def __init__(self, path: str, key: str, mode: int | None = None) -> None:
        self.path: Final = path
        self._file = Path(path)
        self._key = key
        self._mode = mode
        self._identity: tuple[int, ...] | None = None

    def bind(self, listen: Callable[[], _T]) -> _T:
        """Call ``listen``, which binds the path, and set the file's mode; return what ``listen`` returns.

        The socket of a process that ended without removing it is removed first. Raises ``OSError`` that names the key
        and the path if the path cannot be used, most of all if another process listens there.
        """
        with naming(f"unix://{self.path}", self._key), _locked(self._file.parent):
            _remove_stale(self._file)
            # gRPC binds by itself, so this is the only way to let nobody connect before the mode is set.
            umask = os.umask(_ONLY_OWNER)
            try:
                listening = listen()
            finally:
                os.umask(umask)
            self._file.chmod(_DEFAULT_MODE & ~umask if self._mode is None else self._mode)
            self._identity = _identity(self._file)
            return listening

    def listen(self) -> socket.socket:
        """Return a socket that listens at the path."""
        return self.bind(self._listen)

    def remove(self) -> None:
        """Remove the file, unless another process has put its own there."""
        with contextlib.suppress(OSError):
            if self._identity is not None and _identity(self._file) == self._identity:
                self._file.unlink()
        self._identity = None

    def _listen(self) -> socket.socket:
        with contextlib.ExitStack() as opened:
            sock = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.bind(self.path)
            sock.listen(BACKLOG)
            sock.setblocking(False)
            opened.pop_all()
            return sock


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold a lock on a folder: two services that start at once must not take each other's socket for a stale one."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise OSError("its folder does not exist") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove a socket that no process listens on; raise ``OSError`` for anything else at the path."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError("a file that is not a socket is there" if stat.S_ISREG(mode) else "it is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        answer = sock.connect_ex(str(path))
    if answer in (0, errno.EAGAIN, errno.EPROTOTYPE):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if answer not in _NOT_LISTENING:
        raise OSError(answer, os.strerror(answer))
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns
