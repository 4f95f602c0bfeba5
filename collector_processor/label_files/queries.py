"""Rows of a query: DuckDB, SQLite, and every database that SQLAlchemy has a dialect for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from collector_processor.label_files.table import CHUNK_ROWS, Cells, UnreadableRowError, checked_names
from collector_processor.own.install import install

_SQLITE: Final = "sqlite:///"
_DUCKDB: Final = "duckdb:///"
_SQLITE_SUFFIXES: Final = (".sqlite", ".sqlite3", ".db")
_DUCKDB_SUFFIXES: Final = (".duckdb", ".ddb")
_ADDRESSES: Final = (
    f"a file ({', '.join((*_DUCKDB_SUFFIXES, *_SQLITE_SUFFIXES))}), {_SQLITE}FILE, {_DUCKDB}FILE, "
    "or an address of SQLAlchemy such as postgresql+psycopg://host/name"
)


class QueryTable:
    """The rows of a query, as the database returns them."""

    rows: int | None = None

    def __init__(self, query: str, database: str) -> None:
        self.where = f"query on '{_shown(database)}'" if database else "query"
        try:
            self._result = _result_of(query, database)
        except (ImportError, OSError, ValueError):
            raise
        except Exception as error:  # noqa: BLE001 - each database has its own errors
            raise ValueError(f"{self.where}: {_line(error)}") from None
        try:
            if not self._result.names:
                raise ValueError(f"{self.where}: returns no rows; it must be a SELECT")
            self.names = checked_names(self.where, self._result.names)
        except ValueError:
            self.close()
            raise

    def chunks(self, columns: Sequence[str], skip: int) -> Iterator[list[Cells]]:
        """Yield the cells of columns; see :class:`.Table`."""
        positions, read = [self.names.index(name) for name in columns], 0
        while taken := self._taken(read):
            read += len(taken)
            kept = taken[max(0, len(taken) - max(0, read - skip)) :]
            if kept:
                yield [[row[position] for row in kept] for position in positions]

    def _taken(self, read: int) -> list[Sequence[Any]]:
        try:
            return self._result.take(CHUNK_ROWS)
        except Exception as error:  # noqa: BLE001 - each database has its own errors
            raise UnreadableRowError(f"{self.where}: cannot be read after row {read:,}: {_line(error)}") from None

    def share(self) -> float | None:
        """Return None: the number of rows is not known."""
        return None

    def close(self) -> None:
        """Close the database; nothing that the query did to it is kept."""
        self._result.close()


@dataclass(frozen=True, slots=True)
class _Result:
    """The names of the columns of a query, and functions that take its next rows and that close the database."""

    names: Sequence[str]
    take: Callable[[int], list[Sequence[Any]]]
    close: Callable[[], object]


def _result_of(query: str, database: str) -> _Result:
    """Run a query in a database that is opened read-only where that can be asked for."""
    suffix = Path(database).suffix.lower()
    if database.startswith(_SQLITE) or ("://" not in database and suffix in _SQLITE_SUFFIXES):
        return _sqlite(query, _existing(database.removeprefix(_SQLITE)))
    if not database or database.startswith(_DUCKDB) or ("://" not in database and suffix in _DUCKDB_SUFFIXES):
        return _duckdb(query, database.removeprefix(_DUCKDB))
    if "://" in database:
        return _sqlalchemy(query, database)
    raise ValueError(f"--database: '{database}' is not known; write {_ADDRESSES}")


def _existing(path: str) -> str:
    with Path(path).open("rb"):  # a missing or unreadable file raises its own error
        return path


def _sqlite(query: str, path: str) -> _Result:
    database = sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)
    return _executed(database, database.execute, query)


def _duckdb(query: str, path: str) -> _Result:
    try:
        import duckdb
    except ImportError:
        raise OSError(f"--query needs DuckDB; install it with: {install('sql')}") from None
    database: Any = duckdb.connect(_existing(path), read_only=True) if path else duckdb.connect()
    return _executed(database, database.execute, query)


def _sqlalchemy(query: str, address: str) -> _Result:
    try:
        import sqlalchemy
    except ImportError:
        raise OSError(f"--database: this address needs SQLAlchemy; install it with: {install('sql')}") from None
    try:
        engine: Any = sqlalchemy.create_engine(address)
    except ImportError as error:
        raise OSError(f"--database: the driver of this address is not installed: {error}") from None
    with ExitStack() as opened:
        opened.callback(engine.dispose)
        connection = opened.enter_context(engine.connect())
        streamed = connection.execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
        result = streamed.exec_driver_sql(query)
        names = list(result.keys()) if result.returns_rows else []
        return _Result(names, result.fetchmany, opened.pop_all().close)


def _executed(database: Any, execute: Callable[[str], Any], query: str) -> _Result:
    with ExitStack() as opened:
        opened.callback(database.close)
        cursor = execute(query)
        names = [str(column[0]) for column in cursor.description or ()]
        return _Result(names, cursor.fetchmany, opened.pop_all().close)


def _shown(database: str) -> str:
    """Return an address without its user and password.

    >>> _shown("postgresql+psycopg://ml:secret@db.example/labels?sslkey=x"), _shown("labels.duckdb")
    ('postgresql+psycopg://db.example/labels', 'labels.duckdb')
    """
    scheme, found, rest = database.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else database


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
