"""Parquet and Arrow files, read batch by batch: only the columns of labels, and never a whole row group."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet
from pyarrow import compute

from collector_processor.label_files.table import CHUNK_ROWS, Cells, UnreadableRowError, checked_names, regrouped

pc: Any = compute
_BUFFER_BYTES: Final = 1024 * 1024
"""Read of a column at a time; pyarrow would read whole row groups, which have up to a million rows."""
_ERRORS: Final = (pa.ArrowException, OSError, TypeError)
_FEATHER_1: Final = b"FEA1"
_ARROW_FILE: Final = b"ARROW1"


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path, where: str) -> None:
        self.where = where
        try:
            self._file = pyarrow.parquet.ParquetFile(
                path, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
            )
        except _ERRORS as error:
            raise ValueError(f"{where}: not a readable Parquet file: {_line(error)}") from None
        self.names = checked_names(where, self._file.schema_arrow.names)
        self.rows: int | None = self._file.metadata.num_rows

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of columns; see :class:`.Table`."""
        groups = list(range(self._file.num_row_groups))
        while groups and skip >= (rows := self._file.metadata.row_group(groups[0]).num_rows):
            skip -= rows
            del groups[0]
        read = self._file.iter_batches(CHUNK_ROWS, groups, list(columns), use_threads=False)
        return regrouped(_cells(read, columns, self.where), skip)

    def share(self) -> float | None:
        """Return None: the number of rows is known."""
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ArrowTable:
    """An Arrow IPC file (Feather is one) or stream, or a stream from standard input if there is no path."""

    def __init__(self, path: Path | None, where: str) -> None:
        self.where = where
        try:
            self._source: Any = pa.PythonFile(sys.stdin.buffer, mode="r") if path is None else pa.memory_map(str(path))
            start = b"" if path is None else bytes(self._source.read(6))
            if start.startswith(_FEATHER_1):
                raise ValueError(f"{where}: is a file of Feather version 1; write it as version 2, or as Parquet")
            self._is_file = start == _ARROW_FILE
            if path is not None:
                self._source.seek(0)
            self._reader: Any = (pa.ipc.open_file if self._is_file else pa.ipc.open_stream)(self._source)
        except _ERRORS as error:
            raise ValueError(f"{where}: not a readable Arrow file: {_line(error)}") from None
        self.names = checked_names(where, self._reader.schema.names)
        self.rows: int | None = None
        self._read = 0

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of columns; see :class:`.Table`."""
        return regrouped(_cells(self._batches(), columns, self.where), skip)

    def _batches(self) -> Iterator[Any]:
        if not self._is_file:
            yield from self._reader
            return
        for position in range(self._reader.num_record_batches):
            self._read = position
            yield self._reader.get_batch(position)

    def share(self) -> float | None:
        """Return the share that has been read."""
        return self._read / self._reader.num_record_batches if self._is_file and self._read else None

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _cells(batches: Iterator[Any], columns: Sequence[str], where: str) -> Iterator[list[Cells]]:
    read = 0
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                part = batch.slice(start, CHUNK_ROWS)
                yield [_objects(part.column(part.schema.get_field_index(name))) for name in columns]
                read += part.num_rows
    except _ERRORS as error:
        raise UnreadableRowError(f"{where}: cannot be read after row {read:,}: {_line(error)}") from None


def _objects(column: Any) -> Cells:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # Python has no nanoseconds
        column = pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
    return column.to_pylist()


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
