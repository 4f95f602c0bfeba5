"""What a model is called with: one row or many, from any library."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from otel_ml.encode.rows import count, flatten, is_column, items
from otel_ml.encode.shape import ShapeError, read, snapshot

NAMES = ("a", "b")
Point = namedtuple("Point", ["a", "b"])

ONE_ROW = {
    "dict": {"a": 1, "b": 2},
    "ordered": OrderedDict(a=1, b=2),
    "proxy": MappingProxyType({"a": 1, "b": 2}),
    "list": [1, 2],
    "tuple": (1, 2),
    "named tuple": Point(1, 2),
    "array 1-D": np.array([1, 2]),
    "array 1×2": np.array([[1, 2]]),
    "list of a list": [[1, 2]],
    "list of a dict": [{"a": 1, "b": 2}],
    "dict of lists of one": {"a": [1], "b": [2]},
    "pandas frame": pd.DataFrame({"a": [1], "b": [2]}),
    "pandas series": pd.Series({"a": 1, "b": 2}),
    "polars frame": pl.DataFrame({"a": [1], "b": [2]}),
    "polars series": pl.Series([1, 2]),
    "arrow table": pa.table({"a": [1], "b": [2]}),
    "arrow batch": pa.record_batch({"a": [1], "b": [2]}),
    "structured": np.array([(1, 2)], dtype=[("a", "i8"), ("b", "i8")]),
}
MANY_ROWS = {
    "array": np.array([[1, 2], [3, 4], [5, 6]]),
    "array in Fortran order": np.asfortranarray([[1, 2], [3, 4], [5, 6]]),
    "array of objects": np.array([[1, 2], [3, 4], [5, 6]], dtype=object),
    "lists": [[1, 2], (3, 4), np.array([5, 6])],
    "dicts": [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}],
    "columns": {"a": [1, 3, 5], "b": np.array([2, 4, 6])},
    "series": {"a": pd.Series([1, 3, 5], index=[7, 7, 8]), "b": pl.Series([2, 4, 6])},
    "pandas": pd.DataFrame({"a": [1, 3, 5], "b": [2, 4, 6]}),
    "polars": pl.DataFrame({"a": [1, 3, 5], "b": [2, 4, 6]}),
    "arrow": pa.table({"a": pa.chunked_array([[1], [3, 5]]), "b": [2, 4, 6]}),
    "structured": np.array([(1, 2), (3, 4), (5, 6)], dtype=[("a", "i8"), ("b", "i8")]),
}


@pytest.mark.parametrize("kind", ONE_ROW)
def test_one_row_is_a_mapping(kind: str) -> None:
    rows = read(ONE_ROW[kind], NAMES)
    assert rows.rows == 1
    assert rows.row == {"a": 1, "b": 2}


@pytest.mark.parametrize("kind", MANY_ROWS)
def test_many_rows_are_columns(kind: str) -> None:
    rows = read(MANY_ROWS[kind], NAMES)
    assert rows.rows == 3
    assert {name: items(column) for name, column in rows.columns.items()} == {"a": [1, 3, 5], "b": [2, 4, 6]}


@pytest.mark.parametrize("kind", [*ONE_ROW, *MANY_ROWS])
def test_rows_are_counted_without_reading(kind: str) -> None:
    if kind in ONE_ROW:
        assert count(ONE_ROW[kind]) == 1
    if kind in MANY_ROWS:
        assert count(MANY_ROWS[kind]) == 3


def test_arrays_without_names_are_numbered() -> None:
    assert read([[1, 2], [3, 4]]).columns == {"x0": (1, 3), "x1": (2, 4)}


def test_masked_cells_are_missing() -> None:
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    column = read(masked, NAMES).columns["b"]
    assert np.isnan(column[0])
    assert column[1] == 4


def test_records_may_lack_keys() -> None:
    assert read([{"a": 1}, {"b": 2}]).columns == {"a": [1, None], "b": [None, 2]}


def test_a_row_may_hold_lists_among_scalars() -> None:
    row = {"age": 37, "tags": ["x", "y"]}
    assert read(row).row == row


@pytest.mark.parametrize(
    ("features", "rows"),
    [([], 0), ({}, 1), (np.empty((0, 2)), 0), (pd.DataFrame({"a": []}), 0), ({"a": [], "b": []}, 0), (None, 1)],
)
def test_emptiness(features: object, rows: int) -> None:
    assert read(features, NAMES).rows == rows


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "columns have different lengths: 1, 2"),
        ([[1, 2], [1]], "rows have different lengths: 1, 2"),
        ([1, 2, 3], "3 columns, but the model names 2 features"),
        (np.ones((4, 3)), "3 columns, but the model names 2 features"),
        (np.ones((2, 2, 2)), "an array of 3 dimensions"),
        (np.array(5), "an array of 0 dimensions"),
        (object(), "object is neither a mapping, list, array nor frame"),
        ("text", "str is neither"),
        (7, "int is neither"),
        (iter([1, 2]), "neither"),
    ],
)
def test_what_has_no_shape_is_refused(features: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read(features, NAMES)


def test_tensors_come_through_the_array_protocol() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.array([[1.0, 2.0], [3.0, 4.0]])

    class OnAnotherDevice:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise RuntimeError("move me first")

    assert read(Tensor(), NAMES).rows == 2
    with pytest.raises(ShapeError, match=r"OnAnotherDevice does not convert to an array \(RuntimeError\)"):
        read(OnAnotherDevice(), NAMES)


def test_times_in_arrays_keep_their_unit() -> None:
    row = read(np.array(["1970-01-02"], dtype="datetime64[ns]"), ("day",)).row
    assert row == {"day": np.datetime64("1970-01-02", "ns")}


def test_a_pandas_row_keeps_the_kind_of_each_column() -> None:
    frame = pd.DataFrame({"a": [1], "b": [0.5], "c": ["x"], "d": pd.Categorical(["y"]), "e": pd.array([None], "Int64")})
    row = read(frame).row
    assert row["a"] == 1
    assert isinstance(row["a"], int)
    assert [row["b"], row["c"], row["d"], row["e"]] == [0.5, "x", "y", pd.NA]


def test_snapshots_do_not_follow_changes() -> None:
    frame, array, table = pd.DataFrame({"a": [1, 2]}), np.ones(3), pl.DataFrame({"a": [1]})
    taken = [snapshot(frame), snapshot(array), snapshot(table)]
    frame["a"] = 0
    array[:] = 0
    table.insert_column(0, pl.Series("b", [2]))
    assert taken[0]["a"].tolist() == [1, 2]
    assert taken[1].tolist() == [1, 1, 1]
    assert taken[2].columns == ["a"]


def test_columns_are_told_from_values() -> None:
    assert all(map(is_column, ([], (), np.ones(2), pd.Series([1]), pl.Series([1]), pa.array([1]))))
    assert not any(map(is_column, ("ab", b"ab", {}, 1, None, np.ones((2, 2)), np.float64(1), SimpleNamespace())))


def test_a_column_vector_is_a_column() -> None:
    assert flatten(np.ones((3, 1))).shape == (3,)
    assert flatten(np.ones((3, 2))).shape == (3, 2)
    assert flatten("text") == "text"
