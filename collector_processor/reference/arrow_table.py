"""Read tables on disk one column at a time: Parquet, CSV and Arrow files, each column as cells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from pyarrow import compute

from collector_processor.columns.batch import F64, Column

# pyarrow has no complete types; these names document what a type checker sees only as Any.
ArrowColumn = Any
ArrowType = Any
pc: Any = compute

Format = Literal["Parquet", "CSV", "Arrow"]
FORMATS: Final[dict[str, Format]] = {
    ".parquet": "Parquet", ".pq": "Parquet", ".csv": "CSV", ".tsv": "CSV",
    ".arrow": "Arrow", ".feather": "Arrow", ".ipc": "Arrow",
}  # fmt: skip
"""Formats by file extension; CSV may also be compressed (``.csv.gz``)."""
COMPRESSED: Final = (".gz", ".bz2")
_LEADING_ZERO: Final = r"^[+-]?0[0-9]"


class TableFile(Protocol):
    """A table whose columns are read one by one."""

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        ...

    @property
    def index(self) -> list[str]:
        """The names of the columns that were the index of a pandas frame, which live rows do not have."""
        ...

    def column(self, position: int) -> ArrowColumn:
        """Return one column."""
        ...


def open_table(path: str | os.PathLike[str]) -> TableFile:
    """Open a table by its file extension; raise ``ValueError`` for an unknown format or an unreadable file."""
    place = Path(path)
    suffixes = [suffix.lower() for suffix in place.suffixes]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in COMPRESSED and suffixes[-2:-1] in ([".csv"], [".tsv"]):
        suffix = suffixes[-2]
    file_format = FORMATS.get(suffix)
    if file_format is None:
        raise ValueError(f"{path}: unknown format; allowed: {', '.join(FORMATS)}, and .csv, .tsv with .gz or .bz2")
    with place.open("rb"):  # so that a missing or unreadable file raises its own error
        pass
    try:
        opened: TableFile
        if file_format == "Parquet":
            opened = _Parquet(place)
        elif file_format == "CSV":
            opened = _Csv(place, "\t" if suffix == ".tsv" else ",")
        else:
            opened = _Arrow(place)
    except (pa.ArrowException, OSError, TypeError) as error:  # pandas cannot read all types of column that it writes
        raise ValueError(f"{path}: not a readable {file_format} file: {error}") from None
    twice = sorted({name for name in opened.names if opened.names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: has more than one column '{twice[0]}'")
    return opened


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._file = pyarrow.parquet.ParquetFile(path)
        self.names: list[str] = list(self._file.schema_arrow.names)
        self.index = pandas_index(self._file.schema_arrow)

    def column(self, position: int) -> ArrowColumn:
        # A dot in a name would be read as a path into a column, so select the column again after the read.
        return self._file.read(columns=[self.names[position]], use_pandas_metadata=False).column(self.names[position])


class _Arrow:
    """An Arrow IPC file or stream; only the wanted column is decompressed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as start:
            self._is_file = start.read(6) == b"ARROW1"
        with self._open(None) as reader:
            self.names: list[str] = list(reader.schema.names)
            self.index = pandas_index(reader.schema)

    def _open(self, position: int | None) -> Any:
        options = pa.ipc.IpcReadOptions(included_fields=None if position is None else [position])
        source = pa.memory_map(str(self._path))
        return (
            pa.ipc.open_file(source, options=options) if self._is_file else pa.ipc.open_stream(source, options=options)
        )

    def column(self, position: int) -> ArrowColumn:
        with self._open(position) as reader:
            return reader.read_all().column(0)


class _Csv:
    """A whole CSV file, typed by its cells; empty cells are missing.

    A column in which any number has a leading zero holds codes, such as zip codes: it is read as texts. A column
    without a name is the index that pandas writes.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        self._table = _read_csv(path, delimiter)
        numeric = [
            name
            for name, kind in zip(self._table.column_names, self._table.schema.types, strict=True)
            if pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ]
        if numeric and len(set(self._table.column_names)) == len(self._table.column_names):
            texts = _read_csv(
                path, delimiter, include_columns=numeric, column_types=dict.fromkeys(numeric, pa.string())
            )
            for name in numeric:
                if pc.any(pc.match_substring_regex(texts.column(name), _LEADING_ZERO)).as_py():
                    position = self._table.column_names.index(name)
                    self._table = self._table.set_column(position, name, texts.column(name))
        self.names: list[str] = list(self._table.column_names)
        self.index = [name for name in self.names if not name]

    def column(self, position: int) -> ArrowColumn:
        column = self._table.column(position)
        if pa.types.is_string(column.type):
            return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
        return column


def _read_csv(path: Path, delimiter: str, **options: Any) -> Any:
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False, auto_dict_encode=False, **options),
    )


def pandas_index(schema: Any) -> list[str]:
    """Return the columns of an Arrow schema that were the index of a pandas frame.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [41]}, index=pd.Index(["a"], name="customer"))
    >>> pandas_index(pa.Table.from_pandas(frame).schema)
    ['customer']
    """
    try:
        described: Any = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return [name for name in described.get("index_columns", []) if isinstance(name, str)]
    except (ValueError, AttributeError, TypeError):  # what somebody else wrote under this key
        return []


def read_cells(table: TableFile, position: int, where: str) -> Column:
    """Return one column of a table as :func:`cells`; raise ``ValueError`` for a damaged column as well."""
    try:
        column = table.column(position)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{where}: cannot be read: {error}") from None
    return cells(column, where)


def cells(column: ArrowColumn, where: str) -> Column:
    """Return an Arrow column as cells; errors call it ``where``.

    Numbers and decimals become numbers; points in time, Unix seconds (UTC without a time zone); times of day and
    durations, seconds; booleans and texts, texts; nulls and NaN, missing cells. Nested types raise ``ValueError``.

    >>> cells(pa.chunked_array([[True, None]]), "t.csv: column 'late'").codes.tolist()
    [1, -1]
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "pandas.interval":
        return _texts(pa.chunked_array([_interval_texts(column)]))
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        plain = column.combine_chunks()
        return cells(pa.chunked_array([plain.dictionary.take(plain.indices)]), where)
    if pa.types.is_boolean(kind):
        codes = pc.fill_null(pc.cast(column, pa.int8()), -1).to_numpy().astype(np.int32)
        return Column(None, codes, ("false", "true"))
    if _is_text(kind) or pa.types.is_dictionary(kind):
        return _texts(column)
    return Column(_numbers(column, where))


def _interval_texts(column: ArrowColumn) -> ArrowColumn:
    """Return the texts of intervals, as pandas shows them: live ones are these texts too."""
    described: Any = json.loads(column.type.__arrow_ext_serialize__())
    closed = str(described.get("closed", "right"))
    start, stop = "[" if closed in ("left", "both") else "(", "]" if closed in ("right", "both") else ")"
    storage = [value for chunk in column.chunks for value in chunk.storage.to_pylist()]
    texts = [
        None if value is None or value["left"] is None else f"{start}{value['left']}, {value['right']}{stop}"
        for value in storage
    ]
    return pa.array(texts, pa.string())


def _is_text(kind: ArrowType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind)


def _is_view(kind: ArrowType) -> bool:
    """Return whether texts are stored as views, which pyarrow 15 does not have."""
    return str(kind) == "string_view"


def _texts(column: ArrowColumn) -> Column:
    """Return codes of one dictionary; a null in the dictionary is as missing as a null cell."""
    encoded = column if pa.types.is_dictionary(column.type) else _plain(column).dictionary_encode()
    if encoded.num_chunks == 0:
        return Column(None, np.empty(0, np.int32))
    encoded = encoded.unify_dictionaries()
    parts = [pc.fill_null(pc.cast(chunk.indices, pa.int32()), -1).to_numpy() for chunk in encoded.chunks]
    names: list[str | None] = encoded.chunk(0).dictionary.to_pylist()
    codes = np.concatenate(parts).astype(np.int32)
    if None in names:
        codes[codes == names.index(None)] = -1
    return Column(None, codes, tuple("" if name is None else name for name in names))


def _plain(column: ArrowColumn) -> ArrowColumn:
    """Convert views, which not every version of Arrow can dictionary-encode."""
    return column.cast(pa.large_string()) if _is_view(column.type) else column


_NUMERIC: Final = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _numbers(column: ArrowColumn, where: str) -> F64:
    kind, scale = column.type, 1.0
    if pa.types.is_date(kind):
        column, scale = column.cast(pa.timestamp("ms")).cast(pa.int64()), 1e3
    elif pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        scale = _PER_SECOND[kind.unit]
        column = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    elif not any(is_kind(kind) for is_kind in _NUMERIC):
        raise ValueError(f"{where}: holds {kind}; allowed: numbers, texts, booleans, dates and times")
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64) / scale
