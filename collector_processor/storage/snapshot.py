"""One state, one file: written whole or not at all, checked when read, with the one before it to fall back on.

The file: ``OTELML01``, the length of the head (uint64, little-endian), the head in JSON (format version, the caller's
header, name, type and shape of every array), the arrays' bytes each from a multiple of 64 on, and a BLAKE2b digest of
all that. Nothing in it is ever executed, and no size is believed before the digest is right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from collector_processor.own.telemetry import Telemetry
from collector_processor.storage.errors import wrapped

Array = NDArray[Any]
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a header may hold."""
FORMAT: Final = 1
"""Version of the head; a file of another version is not read."""
LIMIT_BYTES: Final = 4 * 2**30
"""Largest file that is read."""
_MAGIC: Final = b"OTELML01"
_ALIGNMENT: Final = 64
_DIGEST_BYTES: Final = 32
_TYPES: Final = ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file held: the header as it was given, and the arrays by name, each with memory of its own."""

    header: Mapping[str, Json]
    arrays: Mapping[str, Array]


class _UnusableError(Exception):
    """The file is there and can be read, but is not a whole snapshot of this format."""


def save(directory: Path, name: str, header: Mapping[str, Json], arrays: Mapping[str, Array]) -> None:
    """Writes a snapshot to ``<name>.snapshot`` and keeps the one before it as ``<name>.previous.snapshot``.

    The new file is complete and on the disk before it takes its name, so a crash or a full disk leaves what was there.
    Raises :class:`.StorageError` when it cannot be written; ``ValueError`` for a header that is no JSON, an array that
    is no plain number, or a name that is no file name.
    """
    current, previous = _path(directory, name), _path(directory, name, previous=True)
    draft = directory / f".{name}.draft"
    head = _head(header, arrays)
    with wrapped("write", current):
        try:
            with open(draft, "wb", opener=_private) as file:
                _write(file, head, arrays)
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
    """The newest snapshot that is whole, or None without any.

    One that is damaged, too large or of another format is logged, counted (``otel_ml_errors{stage="storage"}``) and
    passed over for the one before it. Raises :class:`.StorageError` when a file cannot be read at all: that is a matter
    of permissions, and starting without the state would overwrite it.
    """
    for path in (_path(directory, name), _path(directory, name, previous=True)):
        with wrapped("read", path):
            if not path.exists():
                continue
            try:
                return _read(path, limit_bytes)
            except _UnusableError as error:
                telemetry.errors.labels("storage").inc()
                _log.error("snapshot %s cannot be used: %s; going back to the one before it, if any", path, error)
    return None


def _path(directory: Path, name: str, *, previous: bool = False) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a snapshot name; use letters, digits, '.', '_' and '-'")
    return directory / (f"{name}.previous.snapshot" if previous else f"{name}.snapshot")


def _private(path: str, flags: int) -> int:
    """Opens for the owner only."""
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    """Makes renames in a directory last through a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _head(header: Mapping[str, Json], arrays: Mapping[str, Array]) -> bytes:
    table: list[tuple[str, str, list[int]]] = []
    for array_name, values in arrays.items():
        kind = values.dtype.newbyteorder("<").str
        if kind not in _TYPES:
            raise ValueError(f"array {array_name!r} has type {values.dtype}; allowed: {', '.join(_TYPES)}")
        table.append((array_name, kind, list(values.shape)))
    try:
        return json.dumps({"format": FORMAT, "header": header, "arrays": table}, allow_nan=True).encode()
    except TypeError as error:
        raise ValueError(f"the header cannot be saved: {error}") from error


def _write(file: BinaryIO, head: bytes, arrays: Mapping[str, Array]) -> None:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    written = 0
    for piece in _pieces(head, arrays):
        for part in (piece, bytes(-len(piece) % _ALIGNMENT)):
            digest.update(part)
            file.write(part)
            written += len(part)
    file.write(digest.digest())


def _pieces(head: bytes, arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The content in the order of the file, each piece to be padded."""
    yield _MAGIC + len(head).to_bytes(8, "little") + head
    for values in arrays.values():
        plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
        yield plain.view(np.uint8).data if plain.size else b""


def _read(path: Path, limit_bytes: int) -> Snapshot:
    size = path.stat().st_size
    if size > limit_bytes:
        raise _UnusableError(f"it has {size} bytes, more than the {limit_bytes} that are read")
    content = np.fromfile(path, np.uint8)
    body = len(content) - _DIGEST_BYTES
    if body < len(_MAGIC) + 8 or content[: len(_MAGIC)].tobytes() != _MAGIC:
        raise _UnusableError("it is not a snapshot, or only the beginning of one")
    if hashlib.blake2b(content[:body].data, digest_size=_DIGEST_BYTES).digest() != content[body:].tobytes():
        raise _UnusableError("its checksum does not match: it is damaged")
    start = len(_MAGIC) + 8
    length = int.from_bytes(content[len(_MAGIC) : start].tobytes(), "little")
    head = _parsed(content[start : start + length].tobytes())
    return Snapshot(cast("dict[str, Json]", head["header"]), _arrays(content[:body], _aligned(start + length), head))


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        head: Any = json.loads(text)
    except ValueError as error:
        raise _UnusableError(f"its head cannot be read: {error}") from error
    if not isinstance(head, dict) or "header" not in head or "arrays" not in head:
        raise _UnusableError("its head is not one of ours")
    found = cast("dict[str, Any]", head)
    if found.get("format") != FORMAT:
        raise _UnusableError(f"it is of format {found.get('format')}, and this version reads format {FORMAT}")
    return found


def _arrays(content: NDArray[np.uint8], offset: int, head: Mapping[str, Any]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, kind, shape in head["arrays"]:
        if kind not in _TYPES:
            raise _UnusableError(f"array {name!r} has type {kind}")
        count = int(np.prod(shape, dtype=np.int64))
        end = offset + count * np.dtype(kind).itemsize
        if end > len(content):
            raise _UnusableError(f"array {name!r} is not whole")
        found[name] = content[offset:end].view(kind).reshape(shape).copy()
        offset = _aligned(end)
    return found


def _aligned(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
