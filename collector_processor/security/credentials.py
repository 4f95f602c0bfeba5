"""Secrets that live in files: read within limits, and looked at again when the files change."""

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
"""What fits a header and the 8 KiB that gRPC takes of them all."""
_SETTLED_S: Final = 2.0
"""A file this young may change again without a sign: file systems tell times apart by milliseconds only."""
_log = logging.getLogger(__name__)


class Watched:
    """Whether some files have got other contents since they were last asked about.

    The file system is asked at most every ``interval_s``, and a file is read only when its time, size or inode says
    that it may have changed. A file that cannot be read just now has not changed. Safe to use from several threads.
    """

    def __init__(self, files: Iterable[Path], interval_s: float = 0.0) -> None:
        self._files = tuple(files)
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._next_look = time.monotonic() + interval_s
        self._stamps = self._stamped()
        self._digest = self._read()

    def changed(self) -> bool:
        """Whether the contents are other ones than at the last call (or when this was made)."""
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
        """What tells one version of the files from the next; None where one is missing."""
        try:
            found = [file.stat() for file in self._files]
        except OSError:
            return None
        young = any(time.time() - stat.st_mtime < _SETTLED_S for stat in found)
        unsettled = (object(),) if young else ()
        return (*((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found), *unsettled)

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
    """Bearer tokens from the configuration, and those of a file, one a line, as the file has them now.

    ``key`` is where the configuration has them, for error texts, which never hold a token. Raises ``OSError`` or
    ``ValueError`` when the file cannot be used at the start; later on the tokens that were valid stay valid until the
    file can be used again, so a file that is being replaced locks nobody out.
    """

    def __init__(self, key: str, fixed: Sequence[str] = (), file: Path | None = None) -> None:
        self._key = key
        self._fixed = tuple(fixed)
        self._file = file
        self._watched = None if file is None else Watched([file])
        self._current = (*self._fixed, *(() if file is None else read_tokens(file, key)))
        if not self._current:
            raise ValueError(f"{key}: there is no token")

    @property
    def current(self) -> tuple[str, ...]:
        """The tokens that hold now, the same object for as long as they do; never empty."""
        if self._watched is not None and self._file is not None and self._watched.changed():
            try:
                self._current = (*self._fixed, *read_tokens(self._file, self._key))
                _log.info("%s: the tokens were read again", self._key)
            except (OSError, ValueError) as error:
                _log.error("%s; the tokens from before stay valid", error)
        return self._current


def read_tokens(file: Path, key: str) -> tuple[str, ...]:
    """The tokens of a file, one a line; ``OSError`` and ``ValueError`` name key, file and line, never a token."""
    try:
        lines = _bounded(file).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise OSError(f"{key}: cannot read {file}: {error.strerror or error}") from None
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if token and not is_token(token):
            raise ValueError(f"{key}: {file}, line {number}: not a token: {WHAT_FITS}")
        if token:
            found.append(token)
    if not found:
        raise ValueError(f"{key}: {file} holds no token; write one a line")
    if len(found) > _MAX_TOKENS:
        raise ValueError(f"{key}: {file} holds {len(found)} tokens; allowed are {_MAX_TOKENS}")
    return tuple(found)


WHAT_FITS: Final = "1 to 4096 visible ASCII characters without spaces"


def is_token(text: str) -> bool:
    """Whether a text can be sent as a token.

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
