"""``ml.batch``: every type that Arrow has, and every way to hurt with it."""

from __future__ import annotations

import datetime
import decimal
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from collector_processor.decode import Column, DecodeLimits
from collector_processor.decode.arrow.size import unpacked_size
from collector_processor.decode.arrow.stream import read_stream
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cells import UnreadableError

DAY = datetime.date(1970, 1, 3)
MOMENT = datetime.datetime(1970, 1, 2, 0, 0, 0, 250_000)


TWINS = pa.DictionaryArray.from_arrays(pa.array([3, None, 0, 2]), pa.array(["x", "unused", None, "x"]))


def decoded_column(otlp: Any, read: Any, column: Any, name: str = "ml.feature.a") -> list[Any]:
    batch = otlp.one({"ml.batch": otlp.arrow({name: column})})
    return read.cells(batch.features.get("a") if name == "ml.feature.a" else batch.prediction, len(column))


INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(12, 3), pa.decimal256(50, 3)]


@pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS, *DECIMALS])
def test_every_numeric_type_is_read(otlp: Any, read: Any, kind: Any) -> None:
    of = decimal.Decimal if kind in DECIMALS else np.float16 if kind == pa.float16() else int
    column = pa.array([of(1), None, of(100), of(0)], kind)
    assert decoded_column(otlp, read, column) == [1.0, None, 100.0, 0.0]
    assert decoded_column(otlp, read, column, "ml.prediction.class") == ["1", None, "100", "0"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_layout_of_strings_is_read(otlp: Any, read: Any, kind: Any) -> None:
    values = ["a", None, "a longer text than fits into a view", "", "zürich", "a"]
    for column in (pa.array(values, kind), pa.array(values, kind).dictionary_encode()):
        assert decoded_column(otlp, read, column) == values
        assert decoded_column(otlp, read, column, "ml.prediction.class") == values
        ids = otlp.one({"ml.batch": otlp.arrow({"ml.prediction.id": column})}).ids.tolist()
        assert ids == otlp.hash(*[value or f"{otlp.default_id}:{row}" for row, value in enumerate(values)])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.nulls(2), [None, None]),
        (pa.array([MOMENT, None], pa.timestamp("us")), [86_400.25, None]),
        (pa.array([MOMENT], pa.timestamp("ms", "Europe/Zurich")), [86_400.25]),
        (pa.array([DAY, None], pa.date32()), [172_800.0, None]),
        (pa.array([DAY], pa.date64()), [172_800.0]),
        (pa.array([datetime.time(0, 1), None], pa.time32("s")), [60.0, None]),
        (pa.array([datetime.time(0, 0, 1, 500_000)], pa.time64("ns")), [1.5]),
        (pa.array([datetime.timedelta(milliseconds=1500)], pa.duration("ms")), [1.5]),
        (pa.array([1.5, None, float("nan"), float("inf")]), [1.5, None, None, float("inf")]),
        (pa.array([5, None, 5]).dictionary_encode(), [5.0, None, 5.0]),
        (pa.array([True, None]).dictionary_encode(), ["true", None]),
        (TWINS, ["x", None, "x", None]),
        (pa.array([bytes(16)], pa.binary()), None),
    ],
)  # fmt: skip
def test_other_types(otlp: Any, read: Any, column: Any, expected: list[Any] | None) -> None:
    if expected is None:
        decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": column, "ml.feature.b": [1]})}))
        assert (decoded.dropped, list(decoded.predictions[0].features)) == ({"unsupported_value": 1}, ["b"])
    else:
        assert decoded_column(otlp, read, column) == expected


@pytest.mark.parametrize("column", [pa.array([[1.0], []]), pa.array([{"a": 1}, None]), pa.array([b"x", None])])
def test_columns_of_unreadable_types_are_missing_and_counted_by_row(otlp: Any, column: Any) -> None:
    stream = otlp.arrow({"ml.feature.a": column, "ml.feature.b": [1, 2], "unknown": column})
    decoded = otlp.decoded(otlp.prediction({"ml.batch": stream}))
    assert (decoded.dropped, list(decoded.predictions[0].features)) == ({"unsupported_value": 2}, ["b"])


@pytest.mark.parametrize(
    "column", [pa.array(["0.5", None]), pa.array([True, None]), pa.array(["0.5", None]).dictionary_encode()]
)
def test_texts_where_numbers_are_due_are_counted_by_cell(otlp: Any, column: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.prediction.score": column})}))
    assert (decoded.dropped, decoded.predictions[0].score) == ({"unsupported_value": 1}, None)


def test_a_struct_or_map_of_scores_or_features_is_taken_apart(otlp: Any, read: Any) -> None:
    struct_column = pa.array([{"yes": 0.75, "no": 0.25}, None, {"yes": 1.0, "no": None}])
    pairs = [[("a", 1.0), ("b", 2.0), ("a", 3.0)], None, [("c", None), ("b", 4.0)]]
    map_column = pa.array(pairs, pa.map_(pa.string(), pa.float64()))
    stream = otlp.arrow(
        {"ml.prediction.scores": struct_column, "ml.features": map_column, "ml.feature.b": [9.0, None, 9.0]}
    )
    batch = otlp.one({"ml.batch": stream})
    assert {key: read.cells(Column(part), 3) for key, part in batch.scores.items()} == {
        "yes": [0.75, None, 1.0],
        "no": [0.25, None, None],
    }
    assert {key: read.cells(column, 3) for key, column in batch.features.items()} == {
        "a": [3.0, None, None],
        "b": [9.0, None, 9.0],
    }


def test_maps_with_text_values_and_slices_are_read(otlp: Any, read: Any) -> None:
    pairs = [[("skipped", "x")], [("a", "x"), ("b", "y")], [], [("a", "z")]]
    column = pa.array(pairs, pa.map_(pa.string(), pa.string()))[1:]
    batch = otlp.one({"ml.batch": otlp.arrow({"ml.features": column})})
    assert {key: read.cells(part, 3) for key, part in batch.features.items()} == {
        "a": ["x", None, "z"],
        "b": ["y", None, None],
    }


def test_several_record_batches_with_changing_dictionaries_are_one_table(otlp: Any, read: Any) -> None:
    first = pa.array(["a", "b", "a"]).dictionary_encode()
    second = pa.array(["c", None, "a"]).dictionary_encode()
    table = pa.table(
        {"ml.feature.a": pa.chunked_array([first, second]), "ml.feature.n": pa.chunked_array([[1, 2, 3], [4, 5, None]])}
    )
    batch = otlp.one({"ml.batch": otlp.arrow(table)})
    assert read.cells(batch.features["a"], 6) == ["a", "b", "a", "c", None, "a"]
    assert read.cells(batch.features["n"], 6) == [1.0, 2.0, 3.0, 4.0, 5.0, None]
    deltas = otlp.arrow(
        pa.table({"ml.feature.a": pa.chunked_array([first, pa.array(["b", "a", "c"]).dictionary_encode()])}),
        emit_dictionary_deltas=True,
    )
    assert read.cells(otlp.one({"ml.batch": deltas}).features["a"], 6) == ["a", "b", "a", "b", "a", "c"]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_streams_are_read(otlp: Any, compression: str) -> None:
    numbers = np.arange(10_000.0)
    stream = otlp.arrow({"ml.feature.a": numbers, "ml.feature.s": ["x"] * 10_000}, compression=compression)
    assert np.array_equal(otlp.one({"ml.batch": stream}).features["a"].numbers, numbers)


def test_streams_of_polars_and_pandas_are_read(otlp: Any, read: Any) -> None:
    frame = pl.DataFrame({"ml.feature.a": [1, None], "ml.feature.s": ["x", "y"]}).with_columns(
        pl.col("ml.feature.s").cast(pl.Categorical).alias("ml.segment.c"), pl.lit(1.5).alias("ml.prediction.score")
    )
    sink = pa.BufferOutputStream()
    frame.write_ipc_stream(sink)
    batch = otlp.one({"ml.batch": sink.getvalue().to_pybytes()})
    assert read.cells(batch.features["a"], 2) == [1.0, None]
    assert read.cells(batch.features["s"], 2) == read.cells(batch.segments["c"], 2) == ["x", "y"]
    table = pa.Table.from_pandas(frame.to_pandas())
    assert read.cells(otlp.one({"ml.batch": otlp.arrow(table)}).features["s"], 2) == ["x", "y"]


def test_of_twin_columns_the_last_counts(otlp: Any) -> None:
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["ml.feature.a", "ml.feature.a"])
    assert otlp.one({"ml.batch": otlp.arrow(table)}).features["a"].numbers.tolist() == [2.0]


def test_a_stream_without_rows_is_no_prediction(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": pa.array([], pa.float64())})}))
    assert (decoded.rejected, decoded.predictions) == (0, ())


def test_integers_as_ids_keep_every_digit(otlp: Any) -> None:
    batch = otlp.one({"ml.batch": otlp.arrow({"ml.prediction.id": pa.array([2**63 - 1, None, 2**53 + 1])})})
    assert batch.ids.tolist() == otlp.hash(str(2**63 - 1), f"{otlp.default_id}:1", str(2**53 + 1))


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"", "ml.batch is not an Arrow stream: Tried reading schema message, was null or length 0"),
        (b"nonsense", "ml.batch is not an Arrow stream: "),
        (b"\xff" * 64, "ml.batch is not an Arrow stream: "),
        (b"ARROW1\0\0", "ml.batch is not an Arrow stream: "),
    ],
)
def test_bytes_that_are_no_stream_are_rejected(otlp: Any, stream: bytes, reason: str) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.batch": stream}))
    assert (decoded.rejected, decoded.predictions) == (1, ())
    assert reason in decoded.message


def test_a_stream_without_columns_of_the_contract_is_rejected_with_its_columns(otlp: Any) -> None:
    decoded = otlp.decoded(
        otlp.prediction({"ml.batch": otlp.arrow({"age": [1], "ml.feature.": [2], "ml.feature.b": [b"x"]})})
    )
    assert decoded.message.endswith(
        "no readable column; it has: age (int64), ml.feature. (int64), ml.feature.b (binary)"
    )


def test_an_id_column_that_is_no_text_is_rejected(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.prediction.id": [b"x"], "ml.feature.a": [1]})}))
    assert decoded.message.endswith("ml.prediction.id is a column of binary, not of strings")


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(otlp: Any, compression: str) -> None:
    stream = otlp.arrow({"ml.feature.a": np.zeros(500_000)}, compression=compression)
    assert len(stream) < 20_000
    assert unpacked_size(stream, 2**40, 10) == pytest.approx(4_000_000, rel=0.01)
    limits = DecodeLimits(arrow_bytes=1_000_000)
    before = pa.total_allocated_bytes()
    decoded = otlp.decoded(otlp.prediction({"ml.batch": stream}), limits=limits)
    assert decoded.rejected == 1
    assert "more than the 1000000 bytes" in decoded.message
    assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("stated", [2**62, 2**40, -2, -(2**63), 2**63 - 1])
def test_a_buffer_that_states_an_absurd_length_is_refused(otlp: Any, stated: int) -> None:
    stream = bytearray(otlp.arrow({"ml.feature.a": np.zeros(1000)}, compression="zstd"))
    stream[(at := stream.index(struct.pack("<q", 8000))) : at + 8] = struct.pack("<q", stated)
    decoded = otlp.decoded(otlp.prediction({"ml.batch": bytes(stream)}))
    assert (decoded.rejected, decoded.predictions) == (1, ())


def test_bombs_share_one_budget_in_a_request(otlp: Any) -> None:
    stream = otlp.arrow({"ml.feature.a": np.zeros(100_000)}, compression="zstd")
    spans = [otlp.prediction({"ml.batch": stream}) for _ in range(5)]
    decoded = otlp.decoded(*spans, limits=DecodeLimits(arrow_bytes=2_000_000))
    assert (decoded.rejected, [len(batch) for batch in decoded.predictions]) == (3, [100_000, 100_000])


def test_a_column_of_nulls_of_any_length_takes_no_memory(otlp: Any) -> None:
    table = pa.table({"ml.feature.a": pa.nulls(50_000_000), "ml.feature.b": pa.nulls(50_000_000)})
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow(table)}))
    assert (decoded.rejected, decoded.predictions, decoded.dropped) == (0, (), {"rows_over_limit": 50_000_000})


def test_a_dictionary_whose_one_long_text_stands_in_every_row_is_not_written_out(otlp: Any) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int8)), pa.array(["x" * 1_000_000]))
    before = pa.total_allocated_bytes()
    decoded = otlp.decoded(
        otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": column, "ml.prediction.id": column})})
    )
    assert decoded.predictions[0].features["a"].categories == ("x" * 256,)
    assert decoded.dropped == {"text_truncated": 100_000}
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_views_that_show_the_same_long_text_again_and_again_are_refused(otlp: Any) -> None:
    text = b"x" * 1_000_000
    views = struct.pack("<i4sii", len(text), text[:4], 0, 0) * 10_000
    column = pa.Array.from_buffers(pa.string_view(), 10_000, [None, pa.py_buffer(views), pa.py_buffer(text)])
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": column})}))
    assert decoded.rejected == 1
    assert "more than are left for the request" in decoded.message


def test_maps_of_ever_new_keys_are_bounded_by_the_limit_of_cells(otlp: Any) -> None:
    pairs = [[(f"k{row}", 1.0)] for row in range(2000)]
    stream = otlp.arrow({"ml.features": pa.array(pairs, pa.map_(pa.string(), pa.float64()))})
    decoded = otlp.decoded(otlp.prediction({"ml.batch": stream}), limits=DecodeLimits(cells=1_000_000))
    assert decoded.rejected == 1
    assert "2000 keys in 2000 rows" in decoded.message


def test_a_stream_of_too_many_messages_is_refused(otlp: Any) -> None:
    table = pa.table({"ml.feature.a": pa.chunked_array([[1.0]] * 40)})
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow(table)}), limits=DecodeLimits(arrow_messages=20))
    assert "more than 20 messages" in decoded.message


def not_utf8() -> Any:
    """Three texts, the second not UTF-8, the third missing."""
    offsets, valid = struct.pack("<iiii", 0, 1, 4, 4), b"\x03"
    return pa.Array.from_buffers(pa.string(), 3, [*map(pa.py_buffer, (valid, offsets, b"ab\xffc"))])


def test_indices_out_of_range_are_rejected(otlp: Any) -> None:
    for texts in (pa.array(["a"]), not_utf8()):
        indices = pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), texts, safe=False)
        decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": indices})}))
        assert (decoded.rejected, decoded.predictions) == (1, ())
        assert "ml.batch is not an Arrow stream" in decoded.message


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ml.feature.a", lambda: not_utf8()),
        ("ml.feature.a", lambda: not_utf8().view(pa.binary()).cast(pa.large_binary()).view(pa.large_string())),
        ("ml.feature.a", lambda: not_utf8().view(pa.binary()).cast(pa.binary_view()).view(pa.string_view())),
        ("ml.feature.a", lambda: pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), not_utf8())),
        ("ml.features", lambda: pa.StructArray.from_arrays([not_utf8()], ["a"])),
        ("ml.features", lambda: pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["a"] * 3), not_utf8())),
    ],
    ids=["string", "large string", "string view", "dictionary", "struct", "map"],
)
def test_a_text_that_is_not_utf8_is_repaired_and_counted(
    otlp: Any, read: Any, name: str, make: Callable[[], Any]
) -> None:
    columns = {name: make(), "ml.feature.b": pa.array([1.0, 2.0, 3.0])}
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow(columns)}))
    assert (decoded.rejected, decoded.dropped) == (0, {"text_repaired": 1})
    [batch] = decoded.predictions
    assert read.cells(batch.features["a"], 3) == ["a", "b\ufffdc", None]


def small_streams(otlp: Any) -> list[bytes]:
    table = pa.table({
        "ml.feature.a": pa.array([1.5, None, 3.0]),
        "ml.feature.s": pa.array(["x", None, "a longer text of many characters"], pa.string_view()),
        "ml.segment.d": pa.array(["p", "q", "p"]).dictionary_encode(),
        "ml.prediction.id": pa.array(["i", "j", "k"]),
        "ml.prediction.scores": pa.array([{"y": 0.5, "n": 0.5}] * 3),
        "ml.features": pa.array([[("m", 1.0)], [], [("n", 2.0)]], pa.map_(pa.string(), pa.float64())),
        "ml.attribution.t": pa.array([MOMENT] * 3),
    })  # fmt: skip
    return [otlp.arrow(table), otlp.arrow(table, compression="zstd"), otlp.arrow(table, compression="lz4")]


def read_or_refuse(stream: bytes) -> bool:
    try:
        read_stream(stream, Tally(DecodeLimits()))
    except UnreadableError:
        return False
    return True


def test_a_stream_cut_anywhere_is_read_or_refused(otlp: Any) -> None:
    for stream in small_streams(otlp):
        outcomes = [read_or_refuse(stream[:length]) for length in range(0, len(stream), 3)]
        assert not outcomes[0]
        assert read_or_refuse(stream)


def test_a_stream_with_flipped_bits_is_read_or_refused(otlp: Any) -> None:
    rng = random.Random(11)
    for stream in small_streams(otlp):
        for _ in range(700):
            broken = bytearray(stream)
            for _ in range(rng.choice([1, 1, 2, 5])):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            otlp.decoded(otlp.prediction({"ml.batch": bytes(broken)}))
