"""The direct reader of usual Arrow streams gives the columns that pyarrow gives, and leaves everything else to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collector_processor.columns.batch import Column
from collector_processor.decode.arrow import direct as arrow_direct
from collector_processor.decode.arrow import stream as arrow
from collector_processor.decode.arrow.arrays import column_of_arrow, hash_arrow
from collector_processor.decode.arrow.direct import NotUsualError, UsualStream
from collector_processor.decode.arrow.stream import ArrowTable, read_stream
from collector_processor.decode.limits import DecodeLimits, Tally
from collector_processor.decode.rules.cells import UnreadableError, place_of

Answer = tuple[object, dict[str, int], int]


def stream_of(columns: dict[str, Any], *, batches: int = 1, compression: str | None = None) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for part in table.to_batches(max_chunksize=max(1, -(-table.num_rows // batches))):
            writer.write_batch(part)
    return sink.getvalue().to_pybytes()


def usual_columns(rows: int = 50) -> dict[str, Any]:
    rng = np.random.default_rng(rows)
    words = pa.array(rng.choice(["a", "bé", "", "long " * 20], rows).tolist())
    numbers = rng.normal(0, 1, rows)
    holes = rng.random(rows) < 0.3
    return {
        "ml.feature.double": pa.array(numbers),
        "ml.feature.holes": pa.array(numbers, mask=holes),
        "ml.feature.single": pa.array(numbers.astype(np.float32)),
        "ml.feature.int": pa.array(rng.integers(-(2**62), 2**62, rows), mask=holes),
        "ml.feature.small": pa.array(rng.integers(0, 200, rows).astype(np.uint8)),
        "ml.feature.kind": words.dictionary_encode(),
        "ml.feature.rare": pa.array([None if hole else "x" for hole in holes]).dictionary_encode(),
        "ml.feature.flag": pa.array(holes),
        "ml.feature.text": words,
        "ml.segment.number": pa.array(rng.integers(2**53, 2**53 + 3, rows)),
        "ml.prediction.score": pa.array(rng.random(rows)),
        "ml.prediction.id": pa.array([f"order-{row}" if row % 3 else "" for row in range(rows)]),
        "not.ours": pa.array(numbers),
    }


def cells_of(found: Column | None) -> object:
    if found is None:
        return None
    numbers = None if found.numbers is None else found.numbers.tobytes()
    return numbers, None if found.codes is None else found.codes.tolist(), found.categories


def contents(table: ArrowTable | None, tally: Tally) -> Answer:
    if table is None:
        return None, tally.dropped, tally.arrow_bytes_left
    found: dict[str, object] = {}
    for name, array in table.columns.items():
        place = place_of(name)
        assert place is not None
        if place.part == "id":
            hashes, named = hash_arrow(array)
            found[name] = hashes[named].tolist(), named.tolist()
        else:
            found[name] = cells_of(column_of_arrow(array, place.kind, tally))
    return (table.rows, found), tally.dropped, tally.arrow_bytes_left


def answer(stream: bytes, limits: DecodeLimits) -> Answer:
    tally = Tally(limits)
    try:
        return contents(read_stream(stream, tally), tally)
    except UnreadableError as error:
        return str(error), tally.dropped, 0


def by_pyarrow(stream: bytes, limits: DecodeLimits) -> Answer:
    def refuse(*_: object) -> UsualStream:
        raise NotUsualError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "UsualStream", refuse)
        return answer(stream, limits)


def is_usual(stream: bytes) -> bool:
    try:
        usual = UsualStream(stream, 100)
        usual.columns(range(len(usual.plan.columns)))
    except NotUsualError:
        return False
    return True


@pytest.mark.parametrize("rows", [2, 7, 50, 1000])
@pytest.mark.parametrize("askew", range(3))
def test_a_usual_stream_has_the_columns_that_pyarrow_reads(rows: int, askew: int) -> None:
    stream = stream_of(usual_columns(rows))
    assert is_usual(stream)
    view = memoryview(b"?" * askew + stream)[askew:]
    for part in (stream, view):
        tally = Tally(DecodeLimits())
        found = contents(read_stream(part, tally), tally)
        assert found == by_pyarrow(stream, DecodeLimits())


@pytest.mark.parametrize(
    "limits",
    [
        DecodeLimits(rows=49),
        DecodeLimits(cells=500),
        DecodeLimits(arrow_bytes=4000),
        DecodeLimits(arrow_messages=3),
        DecodeLimits(text_length=3),
        DecodeLimits(categories=2),
    ],
)
def test_limits_are_met_by_both_in_the_same_way(limits: DecodeLimits) -> None:
    stream = stream_of(usual_columns())
    assert answer(stream, limits) == by_pyarrow(stream, limits)


def test_no_more_messages_are_looked_at_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    monkeypatch.setattr(
        arrow_direct, "_known_header", lambda head: looked_at.append(head) or arrow_direct._header(head)
    )
    stream = stream_of(usual_columns())
    found = UsualStream(stream, 100).messages
    looked_at.clear()
    with pytest.raises(NotUsualError):
        UsualStream(stream, found - 1)
    assert len(looked_at) == found - 2  # all but the schema and the one too many


def unusual() -> dict[str, bytes]:
    plain = pa.array([1.0, 2.0])
    name = "ml.feature.a"
    shared = pa.array(["a", "b"]).dictionary_encode()
    return {
        "compressed": stream_of({name: plain}, compression="lz4"),
        "two batches": stream_of({name: plain}, batches=2),
        "no rows": stream_of({name: plain[:0]}),
        "nested": stream_of({name: pa.array([[1.0], [2.0]])}),
        "struct": stream_of({"ml.features": pa.array([{"a": 1.0}, {"a": 2.0}])}),
        "time": stream_of({name: pa.array([1, 2], pa.timestamp("ms"))}),
        "half": stream_of({name: pa.array(np.zeros(2, np.float16))}),
        "numbers in a dictionary": stream_of({name: pa.array([1, 1]).dictionary_encode()}),
        "null in a dictionary": stream_of(
            {name: pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))}
        ),
        "empty dictionary": stream_of(
            {name: pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int8()), pa.array([], pa.string()))}
        ),
        "nothing of ours": stream_of({"other": plain}),
        "nothing": b"",
        "end of a stream": b"\xff\xff\xff\xff\0\0\0\0",
        "large texts in a dictionary": stream_of({name: shared.cast(pa.dictionary(pa.int32(), pa.large_string()))}),
    }


@pytest.mark.parametrize("kind", unusual())
def test_any_other_stream_is_left_to_pyarrow(kind: str) -> None:
    stream = unusual()[kind]
    assert kind == "nothing of ours" or not is_usual(stream)
    assert answer(stream, DecodeLimits()) == by_pyarrow(stream, DecodeLimits())


def test_two_columns_of_one_name_are_read_as_pyarrow_reads_them() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["ml.feature.a", "ml.feature.a"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue().to_pybytes()
    assert answer(stream, DecodeLimits()) == by_pyarrow(stream, DecodeLimits())


def test_a_stream_cut_anywhere_is_refused_or_read_as_pyarrow_does() -> None:
    stream = stream_of(usual_columns(3))
    for size in range(0, len(stream), 13):
        assert answer(stream[:size], DecodeLimits()) == by_pyarrow(stream[:size], DecodeLimits()), size


def test_a_stream_with_changed_bytes_never_gives_other_cells_than_pyarrow() -> None:
    stream, rng = stream_of(usual_columns(20)), np.random.default_rng(0)
    both = 0
    for _ in range(1500):
        changed = bytearray(stream)
        for _ in range(int(rng.integers(1, 4))):
            changed[int(rng.integers(len(changed)))] = int(rng.choice([0, 1, 7, 127, 128, 255, rng.integers(256)]))
        mine, theirs = answer(bytes(changed), DecodeLimits()), by_pyarrow(bytes(changed), DecodeLimits())
        # Octets that pyarrow checks although no cell depends on them (paddings, unused fields) may make it refuse.
        if not isinstance(theirs[0], str):
            assert mine == theirs
            both += 1
    assert both > 500


def test_columns_that_share_their_buffers_are_refused_before_anything_is_made_of_them() -> None:
    rows, numbers = 1000, pa.array(np.arange(1000, dtype=np.int8))
    stream = bytearray(stream_of({f"ml.feature.{i:03}": numbers for i in range(100)}))
    usual = UsualStream(bytes(stream), 100)
    wanted = range(100)
    assert usual.rows == rows
    assert usual.buffer_bytes(wanted) == 100 * rows
    for limits in (DecodeLimits(arrow_bytes=150 * rows), DecodeLimits(cells=99 * rows), DecodeLimits(rows=rows - 1)):
        assert answer(bytes(stream), limits) == by_pyarrow(bytes(stream), limits)


def test_the_widest_table_within_the_limits_is_read_directly() -> None:
    """2,000 features are the documented limit; beyond 64 KiB of schema each span used to take two seconds."""
    stream = stream_of({f"ml.feature.a_name_of_ordinary_length_{i}": [float(i), 1.0] for i in range(2000)})
    assert is_usual(stream)
    assert answer(stream, DecodeLimits()) == by_pyarrow(stream, DecodeLimits())


class CountingSchema:
    """A schema that counts the fields handed out: ``names`` and ``types`` build whole lists, as pyarrow's do."""

    def __init__(self, schema: Any) -> None:
        self._fields = list(schema)
        self.handed_out = 0

    def __iter__(self) -> Iterator[Any]:
        for field in self._fields:
            self.handed_out += 1
            yield field

    @property
    def names(self) -> list[str]:
        return [field.name for field in self]

    @property
    def types(self) -> list[Any]:
        return [field.type for field in self]


@pytest.mark.parametrize("columns", [10, 1000])
def test_finding_the_columns_looks_at_each_field_a_fixed_number_of_times(columns: int) -> None:
    schema = CountingSchema(pa.schema([(f"ml.feature.{i}", pa.float64()) for i in range(columns)]))
    readable, unreadable = arrow._columns_of_interest(schema)
    assert (len(readable), unreadable) == (columns, 0)
    assert schema.handed_out <= 3 * columns


def test_of_columns_with_one_name_the_last_that_is_not_missing_counts() -> None:
    arrays = [pa.array(["a", None, "c", None]), pa.array([1.0, 2.0, None, None])]
    batch = pa.RecordBatch.from_arrays(arrays, names=["ml.feature.x"] * 2)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue().to_pybytes()
    assert is_usual(stream)
    found = answer(stream, DecodeLimits())
    assert found == by_pyarrow(stream, DecodeLimits())
    tally = Tally(DecodeLimits())
    table = read_stream(stream, tally)
    assert table is not None
    column = column_of_arrow(table.columns["ml.feature.x"], "mixed", tally)
    assert column is not None
    assert column.numbers is not None
    assert column.codes is not None
    assert np.nan_to_num(column.numbers, nan=-1).tolist() == [1.0, 2.0, -1.0, -1.0]
    assert [column.categories[code] if code >= 0 else None for code in column.codes] == [None, None, "c", None]
