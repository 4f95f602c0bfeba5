"""Columns of frames are the cells that the same columns of a file are, with the compiled numbering and without."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.decode.compiled import built
from collector_processor.reference.arrow_table import cells
from collector_processor.reference.frame import column_cells
from collector_processor.reference.read_table import ColumnMapping, ReferenceTable, read_frame, read_table

texts = pytest.importorskip("collector_processor.decode.compiled.texts", reason="built without a C compiler")


class Text(str):
    __slots__ = ()


def objects(values: list[Any]) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fresh(text: str) -> str:
    """An equal text that is another object."""
    return "".join(list(text)) if len(text) > 1 else text


def found(values: Any) -> tuple[Any, ...]:
    """A column's parts, or the error that it is."""
    try:
        column = column_cells(values, "column 'x'")
    except ValueError as error:
        return ("error", str(error))
    numbers, codes = column.numbers, column.codes
    return (
        None if numbers is None else [str(number) for number in numbers.tolist()],
        None if codes is None else (codes.dtype, codes.tolist()),
        column.categories,
        [type(name) for name in column.categories],
    )


def both(values: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is found with the compiled numbering and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built, "texts", None)
        without = found(values)
    return found(values), without


SHARED = st.sampled_from(["", "UA", "AA", "naïve", "日本", "\U0001f600", "a\0b", "a", "x" * 300])
MISSING = st.sampled_from([None, float("nan"), np.nan, np.float64("nan"), pd.NA, pd.NaT])
NO_TEXTS = (1, 2.5, True, float("inf"), b"UA", (), 1 << 70, datetime.date(2026, 1, 1), object)
NEARLY = (Text("UA"), "\ud800", "x\udfff", np.str_("UA"), np.float32("nan"), np.datetime64("NaT", "ns"))
ODD = st.sampled_from([*NO_TEXTS, *NEARLY])
CELLS = st.lists(SHARED | SHARED.map(fresh) | MISSING | st.text(max_size=3), max_size=40)


@settings(max_examples=300, deadline=None)
@given(CELLS)
def test_texts_and_missing_cells_are_those_of_arrow(values: list[Any]) -> None:
    mine, theirs = both(objects(values))
    assert mine == theirs


@settings(max_examples=300, deadline=None)
@given(CELLS, ODD, st.integers(0, 40))
def test_cells_of_another_kind_are_left_to_arrow(values: list[Any], odd: object, place: int) -> None:
    mine, theirs = both(objects([*values[:place], odd, *values[place:]]))
    assert mine == theirs


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.integers(-3, -1), CELLS)
def test_strides_are_followed_in_either_direction(forward: int, backward: int, values: list[Any]) -> None:
    array = objects(values)
    table = np.empty((len(values), 3), object)
    table[:, 1] = array
    for view in (array[::forward], array[::backward], table[:, 1]):
        assert found(view) == found(objects(view.tolist()))


@pytest.mark.parametrize("rows", [4095, 4096, 4097, 70_000])
@pytest.mark.parametrize("distinct", [1, 7, 3000, 10**9])
@pytest.mark.parametrize("shared", [True, False])
def test_large_columns_are_those_of_arrow(rows: int, distinct: int, shared: bool) -> None:
    picks = np.random.default_rng(rows).integers(0, distinct, rows).tolist()
    names: dict[int, str] = {}
    values = objects([names.setdefault(pick, f"text {pick}") if shared else f"text {pick}" for pick in picks])
    values[5::100] = None
    mine, theirs = both(values)
    assert mine == theirs


def test_more_addresses_than_are_kept_give_the_same_codes() -> None:
    names = objects([f"text {i}" for i in range(80_000)])
    few = np.zeros(100_000, np.int64)
    values = names[np.concatenate((few, np.arange(80_000), np.arange(80_000), few))]
    codes, categories = texts.texts_to_codes(values)
    expected, uniques = pd.factorize(values)
    np.testing.assert_array_equal(codes, expected)
    assert categories == uniques.tolist()


def test_columns_whose_objects_are_all_new_are_given_up_early() -> None:
    assert texts.texts_to_codes(objects([f"{i % 5} of five" for i in range(4096)])) is None
    assert texts.texts_to_codes(objects([f"text {i}" for i in range(16_384)])) is None
    assert texts.texts_to_codes(objects([f"text {i}" for i in range(4096)])) is not None


def test_no_reference_to_any_cell_is_lost_or_kept() -> None:
    name, absent = fresh("a text of its own"), pd.NA
    values = objects([name] * 1000 + [absent] * 1000 + [1])
    before = sys.getrefcount(name), sys.getrefcount(absent)
    assert texts.texts_to_codes(values, (absent,)) is None
    assert (sys.getrefcount(name), sys.getrefcount(absent)) == before
    kept = texts.texts_to_codes(values[:2000], (absent,))
    assert sys.getrefcount(name) == before[0] + 1
    del kept
    assert (sys.getrefcount(name), sys.getrefcount(absent)) == before


@pytest.mark.parametrize("array", [np.zeros(3), np.array(["a"]), np.zeros((2, 2), object), np.array(1, object)])
def test_only_one_dimension_of_objects_is_numbered(array: Any) -> None:
    with pytest.raises(TypeError, match="only an array of objects in one dimension"):
        texts.texts_to_codes(array)


def test_an_array_that_may_not_be_written_to_is_read() -> None:
    values = objects(["a", "b"])
    values.flags.writeable = False
    assert column_cells(values, "x").categories == ("a", "b")


CARRIERS = ["UA", None, "AA", "UA"]


@pytest.mark.parametrize(
    "values",
    [
        CARRIERS,
        objects(CARRIERS),
        pd.Series(CARRIERS, dtype=object),
        pd.Series(CARRIERS, dtype="string[pyarrow]"),
        pd.Series(CARRIERS, dtype="string[python]"),
        pd.Series(pd.Categorical(CARRIERS, categories=["UA", "AA"])),
        pd.Series(CARRIERS, dtype=pd.ArrowDtype(pa.large_string())),
        pl.Series(CARRIERS),
        pl.Series(CARRIERS).cast(pl.Categorical),
        pa.array(CARRIERS),
        pa.chunked_array([CARRIERS[:1], CARRIERS[1:]]),
        pa.array(CARRIERS).dictionary_encode(),
    ],
    ids=lambda values: f"{type(values).__module__}.{type(values).__name__}.{getattr(values, 'dtype', '')}",
)
def test_texts_in_any_library_are_the_same_cells(values: Any) -> None:
    column = column_cells(values, "x")
    assert column.codes is not None
    assert column.codes.tolist() == [0, -1, 1, 0]
    assert column.categories == ("UA", "AA")


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1.5, None]),
        pd.Series([1.5, None], dtype="Float32"),
        np.array([1.5, np.nan], np.float32),
        np.array([1.5, np.nan], ">f8"),
        np.ma.masked_array([1.5, 2.0], [False, True]),
        pl.Series([1.5, None]),
        [1.5, None],
    ],
)
def test_numbers_in_any_library_are_the_same_cells(values: Any) -> None:
    column = column_cells(values, "x")
    assert column.numbers is not None
    assert column.numbers.dtype == np.float64
    np.testing.assert_array_equal(column.numbers, [1.5, np.nan])


def test_doubles_are_not_copied() -> None:
    values = np.arange(5.0)
    assert column_cells(values, "x").numbers is values


def test_times_and_truth_values_are_cells_as_in_a_file() -> None:
    times = pd.Series(pd.to_datetime(["1970-01-02", None]))
    np.testing.assert_array_equal(
        column_cells(times, "x").numbers, cells(pa.chunked_array([pa.array(times)]), "x").numbers
    )
    assert column_cells(objects([True, None]), "x").categories == ("false", "true")


@pytest.mark.parametrize("values", [objects([1, "a"]), objects(["\ud800"]), [{"a": 1}], np.zeros((2, 2)), 5, None])
def test_errors_name_the_column(values: Any) -> None:
    with pytest.raises(ValueError, match=r"^t: column 'x': "):
        column_cells(values, "t: column 'x'")


ROWS = {"carrier": ["UA", None, "AA"], "hour": [6.0, None, 7.5], "late": [True, False, True], "p": [0.9, 0.1, 0.8]}
MAPPING = ColumnMapping(prediction="late", score="p", segments=["carrier"])


def outline(table: ReferenceTable) -> list[str]:
    """Every part of a table, as one can compare it."""
    batch = table.predictions
    assert batch.prediction is not None
    columns = [*batch.features.items(), *batch.segments.items(), ("prediction", batch.prediction)]
    parts = [str((name, column.numbers, column.codes, column.categories)) for name, column in columns]
    return [*parts, str(batch.score), str(batch.weights), str(batch.time_ns)]


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_a_frame_is_read_as_the_same_table_in_a_file(tmp_path: Path, make: Any) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "rows.parquet", index=False)
    wanted = outline(read_table(tmp_path / "rows.parquet", MAPPING))
    assert len(wanted) == 7
    assert outline(read_frame(make(ROWS), MAPPING)) == wanted


def test_names_of_columns_may_be_numbers() -> None:
    assert list(read_frame(pd.DataFrame(np.zeros((2, 3)))).predictions.features) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]), "frame: has more than one column 'a'"),
        (pd.DataFrame({1: [1.0], "1": [2.0]}), "frame: has more than one column '1'"),
        (pa.table([[1], [2]], names=["a", "a"]), "frame: has more than one column 'a'"),
        ({"a": [1.0], "b": [1.0, 2.0]}, r"frame: its columns have different lengths: \{'a': 1, 'b': 2\}"),
        ({"a": 5}, r"frame: its columns have different lengths: \{'a': None\}"),
        ({"a": []}, "frame: has no rows"),
        ({}, "frame: has no rows"),
        ({"a": [1, "b"]}, "frame: column 'a': cannot be read as one kind of cells"),
        ([[1.0]], "frame: a list is not a table"),
        (np.zeros((2, 2)), "frame: a ndarray is not a table"),
        ("rows.parquet", "frame: a str is not a table"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(frame: Any, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{error}"):
        read_frame(frame)


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(ValueError, match="frame: no column 'x' for prediction; it has: a"):
        read_frame({"a": [1.0]}, ColumnMapping(prediction="x"))
