"""A cell is worth the same alone and in a batch, whatever type and library it comes from, through both decoders."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Column, Decoder, PredictionBatch, concatenate
from otel_ml import Model, problems
from otel_ml.testing import Captured, capture

Cells = list[Any]
MODEL = Model("m")
ZURICH = dt.timezone(dt.timedelta(hours=1))


class Size(enum.Enum):
    SMALL = 1
    LARGE = "large"


class Code(enum.IntEnum):
    ONE = 1


def decoded(captured: Captured, decoder: Decoder) -> PredictionBatch:
    answer = decoder.decode_traces(encode_spans(captured.spans).SerializeToString(), 0, DEFAULT_LIMITS)
    assert (answer.rejected, answer.message, dict(answer.dropped)) == (0, "", {})
    return concatenate(answer.predictions)


def cells(column: Column | None, rows: int) -> Cells:
    if column is None:
        return [None] * rows
    numbers = [math.nan] * rows if column.numbers is None else column.numbers.tolist()
    codes = [-1] * rows if column.codes is None else column.codes.tolist()
    return [
        column.categories[code] if code >= 0 else None if math.isnan(number) else number
        for number, code in zip(numbers, codes, strict=True)
    ]


Seen = tuple[Cells, Cells, list[Any], list[str]]


def seen(captured: Captured, decoder: Decoder, calls: int) -> Seen:
    """The feature, the class and the id of each row, and the ids that the emitter names."""
    batch = decoded(captured, decoder)
    rows = len(batch)
    named = [each.id for each in captured.predictions]
    by_default = len(batch.ids) if calls == 0 else rows
    return cells(batch.features.get("c"), by_default), cells(batch.prediction, rows), batch.ids.tolist(), named


def together(features: Any, values: Any, decoder: Decoder) -> Seen:
    problems.forget()
    with capture() as captured, MODEL.predict(features, id=values) as prediction:
        prediction.record(class_=values)
    return seen(captured, decoder, 1)


def alone(rows: Sequence[Any], values: Sequence[Any], decoder: Decoder) -> Seen:
    problems.forget()
    with capture() as captured:
        for features, value in zip(rows, values, strict=True):
            with MODEL.predict(features, id=value) as prediction:
                prediction.record(class_=value)
    return seen(captured, decoder, len(rows))


def check(batch: Seen, rows: Seen, values: Sequence[Any]) -> None:
    assert batch[0] == rows[0]
    assert batch[1] == rows[1]
    for row, cell in enumerate(batch[1]):
        if cell:  # a row without an id has that of its span
            assert (batch[2][row], batch[3][row]) == (rows[2][row], rows[3][row]), values[row]


MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "None": st.none(),
    "bool": st.booleans(),
    "int": st.integers(),
    "small int": st.integers(0, 3),
    "float": st.floats(),
    "str": st.text(max_size=5) | st.sampled_from(["a", "01", "true", "x" * 300]),
    "bytes": st.binary(max_size=4),
    "bytearray": st.binary(max_size=4).map(bytearray),
    "memoryview": st.binary(max_size=4).map(memoryview),
    "Decimal": st.decimals(allow_nan=False),
    "Fraction": st.fractions(),
    "complex": st.complex_numbers(),
    "UUID": st.uuids(),
    "datetime": MOMENTS,
    "zoned datetime": MOMENTS.map(lambda moment: moment.replace(tzinfo=ZURICH)),
    "date": st.dates(),
    "time": st.times(),
    "timedelta": st.timedeltas(dt.timedelta(-(10**5)), dt.timedelta(10**5)),
    "Enum": st.sampled_from(Size),
    "IntEnum": st.sampled_from(Code),
    "object": st.builds(object),
    "numpy bool": st.booleans().map(np.bool_),
    "numpy int": st.integers(-(2**63), 2**63 - 1).map(np.int64),
    "numpy uint": st.integers(0, 2**64 - 1).map(np.uint64),
    "numpy half": st.floats(width=16).map(np.float16),
    "numpy single": st.floats(width=32).map(np.float32),
    "numpy double": st.floats().map(np.float64),
    "numpy long double": st.floats().map(np.longdouble),
    "numpy complex": st.complex_numbers().map(np.complex128),
    "numpy text": st.text(max_size=4).map(np.str_),
    "numpy bytes": st.binary(max_size=4).map(np.bytes_),
    "numpy time": st.integers(-(2**62), 2**62).map(lambda ticks: np.datetime64(ticks, "ns")),
    "numpy day": st.integers(-(10**5), 10**5).map(lambda days: np.datetime64(days, "D")),
    "numpy duration": st.integers(-(2**62), 2**62).map(lambda ticks: np.timedelta64(ticks, "ns")),
    "numpy NaT": st.just(np.datetime64("NaT")),
    "numpy masked": st.just(np.ma.masked),
    "numpy array of one": st.floats().map(np.array),
    "pandas NA": st.just(pd.NA),
    "pandas NaT": st.just(pd.NaT),
    "pandas Timestamp": st.integers(-(2**62), 2**62).map(pd.Timestamp),
    "pandas zoned Timestamp": st.integers(0, 2**62).map(lambda ns: pd.Timestamp(ns, tz="Europe/Zurich")),
    "pandas Timedelta": st.integers(-(2**62), 2**62).map(pd.Timedelta),
    "pandas Period": st.integers(0, 500).map(lambda months: pd.Period(ordinal=months, freq="M")),
    "pandas Interval": st.integers(0, 9).map(lambda left: pd.Interval(left, left + 1)),
    "arrow scalar": st.sampled_from([pa.scalar(1), pa.scalar("x"), pa.scalar(None), pa.scalar(0.5), pa.scalar([1])]),
}


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@pytest.mark.parametrize("kind", SCALARS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_column_of_one_type_has_the_cells_of_its_rows(decoder: Decoder, kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(SCALARS[kind] | st.none(), min_size=2, max_size=5))
    check(together({"c": values}, values, decoder), alone([{"c": value} for value in values], values, decoder), values)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.one_of(*SCALARS.values()), min_size=2, max_size=8))
def test_a_column_of_mixed_types_has_the_cells_of_its_rows(decoder: Decoder, values: Cells) -> None:
    rows = alone([{"c": value} for value in values], values, decoder)
    check(together({"c": values}, values, decoder), rows, values)
    check(together([{"c": value} for value in values], values, decoder), rows, values)


NANOSECONDS = [1_700_000_000_123_456_789, -1, 0, 4_102_444_800_999_999_999]
COLUMNS: dict[str, Callable[[], Any]] = {
    **{
        f"numpy {dtype}": lambda dtype=dtype: np.array([1, 0, 3], dtype)
        for dtype in [
            "?",
            "i1",
            "i2",
            "i4",
            "i8",
            "u1",
            "u2",
            "u4",
            "u8",
            "f2",
            "f4",
            "f8",
            "g",
            "F",
            "D",
            ">i4",
            ">f8",
            "U5",
            "S5",
            "O",
        ]
    },
    **{
        f"numpy {kind}8[{unit}]": lambda kind=kind, unit=unit: np.array([7, -3, "NaT", 40000], f"{kind}8[{unit}]")
        for kind in "Mm"
        for unit in ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"]
    },
    "numpy nanoseconds": lambda: np.array(NANOSECONDS, "M8[ns]"),
    "numpy 25 seconds": lambda: np.array([1, 2], "M8[25s]"),
    "numpy strided": lambda: np.arange(10.0)[::3],
    "numpy masked": lambda: np.ma.masked_array([1, 2, 3], [False, True, False]),
    "numpy masked texts": lambda: np.ma.masked_array(["a", "b"], [False, True]),
    "numpy large uint": lambda: np.array([2**64 - 1, 2**63], np.uint64),
    "pandas objects": lambda: pd.Series([1, "a", None, 2.5, True, uuid.UUID(int=5)], dtype=object),
    "pandas str": lambda: pd.Series(["a", None, "b"]),
    "pandas string": lambda: pd.Series(["a", pd.NA, "b"], dtype="string"),
    "pandas Int64": lambda: pd.Series([1, pd.NA, 2**60 + 1], dtype="Int64"),
    "pandas UInt8": lambda: pd.Series([1, 2], dtype="UInt8"),
    "pandas Float32": lambda: pd.Series([0.1, pd.NA], dtype="Float32"),
    "pandas boolean": lambda: pd.Series([True, pd.NA, False], dtype="boolean"),
    "pandas categories": lambda: pd.Series(pd.Categorical(["a", None, "b"])),
    "pandas bare categories": lambda: pd.Categorical(["a", None, "b"]),
    "pandas number categories": lambda: pd.Series(pd.Categorical([3, 1, 3])),
    "pandas cut": lambda: pd.Series(pd.cut(pd.Series([1.0, 5.0, None]), [0, 2, 9])),
    "pandas intervals": lambda: pd.Series(pd.arrays.IntervalArray.from_breaks([0, 1, 2])),
    "pandas periods": lambda: pd.Series(pd.period_range("2024-01", periods=3, freq="M")),
    "pandas zoned times": lambda: pd.Series(pd.to_datetime(NANOSECONDS).tz_localize("UTC").tz_convert("Europe/Zurich")),
    "pandas nanoseconds": lambda: pd.Series(pd.to_datetime(NANOSECONDS)),
    "pandas durations": lambda: pd.Series(pd.to_timedelta(NANOSECONDS)),
    "pandas sparse": lambda: pd.Series(pd.arrays.SparseArray([0, 0, 1])),
    "pandas arrow ints": lambda: pd.Series([1, None, 3], dtype="int64[pyarrow]"),
    "pandas arrow texts": lambda: pd.Series(["a", None], dtype=pd.ArrowDtype(pa.string())),
    "pandas arrow times": lambda: pd.Series(NANOSECONDS, dtype=pd.ArrowDtype(pa.timestamp("ns"))),
    "pandas index": lambda: pd.Index([1, 2]),
    **{
        f"polars {dtype}": lambda dtype=dtype: pl.Series("c", [1, None, 3], dtype=dtype)
        for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt64, pl.Float32, pl.Float64, pl.Int128)
    },
    "polars whole": lambda: pl.Series("c", [1, 2, 3]),
    "polars Boolean": lambda: pl.Series("c", [True, None, False]),
    "polars String": lambda: pl.Series("c", ["a", None, "b"]),
    "polars Categorical": lambda: pl.Series("c", ["a", None, "b"], dtype=pl.Categorical),
    "polars Enum": lambda: pl.Series("c", ["a", None, "b"], dtype=pl.Enum(["a", "b"])),
    "polars Date": lambda: pl.Series("c", [dt.date(2024, 1, 1), None]),
    "polars Time": lambda: pl.Series("c", [dt.time(1, 2, 3, 4), None]),
    **{
        f"polars Datetime {unit}": lambda unit=unit: pl.Series("c", [1_234_567, -1, None]).cast(pl.Datetime(unit))
        for unit in ("ms", "us", "ns")
    },
    "polars nanoseconds": lambda: pl.Series("c", NANOSECONDS).cast(pl.Datetime("ns")),
    "polars zoned Datetime": lambda: pl.Series("c", NANOSECONDS).cast(pl.Datetime("ns", "Europe/Zurich")),
    "polars Duration": lambda: pl.Series("c", NANOSECONDS).cast(pl.Duration("ns")),
    "polars Decimal": lambda: pl.Series("c", [Decimal("1.10"), None, Decimal("7.00")]),
    "polars Binary": lambda: pl.Series("c", [b"a", None, b"\xff"]),
    "polars Null": lambda: pl.Series("c", [None, None]),
    "polars Object": lambda: pl.Series("c", [uuid.UUID(int=5), None], dtype=pl.Object),
    "polars List": lambda: pl.Series("c", [[1], [2]]),
    **{
        f"arrow {kind}": lambda kind=kind: pa.array([1, None, 0], kind)
        for kind in (pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.date32(), pa.time32("ms"))
    },
    **{
        f"arrow whole {kind}": lambda kind=kind: pa.array([1, 2], kind) for kind in (pa.int16(), pa.uint8(), pa.int64())
    },
    **{
        f"arrow {kind}": lambda kind=kind: pa.array([*NANOSECONDS, None], pa.int64()).cast(kind)
        for kind in (pa.timestamp("ns"), pa.timestamp("ns", "Europe/Zurich"), pa.duration("ns"))
    },
    "arrow time64": lambda: pa.array([1, None, 86_399_999_999_999], pa.time64("ns")),
    "arrow date64": lambda: pa.array([dt.date(2024, 1, 1), None], pa.date64()),
    "arrow half": lambda: pa.array(np.array([1.5, 0.1], np.float16)),
    "arrow bool": lambda: pa.array([True, None, False]),
    "arrow whole bool": lambda: pa.array([True, False]),
    "arrow string": lambda: pa.array(["a", None, "b"]),
    "arrow repeated string": lambda: pa.array(["a", None, "b", "a", "b", "b", "a", "a"]),
    "arrow large string": lambda: pa.array(["a", None, "b"], pa.large_string()),
    "arrow string view": lambda: pa.array(["a", None, "b"], pa.string_view()),
    "arrow binary": lambda: pa.array([b"a", None, b"\xff"]),
    "arrow fixed binary": lambda: pa.array([b"aa", None], pa.binary(2)),
    "arrow decimal": lambda: pa.array(
        [Decimal("1.10"), None, Decimal("123456789012345678901.5")], pa.decimal128(30, 2)
    ),
    "arrow dictionary": lambda: pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "arrow number dictionary": lambda: pa.array([1, None, 1]).dictionary_encode(),
    "arrow uuid": lambda: pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()),
    "arrow chunks": lambda: pa.chunked_array([[1, 2], [3]]),
    "arrow null": lambda: pa.nulls(2),
    "arrow list": lambda: pa.array([[1], [2]]),
    "arrow struct": lambda: pa.array([{"x": 1}, {"x": 2}]),
    "arrow intervals": lambda: pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
}


def rows_of(column: Any) -> list[Any]:
    """Each row as an application has it that predicts for one: a frame of one row."""
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        table = pa.table({"c": column})
        return [table.slice(row, 1) for row in range(len(column))]
    if isinstance(column, pl.Series):
        frame = column.to_frame()
        return [frame[row] for row in range(len(column))]
    if isinstance(column, np.ndarray):
        return [{"c": column[row]} for row in range(len(column))]
    frame = pd.DataFrame({"c": column})
    return [frame.iloc[[row]] for row in range(len(column))]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_any_library_has_the_cells_of_its_rows(decoder: Decoder, kind: str) -> None:
    column = COLUMNS[kind]()
    values = [column[row : row + 1] for row in range(len(column))]
    if isinstance(column, np.ma.MaskedArray):
        values = [column[row] for row in range(len(column))]
    elif isinstance(column, pd.Categorical):
        values = [pd.Series(column[row : row + 1]) for row in range(len(column))]
    check(together({"c": column}, column, decoder), alone(rows_of(column), values, decoder), values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", 1, None, 2.5], ["a", 1.0, None, 2.5]),
        ([1, True, "x"], [1.0, "true", "x"]),
        ([uuid.UUID(int=5), uuid.UUID(int=6)], [str(uuid.UUID(int=5)), str(uuid.UUID(int=6))]),
        ([np.ma.masked, 1.0], [None, 1.0]),
        ([pd.Period("2024-01"), pd.Interval(0, 1)], ["2024-01", "(0, 1]"]),
        ([dt.time(1, 0, 0, 500_000), dt.date(1970, 1, 2)], [3600.5, 86400.0]),
        (pd.cut(pd.Series([1.0, 5.0]), [0, 2, 9]), ["(0, 2]", "(2, 9]"]),
        (pa.array([uuid.UUID(int=5).bytes] * 2, pa.uuid()), [str(uuid.UUID(int=5))] * 2),
    ],
    ids=str,
)
def test_the_cells_are_these(values: Any, expected: Cells) -> None:
    for decoder in DECODERS:
        assert together({"c": values}, None, decoder)[0] == expected


def test_labels_by_uuid_join() -> None:
    ids = [uuid.UUID(int=n) for n in range(3)]
    for given_ids in (ids, np.array(ids, object), pd.Series(ids), pa.array([each.bytes for each in ids], pa.uuid())):
        with capture() as captured:
            with MODEL.predict({"x": [1, 2, 3]}, id=given_ids) as prediction:
                prediction.record(value=[1, 2, 3])
            MODEL.labels(ids, values=[1, 2, 3])
        for decoder in DECODERS:
            answer = decoder.decode_traces(encode_spans(captured.spans).SerializeToString(), 0, DEFAULT_LIMITS)
            assert concatenate(answer.predictions).ids.tolist() == answer.labels[0].ids.tolist()


@pytest.mark.parametrize("rows", [1, 2])
def test_two_columns_of_one_name_are_reported_and_the_last_counts(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    frame = pd.DataFrame([[1, 2]] * rows, columns=["c", "c"])
    table = pa.Table.from_arrays([pa.array([1] * rows), pa.array([2] * rows)], names=["c", "c"])
    for features in (frame, table):
        caplog.clear()
        assert together(features, None, DECODERS[0])[0] == [2.0] * rows
        assert caplog.text.count("the last counts") == 1
