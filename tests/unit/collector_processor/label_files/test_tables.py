"""Every kind of file and query: the same labels, and an error that names the file and the line of what is wrong."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector_processor.label_files.cells import Counts, LabelReader, Labels
from collector_processor.label_files.columns import LabelColumns, Wanted, label_columns
from collector_processor.label_files.open import open_file
from collector_processor.label_files.queries import QueryTable
from collector_processor.label_files.table import CHUNK_ROWS, Table, UnreadableRowError

IDS = ["007", "é-ü", "a,b", "", "9007199254740993"]
CLASSES = ["yes", "no", "yes", "no", ""]


def read(table: Table, columns: LabelColumns, skip: int = 0, model: str = "m") -> tuple[Labels, Counts]:
    counts, together = Counts(), Labels()
    reader = LabelReader(columns, model, counts)
    for chunk in table.chunks(columns.names, skip):
        counts.rows += len(chunk[0])
        for labels in reader.labels(chunk).values():
            together.ids += labels.ids
            together.classes += labels.classes
            together.values += labels.values
            together.times += labels.times
    table.close()
    return together, counts


def usual(table: Table) -> LabelColumns:
    return label_columns(table.where, table.names, Wanted(), "m")


def arrow_of(ids: Any = IDS, classes: Any = CLASSES) -> Any:
    return pa.table(
        {"prediction_id": pa.array([i or None for i in ids]), "class": pa.array([c or None for c in classes])}
    )


def write_csv(path: Path, delimiter: str = ",") -> bytes:
    cells = [f'"{i}"{delimiter}{c}' for i, c in zip(IDS, CLASSES, strict=True)]
    return "\r\n".join([f"prediction_id{delimiter}class", *cells]).encode()


def json_lines() -> bytes:
    lines = [json.dumps({"prediction_id": i, "class": c or None}) for i, c in zip(IDS, CLASSES, strict=True)]
    return "\n".join([*lines[:2], "", *lines[2:]]).encode()


def as_file(path: Path) -> None:
    with pa.ipc.new_file(str(path), arrow_of().schema) as writer:
        writer.write_table(arrow_of())


def as_stream(path: Path) -> None:
    with pa.ipc.new_stream(str(path), arrow_of().schema) as writer:
        writer.write_table(arrow_of(), max_chunksize=2)


def as_dictionary(path: Path) -> None:
    pq.write_table(arrow_of().set_column(1, "class", arrow_of().column(1).dictionary_encode()), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.csv": lambda path: path.write_bytes(write_csv(path)),
    "bom.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + write_csv(path)),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(write_csv(path))),
    "a.csv.bz2": lambda path: path.write_bytes(bz2.compress(write_csv(path))),
    "a.tsv": lambda path: path.write_bytes(write_csv(path, "\t")),
    "a.jsonl": lambda path: path.write_bytes(json_lines()),
    "a.ndjson.gz": lambda path: path.write_bytes(gzip.compress(json_lines())),
    "a.parquet": lambda path: pq.write_table(arrow_of(), path),
    "dictionary.parquet": as_dictionary,
    "a.arrow": as_file,
    "a.feather": as_file,
    "stream.arrow": as_stream,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("skip", [0, 2])
def test_every_format_gives_the_same_labels(tmp_path: Path, name: str, skip: int) -> None:
    WRITERS[name](tmp_path / name)
    table = open_file(str(tmp_path / name))
    labels, counts = read(table, usual(table), skip)
    assert labels.ids == ["007", "é-ü", "a,b"][skip:]
    assert labels.classes == ["yes", "no", "yes"][skip:]
    assert (counts.rows, counts.without_id, counts.without_label) == (5 - skip, 1, 1)


def sqlite_file(path: Path) -> str:
    with sqlite3.connect(path) as database:
        database.execute("create table t (prediction_id text, class text)")
        database.executemany(
            "insert into t values (?, ?)", [(i or None, c or None) for i, c in zip(IDS, CLASSES, strict=True)]
        )
    database.close()
    return str(path)


def duckdb_file(path: Path) -> str:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as database:
        rows = arrow_of()
        database.execute("create table t as select * from rows")
        assert len(rows) == 5
    return str(path)


DATABASES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: sqlite_file(folder / "t.db"),
    "sqlite address": lambda folder: "sqlite:///" + sqlite_file(folder / "t #1.db"),
    "duckdb": lambda folder: duckdb_file(folder / "t.duckdb"),
    "duckdb address": lambda folder: "duckdb:///" + duckdb_file(folder / "t.any"),
    "sqlalchemy": lambda folder: "sqlite+pysqlite:///" + sqlite_file(folder / "t.any"),
}


@pytest.mark.parametrize("kind", DATABASES)
def test_every_database_gives_the_same_labels(tmp_path: Path, kind: str) -> None:
    if kind == "sqlalchemy":
        pytest.importorskip("sqlalchemy")
    table = QueryTable("SELECT prediction_id, class FROM t WHERE class IS NOT NULL", DATABASES[kind](tmp_path))
    labels, counts = read(table, usual(table), 1)
    assert (labels.ids, labels.classes) == (["é-ü", "a,b"], ["no", "yes"])
    assert (counts.rows, counts.without_id) == (3, 1)


def test_a_query_without_a_database_reads_files_by_duckdb(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pq.write_table(arrow_of(), tmp_path / "a.parquet")
    table = QueryTable(f"SELECT prediction_id AS id, class FROM '{tmp_path}/a.parquet'", "")
    assert read(table, usual(table))[0].ids == ["007", "é-ü", "a,b"]


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_query_cannot_change_a_database(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=r"read-?only"):
        QueryTable("DELETE FROM t", DATABASES[kind](tmp_path))


@pytest.mark.parametrize(
    ("query", "database", "message"),
    [
        ("SELECT absent FROM t", "sqlite", "no such column: absent"),
        ("SELEC", "duckdb", "yntax"),
        ("SELECT 1 AS a, 2 AS a FROM t", "sqlite", "more than one column 'a'"),
        ("SELECT 1", "oracle", "--database: 'oracle' is not known; write a file"),
    ],
)
def test_a_query_that_cannot_run_says_why(tmp_path: Path, query: str, database: str, message: str) -> None:
    address = DATABASES[database](tmp_path) if database in DATABASES else database
    with pytest.raises(ValueError, match=message):
        QueryTable(query, address)


def test_a_database_that_is_missing_is_not_made(tmp_path: Path) -> None:
    for name in ("t.db", "t.duckdb"):
        with pytest.raises(FileNotFoundError):
            QueryTable("SELECT 1", str(tmp_path / name))
        assert not (tmp_path / name).exists()


def test_no_message_has_the_password_of_a_database() -> None:
    pytest.importorskip("sqlalchemy")
    with pytest.raises((ValueError, OSError)) as failed:
        QueryTable("SELECT 1", "postgresql+nodriver://ml:hunter2@localhost/labels")
    assert "hunter2" not in str(failed.value)


def test_ids_keep_their_exact_text_and_numbers_that_of_a_prediction(tmp_path: Path) -> None:
    cells = {
        "int64": pa.array([2**63 - 1, -5, 7], pa.int64()),
        "uint64": pa.array([2**64 - 1, 0, 7], pa.uint64()),
        "decimal": pa.array(
            [decimal.Decimal("12345678901234567890.5"), decimal.Decimal("1.00"), None], pa.decimal128(30, 2)
        ),
        "float": pa.array([1.0, 0.5, float("nan")]),
        "bool": pa.array([True, False, None]),
        "date": pa.array([datetime.date(1970, 1, 2), None, None]),
        "bytes": pa.array([b"abc", b"\xff\xfe", None]),
        "large": pa.array(["01", "", "x" * 600], pa.large_string()),
    }
    expected = {
        "int64": ["9223372036854775807", "-5", "7"],
        "uint64": ["18446744073709551615", "0", "7"],
        "decimal": ["12345678901234567890.5", "1"],
        "float": ["1", "0.5"],
        "bool": ["true", "false"],
        "date": ["86400"],
        "bytes": ["abc"],
        "large": ["01", "x" * 512],
    }
    pq.write_table(pa.table({**cells, "class": ["a", "b", "c"]}), tmp_path / "a.parquet")
    for name, ids in expected.items():
        table = open_file(str(tmp_path / "a.parquet"))
        labels, counts = read(table, LabelColumns(name, "class"))
        assert labels.ids == ids, name
        assert counts.without_id == 3 - len(ids)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_700_000_000, None]),
        pa.array([1_700_000_000_000, None]),
        pa.array([1_700_000_000_000_000_000, None]),
        pa.array([1_700_000_000.0, float("nan")]),
        pa.array(["2023-11-14T22:13:20Z", None]),
        pa.array(["2023-11-14 23:13:20+01:00", ""]),
        pa.array(["1700000000", None]),
        pa.array([1_700_000_000 * 10**9 + 1, None], pa.timestamp("ns")),
        pa.array([decimal.Decimal("1700000000.00"), None]),
        pa.array([1_700_000_000, None], pa.timestamp("s", "Europe/Berlin")),
    ],
    ids=str,
)
def test_times_of_any_type_are_unix_seconds(tmp_path: Path, times: Any) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "class": ["x", "y"], "time": times}), tmp_path / "a.parquet")
    table = open_file(str(tmp_path / "a.parquet"))
    labels, counts = read(table, usual(table))
    assert labels.times == [1_700_000_000 * 10**9, None]
    assert counts.not_times == 0


def test_a_time_or_value_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,value,time\na,"3,5",soon\nb,1e3,2026-01-01\nc,inf,\nd,1_000,\n')
    table = open_file(str(path))
    labels, counts = read(table, usual(table))
    assert (labels.ids, labels.values) == (["b"], [1000.0])
    assert (counts.not_numbers, counts.not_times, counts.without_label) == (3, 1, 3)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["yes", "no"], "class"),
        ([1, 0], "class"),
        ([True, False], "class"),
        ([1.0, None], "value"),
        (["1", "0"], "class"),
        (["1", "0.5"], "value"),
        ([decimal.Decimal("2.50")], "value"),
        ([str(number) for number in range(200)], "value"),
        ([None], ""),
    ],
)
def test_a_column_called_label_is_classes_or_values_as_its_cells_are(labels: list[Any], kind: str) -> None:
    reader = LabelReader(LabelColumns("id", either="label"), "m", Counts())
    reader.labels([[str(row) for row in range(len(labels))], labels])
    assert reader.kind == kind


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (
            ["key", "class"],
            Wanted(),
            "no column 'prediction_id'; it has: key, class. Name the column of the ids with --id",
        ),
        (["id", "truth"], Wanted(), "no column 'class'; it has: id, truth. Name the column of the labels"),
        (["id", "label", "target"], Wanted(), "'label' and 'target' may both be the labels"),
        (["id", "class"], Wanted(id="key"), "no column 'key'; it has: id, class"),
    ],
)
def test_a_missing_column_is_named_with_those_that_there_are(names: list[str], wanted: Wanted, message: str) -> None:
    with pytest.raises(ValueError, match=r"^file 'x.csv': ") as failed:
        label_columns("file 'x.csv'", names, wanted, "m")
    assert message in str(failed.value)


def test_a_model_is_needed() -> None:
    with pytest.raises(ValueError, match=r"no column 'model'; it has: id, class. Name the model with --model"):
        label_columns("file 'x.csv'", ["id", "class"], Wanted(), "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty; it needs a first line"),
        ("a.csv", b"id,id\n", "more than one column 'id'"),
        ("a.jsonl", b"\n \n", "is empty; it needs one JSON object a line"),
        ("a.jsonl", b"[1]\n", "line 1 is not an object"),
        ("a.jsonl", b'{"id": "a"\n', "line 1 is not JSON"),
        ("a.jsonl", b'{"id": "a", "id": "b"}\n', "line 1 is not JSON: it has the key 'id' twice"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1 is (nested too deep|not JSON)"),
        ("a.jsonl", b'{"id": ' + b"1" * 5000 + b"}\n", "line 1 is not JSON"),
        ("a.jsonl", b"x" * 1_100_000, "line 1 is longer than 1,048,576 bytes"),
        ("a.csv", b"id,cl\xe9\n", r"line 1 is not UTF-8 \(byte 0xe9\)"),
        ("a.csv.gz", b"id,class\n", "line 1 cannot be read"),
        ("a.parquet", b"PAR1 and nothing", "not a readable Parquet file"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.arrow", b"ARROW1 and nothing", "not a readable Arrow file"),
        ("a.arrow", b"", "not a readable Arrow file"),
        ("a.feather", b"FEA1 and what follows", "Feather version 1"),
        ("a.xlsx", b"PK", "unknown format; allowed: .csv"),
        ("a.parquet.gz", b"", "unknown format"),
    ],
)
def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^file '.*{name}': .*{message}"):
        open_file(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,class\na,b\nc\n", "line 3 has 1 cells, and the header has 2"),
        ("a.csv", b"id,class\na,b\nc,\xff\n", r"line 3 is not UTF-8 \(byte 0xff\)"),
        ("a.csv", b'id,class\n"a' + b"x\n" * 100_000, "field larger than field limit"),
        ("a.csv", b"id,class\n" + b"x" * 1_100_000, "line 2 is longer than"),
        ("a.csv.gz", gzip.compress(b"id,class\n" + bytes(range(97, 123)) * 10_000)[:-300], "cannot be read"),
    ],
)
def test_a_row_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    table = open_file(str(tmp_path / name))
    with pytest.raises(UnreadableRowError, match=message):
        read(table, LabelColumns("id", "class"))
    table.close()


def test_a_parquet_file_that_is_damaged_inside_gives_the_rows_before(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = pa.table({"id": [f"{row}-{row * 7919 % 10_007}" for row in range(100_000)], "class": ["a"] * 100_000})
    pq.write_table(rows, path, row_group_size=25_000, use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200_000] = bytes(200_000)
    path.write_bytes(content)
    table, read_rows = open_file(str(path)), []
    chunks = (read_rows.append(len(ids)) for ids, _ in table.chunks(["id", "class"], 0))
    with pytest.raises(UnreadableRowError, match=r"a.parquet': cannot be read after row [1-9]"):
        list(chunks)
    table.close()
    assert 0 < sum(read_rows) < 100_000


def test_a_truncated_parquet_file_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(arrow_of(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"a.parquet': not a readable Parquet file"):
        open_file(str(path))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow", "a.jsonl"])
def test_a_table_is_read_in_chunks_from_any_row(tmp_path: Path, name: str) -> None:
    path, rows = tmp_path / name, 45_000
    table = pa.table({"id": [str(row) for row in range(rows)], "class": ["a"] * rows})
    if name.endswith("csv"):
        path.write_text("id,class\n" + "".join(f"{row},a\n" for row in range(rows)))
    elif name.endswith("jsonl"):
        path.write_text("".join(f'{{"id": {row}, "class": "a"}}\n' for row in range(rows)))
    elif name.endswith("parquet"):
        pq.write_table(table, path, row_group_size=7_000)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    for skip in (0, 1, 7_000, 20_000, 44_999, 45_000, 50_000):
        source = open_file(str(path))
        chunks = [ids for ids, _ in source.chunks(["id", "class"], skip)]
        source.close()
        assert max(map(len, chunks), default=0) <= CHUNK_ROWS
        assert [str(cell) for chunk in chunks for cell in chunk] == [str(row) for row in range(skip, rows)], skip


def test_standard_input_is_csv_or_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen, content in (
        (None, b"id,class\na,b\n"),
        ("jsonl", b'{"id": "a", "class": "b"}\n'),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        table = open_file("-", chosen)
        assert read(table, usual(table))[0].ids == ["a"]
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, arrow_of().schema) as writer:
        writer.write_table(arrow_of())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sink.getvalue())))
    table = open_file("-", "arrow")
    assert read(table, usual(table))[0].ids == ["007", "é-ü", "a,b"]
    with pytest.raises(ValueError, match="Parquet cannot be read from standard input"):
        open_file("-", "parquet")


def test_a_column_with_a_dot_in_its_name_is_that_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ml.prediction.id": ["a"], "ml.label.class": ["x"]}), tmp_path / "a.parquet")
    table = open_file(str(tmp_path / "a.parquet"))
    assert read(table, usual(table))[0].ids == ["a"]
