"""Snapshots: one file for each state, written whole or not at all, checked when read, with the previous one to fall
back on.

The file has ``OTELML02``, the length of the head (uint64, little-endian), the head in JSON, the arrays' bytes, each
array from a multiple of 8 on, and a BLAKE2b digest of all that. :mod:`.codec` makes the head and arrays from the
state. Nothing in the file is ever executed, and no size is trusted before the digest is verified.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from collector_processor.columns import codec
from collector_processor.own.telemetry import Telemetry
from collector_processor.storage import format_1
from collector_processor.storage.errors import wrapped

FORMAT: Final = 2
"""Version of the files that are written; besides it, only version 1 is read (:mod:`.format_1`)."""
LIMIT_BYTES: Final = 4 * 2**30
"""Largest file that is read."""
_MAGIC: Final = b"OTELML"
_START: Final = 16
"""Bytes before the head: magic, version and the head's length."""
_ALIGNMENT: Final = 8
_DIGEST_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a file: the state as it was saved, with tuples as lists, and each array in separate memory."""

    state: Any
    format: int = FORMAT
    """The version of the file; in version 1 the state is a :class:`.format_1.Flat`."""


class _UnusableError(Exception):
    """Raised if a file exists and can be read, but is not a complete snapshot of a known format."""


def save(directory: Path, name: str, state: object) -> None:
    """Write a snapshot to ``<name>.snapshot`` and keep the one before it as ``<name>.previous.snapshot``.

    The new file is complete and on disk before it takes its name, so after a crash or a full disk the old one remains.
    ``state`` is JSON with arrays of plain numbers in it. Raises :class:`.StorageError` if it cannot be written, and
    ``ValueError`` for any other state, or for a name that is not a file name.
    """
    current, previous = _path(directory, name), _path(directory, name, previous=True)
    draft = directory / f".{name}.draft"
    packed = codec.pack(state)
    with wrapped("write", current):
        try:
            with open(draft, "wb", opener=_private) as file:
                _write(file, packed)
                file.flush()
                os.fsync(file.fileno())
            if current.exists():
                current.replace(previous)
            draft.replace(current)
            _sync(directory)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def load(directory: Path, name: str, telemetry: Telemetry, *, limit_bytes: int = LIMIT_BYTES) -> Snapshot | None:
    """Return the newest complete snapshot, or None if there is none.

    One that is damaged, too large or of another format is logged, counted (``otel_ml_errors{stage="storage"}``) and
    skipped for the one before it. Raises :class:`.StorageError` if a file cannot be read at all: the cause may be its
    permissions, and starting without the state would overwrite it.
    """
    for path in (_path(directory, name), _path(directory, name, previous=True)):
        with wrapped("read", path):
            if not path.exists():
                continue
            try:
                return _read(path, limit_bytes)
            except _UnusableError as error:
                telemetry.errors.labels("storage").inc()
                _log.error("snapshot %s cannot be used: %s; falling back to the previous one, if any", path, error)
    return None


def _path(directory: Path, name: str, *, previous: bool = False) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a snapshot name; use letters, digits, '.', '_' and '-'")
    return directory / (f"{name}.previous.snapshot" if previous else f"{name}.snapshot")


def _private(path: str, flags: int) -> int:
    """Open a file that only the owner can read."""
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    """Make renames in a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: BinaryIO, packed: codec.Packed) -> None:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in _pieces(*packed):
        digest.update(piece)
        file.write(piece)
    file.write(digest.digest())


def _pieces(head: bytes, pieces: list[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the file's content in order."""
    yield b"%s%02d" % (_MAGIC, FORMAT) + len(head).to_bytes(8, "little")
    yield head
    yield bytes(-len(head) % _ALIGNMENT)
    yield from pieces


def _read(path: Path, limit_bytes: int) -> Snapshot:
    size = path.stat().st_size
    if size > limit_bytes:
        raise _UnusableError(f"it has {size} bytes, more than the limit of {limit_bytes}")
    content = np.fromfile(path, np.uint8)
    body = content[:-_DIGEST_BYTES]
    start = body[:_START].tobytes()
    if len(start) < _START or not start.startswith(_MAGIC):
        raise _UnusableError("it is not a snapshot, or only the beginning of one")
    version = start[len(_MAGIC) : 8].decode("ascii", "replace")
    if version not in (f"{FORMAT:02}", "01"):
        raise _UnusableError(f"it has format {version}, and this version reads formats 01 and {FORMAT:02}")
    if hashlib.blake2b(body.data, digest_size=_DIGEST_BYTES).digest() != content[len(body) :].tobytes():
        raise _UnusableError("its checksum does not match: it is damaged")
    end = _START + int.from_bytes(start[8:], "little")
    if end > len(body):
        raise _UnusableError("its head is incomplete")
    head = body[_START:end].tobytes()
    try:
        if version == "01":
            return Snapshot(format_1.read(head, body), 1)
        return Snapshot(codec.unpack(head, body[end + -end % _ALIGNMENT :].data, copy=True))
    except ValueError as error:
        raise _UnusableError(str(error)) from error
