"""Files of lines, read line by line with bounded memory: CSV and JSON lines, plain or compressed."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final

from collector_processor.label_files.table import CHUNK_ROWS, Cells, UnreadableRowError, checked_names

_LONGEST: Final = 1024 * 1024
"""Bytes of a line: a file without line ends must not be loaded as a whole."""
_SAMPLE: Final = 1_000
"""Lines of JSON that show which columns there are."""
_BOM: Final = b"\xef\xbb\xbf"
_OPENERS: Final[dict[str, Any]] = {".gz": gzip.open, ".bz2": bz2.open}
_DAMAGED: Final = (OSError, EOFError)


class _Lines:
    """The lines of a file, or of standard input if there is no path, and how far they were read."""

    def __init__(self, path: Path | None, where: str) -> None:
        self.where, self.number = where, 0
        self._raw: IO[bytes] = sys.stdin.buffer if path is None else path.open("rb")
        self._bytes = 0 if path is None else path.stat().st_size
        opener = None if path is None else _OPENERS.get(path.suffix.lower())
        self._file: IO[bytes] = self._raw if opener is None else opener(self._raw)
        self._keep = path is None

    def __iter__(self) -> Iterator[str]:
        while line := self._next():
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(_BOM)
            if len(line) > _LONGEST:
                raise UnreadableRowError(f"{self.where}: line {self.number} is longer than {_LONGEST:,} bytes")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                octet = line[error.start]
                raise UnreadableRowError(
                    f"{self.where}: line {self.number} is not UTF-8 (byte 0x{octet:02x}); convert the file, for example"
                    " with: iconv -f latin1 -t utf-8"
                ) from None

    def _next(self) -> bytes:
        try:
            return self._file.readline(_LONGEST + 1)
        except _DAMAGED as error:
            raise UnreadableRowError(f"{self.where}: line {self.number + 1} cannot be read: {error}") from None

    def share(self) -> float | None:
        return min(1.0, self._raw.tell() / self._bytes) if self._bytes else None

    def close(self) -> None:
        if not self._keep:
            self._file.close()
            self._raw.close()


class CsvTable:
    """A CSV file with a header. Every cell is a text as it is in the file; an empty one is missing."""

    rows: int | None = None

    def __init__(self, path: Path | None, where: str, delimiter: str = ",") -> None:
        self.where = where
        self._lines = _Lines(path, where)
        try:
            self._reader = csv.reader(self._lines, delimiter=delimiter)
            header = next(self._records(), None)
            if header is None:
                raise ValueError(f"{where}: is empty; it needs a first line with the names of the columns")
            self.names = checked_names(where, header)
        except BaseException:
            self._lines.close()
            raise

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of columns; see :class:`.Table`."""
        positions, width = [self.names.index(name) for name in columns], len(self.names)
        records = islice(self._records(width), skip, None)
        while taken := list(islice(records, CHUNK_ROWS)):
            yield [[record[position] or None for record in taken] for position in positions]

    def _records(self, width: int = 0) -> Iterator[list[str]]:
        try:
            for record in self._reader:
                if width and len(record) != width and record:
                    raise UnreadableRowError(
                        f"{self.where}: line {self._lines.number} has {len(record)} cells, and the header has {width}"
                    )
                if record:
                    yield record
        except csv.Error as error:
            raise UnreadableRowError(f"{self.where}: line {self._lines.number}: {error}") from None

    def share(self) -> float | None:
        """Return the share that has been read."""
        return self._lines.share()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


class JsonLinesTable:
    """A file with one JSON object a line; a key that a line does not have is missing."""

    rows: int | None = None

    def __init__(self, path: Path | None, where: str) -> None:
        self.where = where
        self._lines = _Lines(path, where)
        try:
            objects = self._objects()
            sample = list(islice(objects, _SAMPLE))
            if not sample:
                raise ValueError(f"{where}: is empty; it needs one JSON object a line")
        except BaseException:
            self._lines.close()
            raise
        self._rest = chain(sample, objects)
        self.names = list(dict.fromkeys(key for item in sample for key in item))

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of columns; see :class:`.Table`."""
        rest = islice(self._rest, skip, None)
        while taken := list(islice(rest, CHUNK_ROWS)):
            yield [[item.get(name) for item in taken] for name in columns]

    def _objects(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            if line.isspace():
                continue
            where = f"{self.where}: line {self._lines.number}"
            try:
                item: object = json.loads(line, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                reason = "is nested too deep" if isinstance(error, RecursionError) else f"is not JSON: {error}"
                raise UnreadableRowError(f"{where} {reason}") from None
            if not isinstance(item, dict):
                raise UnreadableRowError(f'{where} is not an object such as {{"prediction_id": "a", "class": "b"}}')
            yield item

    def share(self) -> float | None:
        """Return the share that has been read."""
        return self._lines.share()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; ``ValueError`` if it has a key twice, because one of both would be ignored."""
    item = dict(pairs)
    if len(item) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key '{next(key for key in keys if keys.count(key) > 1)}' twice")
    return item
