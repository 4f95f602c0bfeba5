"""The id of one service, kept beside its state: a restart stays the same ``instance`` to whoever reads its series."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from collector_processor.storage.errors import wrapped

_NAME: Final = "instance_id"


def instance_id(directory: Path | None) -> str:
    """Return the id that is kept in a directory, or a new one."""
    if directory is not None:
        with suppress(OSError, ValueError):
            return str(uuid.UUID((directory / _NAME).read_text(encoding="ascii").strip()))
    return str(uuid.uuid4())


def keep_instance_id(directory: Path, own_id: str) -> None:
    """Write the id of the service to its directory, whole or not at all; raise :class:`.StorageError`."""
    path, draft = directory / _NAME, directory / f".{_NAME}.draft"
    with wrapped("write", path):
        draft.write_text(f"{own_id}\n", encoding="ascii")
        draft.replace(path)
