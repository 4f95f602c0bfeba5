"""Opens a table of labels: a file by its extension, standard input, or a query."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

from collector_processor.label_files.arrow import ArrowTable, ParquetTable
from collector_processor.label_files.lines import CsvTable, JsonLinesTable
from collector_processor.label_files.table import Table

Format = Literal["csv", "tsv", "jsonl", "parquet", "arrow"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
STANDARD_INPUT: Final = "-"
_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_COMPRESSED: Final = (".gz", ".bz2")


def open_file(name: str, chosen: Format | None = None, delimiter: str = "") -> Table:
    """Open a file, or standard input (``-``); raise ``ValueError`` with what is wrong, and ``OSError``."""
    path = None if name == STANDARD_INPUT else Path(name)
    where = "standard input" if path is None else f"file '{name}'"
    kind = chosen or ("csv" if path is None else _format_of(path, where))
    if path is not None:
        with path.open("rb"):  # a missing or unreadable file raises its own error
            pass
    if delimiter and (kind not in ("csv", "tsv") or len(delimiter) != 1):
        raise ValueError("--delimiter: must be one character, and is for CSV only")
    if kind == "jsonl":
        return JsonLinesTable(path, where)
    if kind == "arrow":
        return ArrowTable(path, where)
    if kind == "parquet":
        if path is None:
            raise ValueError("Parquet cannot be read from standard input; name the file")
        return ParquetTable(path, where)
    return CsvTable(path, where, delimiter or ("\t" if kind == "tsv" else ","))


def _format_of(path: Path, where: str) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
        if suffixes and _SUFFIXES.get(suffixes[-1]) not in ("csv", "tsv", "jsonl"):
            suffixes.clear()
    kind = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise ValueError(
            f"{where}: unknown format; allowed: {', '.join(_SUFFIXES)}, and those of lines with .gz or .bz2; or name it"
            f" with --format {'|'.join(FORMATS)}"
        )
    return kind
