"""How far a file was acknowledged: a small file beside it, from which the next run continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from collector_processor.label_files.cells import Counts

SUFFIX: Final = ".otel-ml-label"
_VERSION: Final = 1


def identity_of(path: Path) -> dict[str, int]:
    """Return what changes whenever a file is written to or replaced.

    A copy, a rename or new permissions change it, too. Then the file is sent again from its start, which is always
    right: the same label counts once.
    """
    state = path.stat()
    return {
        "device": state.st_dev,
        "inode": state.st_ino,
        "size": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "changed_ns": state.st_ctime_ns,
    }


@dataclass(frozen=True, slots=True)
class Position:
    """What was acknowledged: the counts at the end of a chunk, and whether the labels are classes or values."""

    counts: Counts
    kind: str = ""


class Checkpoint:
    """The file that holds the position; ``job`` is everything that must be the same to continue."""

    def __init__(self, path: Path, file: Path, job: Mapping[str, Any]) -> None:
        self.path = path
        self._file = file
        self._identity = identity_of(file)
        self._job = dict(job)

    def load(self) -> tuple[Position | None, str]:
        """Return the position to continue from, if there is one, and why one that exists cannot be used."""
        try:
            noted: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, RecursionError):
            return None, f"{self.path} cannot be read"
        try:
            if noted["version"] != _VERSION:
                return None, f"{self.path} is of another version"
            if noted["file"] != self._identity:
                return None, "the file has changed since"
            if noted["job"] != self._job:
                return None, "it was sent with other options"
            counts = Counts(**{each.name: int(noted["counts"][each.name]) for each in fields(Counts)})
            return Position(counts, str(noted["kind"])), ""
        except (KeyError, TypeError, ValueError):
            return None, f"{self.path} cannot be read"

    def changed(self) -> bool:
        """Return whether the file has changed since this run began."""
        try:
            return identity_of(self._file) != self._identity
        except OSError:
            return True

    def save(self, position: Position) -> None:
        """Note a position; ``OSError`` if that is not possible."""
        noted = {
            "version": _VERSION,
            "file": self._identity,
            "job": self._job,
            "kind": position.kind,
            "counts": asdict(position.counts),
        }
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(json.dumps(noted, indent=1), encoding="utf-8")
        new.replace(self.path)

    def remove(self) -> None:
        """Forget the position, because everything was sent."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
