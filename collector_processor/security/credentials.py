"""Secrets in files: read within limits, and read again when the files change."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_MAX_FILE_BYTES: Final = 2**20
_MAX_TOKENS: Final = 100
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")
"""Fits a header, and the 8 KiB that gRPC allows for all headers."""
_SETTLED_S: Final = 2.0
"""A file this new may change again without a new time stamp: some file systems only store milliseconds."""
_log = logging.getLogger(__name__)


class Watched:
    """Detects whether the contents of files have changed since the last check.

    It checks at most every ``interval_s``, and reads a file only if its time, size or inode is different. A file that
    cannot be read at the moment counts as unchanged. Safe to use from several threads.
    """

    def __init__(self, files: Iterable[Path], interval_s: float = 0.0) -> None:
        self._files = tuple(files)
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._next_look = time.monotonic() + interval_s
        self._stamps = self._stamped()
        self._digest = self._read()

    def changed(self) -> bool:
        """Return whether the contents have changed since the last call (or since this was created)."""
        with self._lock:
            now = time.monotonic()
            if now < self._next_look:
                return False
            self._next_look = now + self._interval_s
            stamps = self._stamped()
            if stamps is None or stamps == self._stamps:
                return False
            digest = self._read()
            if digest is None:
                return False
            before, self._digest, self._stamps = self._digest, digest, stamps
            return digest != before

    def _stamped(self) -> tuple[object, ...] | None:
        """Return what differs between versions of the files; None if one is missing."""
        try:
            stats = [file.stat() for file in self._files]
        except OSError:
            return None
        young = any(time.time() - stat.st_mtime < _SETTLED_S for stat in stats)
        unsettled = (object(),) if young else ()
        return (*((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats), *unsettled)

    def _read(self) -> bytes | None:
        digest = hashlib.sha256()
        try:
            for file in self._files:
                content = _bounded(file)
                digest.update(len(content).to_bytes(8, "big") + content)
        except (OSError, ValueError):
            return None
        return digest.digest()


class Tokens:
    """Bearer tokens from the configuration and from the current contents of a file, one per line.

    ``key`` is their path in the configuration, for error texts, which never contain a token. Raises ``OSError`` or
    ``ValueError`` if the file cannot be used at start. Later, the tokens that were valid stay valid until the file can
    be used again, so that replacing the file locks no one out.
    """

    def __init__(self, key: str, fixed: Sequence[str] = (), file: Path | None = None) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._fixed = tuple(fixed)
        self._file = file
        self._watched = None if file is None else Watched([file])
        self._current = (*self._fixed, *(() if file is None else read_tokens(file, key)))
        if not self._current:
            raise ValueError(f"{key}: no token is configured")

    def become(self, other: Tokens) -> None:
        """Take the tokens of other settings; whoever has this object uses them from now on."""
        with self._lock:
            self._fixed, self._file, self._watched = other._fixed, other._file, other._watched
            self._current = other.current

    @property
    def current(self) -> tuple[str, ...]:
        """The tokens that are valid now, the same object as long as they do not change; never empty."""
        with self._lock:
            if self._watched is not None and self._file is not None and self._watched.changed():
                try:
                    self._current = (*self._fixed, *read_tokens(self._file, self._key))
                    _log.info("%s: reloaded the tokens", self._key)
                except (OSError, ValueError) as error:
                    _log.error("%s; the previous tokens stay valid", error)
            return self._current


def read_tokens(file: Path, key: str) -> tuple[str, ...]:
    """Return the tokens of a file, one per line; ``OSError`` and ``ValueError`` name only key, file and line."""
    try:
        lines = _bounded(file).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise OSError(f"{key}: cannot read {file}: {error.strerror or error}") from None
    tokens: list[str] = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if token and not is_token(token):
            raise ValueError(f"{key}: {file}, line {number}: not a valid token; write {WHAT_FITS}")
        if token:
            tokens.append(token)
    if not tokens:
        raise ValueError(f"{key}: {file} contains no token; put each token on its own line")
    if len(tokens) > _MAX_TOKENS:
        raise ValueError(f"{key}: {file} contains {len(tokens)} tokens; allowed: at most {_MAX_TOKENS}")
    return tuple(tokens)


WHAT_FITS: Final = "1 to 4096 visible ASCII characters without spaces"


def is_token(text: str) -> bool:
    """Return whether a text can be sent as a token.

    >>> is_token("c2VjcmV0"), is_token("two words"), is_token("")
    (True, False, False)
    """
    return _TOKEN.fullmatch(text) is not None


def _bounded(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"{file} is larger than {_MAX_FILE_BYTES} bytes")
    return content
