"""All forms of the contract mean the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from(["age", "país", "a.b", "name"])
NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-(2**53), 2**53))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "zürich", "true"]))
BOOLS = st.one_of(st.none(), st.booleans())


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, dict[str, list[Any]]]:
    """Rows, and columns of cells of one kind by contract name."""
    rows = draw(st.integers(1, 4))

    def column(cells: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(cells, min_size=rows, max_size=rows))

    columns: dict[str, list[Any]] = {}
    for key in draw(st.lists(KEYS, unique=True)):
        columns[f"ml.feature.{key}"] = column(draw(st.sampled_from([NUMBERS, TEXTS, BOOLS])))
    for key in draw(st.lists(KEYS, unique=True, max_size=2)):
        columns[f"ml.segment.{key}"] = column(draw(st.sampled_from([TEXTS, BOOLS])))
    for name in draw(
        st.lists(
            st.sampled_from(
                ["ml.prediction.score", "ml.prediction.value", "ml.attribution.age", "ml.attributions.weight"]
            )
        )
    ):
        columns[name] = column(NUMBERS)
    for name in draw(st.lists(st.sampled_from(["ml.prediction.class", "ml.prediction.id"]))):
        columns[name] = column(TEXTS)
    for key in draw(st.lists(st.sampled_from(["yes", "no"]))):
        columns[f"ml.prediction.scores.{key}"] = column(NUMBERS)
    return rows, columns


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """The same with features and scores as maps."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        for prefix, holder in (("ml.feature.", "ml.features"), ("ml.prediction.scores.", "ml.prediction.scores")):
            if name.startswith(prefix):
                found.setdefault(holder, {})[name[len(prefix) :]] = value
                break
        else:
            found[name] = value
    return found


def without_call(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: cell for name, cell in row.items() if name != "duration"} for row in rows]


@given(tables())
def test_flat_attributes_maps_arrays_and_arrow_hold_the_same_cells(
    otlp: Any, read: Any, table: tuple[int, dict[str, list[Any]]]
) -> None:
    rows, columns = table
    ids = columns.get("ml.prediction.id", [None] * rows)
    texts = [own or f"{otlp.default_id}:{row}" for row, own in enumerate(ids)]
    singly = [
        otlp.prediction({name: cells[row] for name, cells in columns.items()} | {"ml.prediction.id": texts[row]})
        for row in range(rows)
    ]
    expected = without_call(read.rows(otlp.decoded(*singly)))

    arrays = {"ml.prediction.id": ids, **columns}
    arrow = {name: pa.array(cells) for name, cells in arrays.items()}
    for form in (arrays, nested(arrays), {"ml.batch": otlp.arrow(arrow), "ml.prediction.rows": rows}):
        decoded = otlp.decoded(otlp.prediction(form))
        assert (decoded.rejected, decoded.message, decoded.dropped) == (0, "", {})
        assert without_call(read.rows(decoded)) == expected


@given(tables(), st.randoms())
def test_the_order_of_attributes_and_columns_does_not_matter(
    otlp: Any, read: Any, table: tuple[int, dict[str, list[Any]]], random: Any
) -> None:
    rows, columns = table
    names = list(columns)
    random.shuffle(names)
    shuffled = {name: columns[name] for name in names}
    for form in (dict, nested):
        first, second = (
            otlp.decoded(otlp.prediction({"ml.prediction.rows": rows, **form(each)})) for each in (columns, shuffled)
        )
        assert read.rows(first) == read.rows(second)
        assert (first.rejected, first.dropped) == (second.rejected, second.dropped)


# --- maps ----------------------------------------------------------------------------------------------------------


def test_a_flat_attribute_goes_before_an_entry_even_where_it_is_missing(otlp: Any) -> None:
    batch = otlp.one({"ml.features": {"a": 1, "b": 2, "c": 3}, "ml.feature.a": 10, "ml.feature.b": None})
    assert {key: column.numbers.tolist() for key, column in batch.features.items()} == {"a": [10.0], "c": [3.0]}


def test_of_a_repeated_key_of_a_map_the_last_counts(otlp: Any) -> None:
    span = otlp.prediction({"ml.features": {"a": 1}})
    entries = span.attributes[-1].value.kvlist_value.values
    entries.extend(otlp.attributes([("a", 2), ("", 3), ("b", 4), ("b", None)]))
    [batch] = otlp.decoded(span).predictions
    assert {key: column.numbers.tolist() for key, column in batch.features.items()} == {"a": [2.0]}


# --- arrays --------------------------------------------------------------------------------------------------------


def test_a_scalar_beside_arrays_stands_in_every_row(otlp: Any, read: Any) -> None:
    batch = otlp.one(
        {"ml.feature.a": [1, 2, 3], "ml.segment.s": "eu", "ml.prediction.score": 0.5, "ml.feature.m": None}
    )
    assert read.cells(batch.features["a"], 3) == [1.0, 2.0, 3.0]
    assert read.cells(batch.segments["s"], 3) == ["eu"] * 3
    assert batch.score.tolist() == [0.5] * 3
    assert list(batch.features) == ["a"]


def test_the_duration_of_a_call_stands_in_its_first_row_only(otlp: Any) -> None:
    batch = otlp.one({"ml.feature.a": [1, 2, 3]})
    assert batch.duration_s.tolist() == [pytest.approx(0.005), *[pytest.approx(math.nan, nan_ok=True)] * 2]
    assert batch.time_ns.tolist() == [otlp.start] * 3


def test_a_failed_call_fails_in_every_row_and_weighs_in_every_row(otlp: Any, read: Any) -> None:
    batch = otlp.one({"ml.feature.a": [1, 2]}, error=True, trace_state="ot=th:8")
    assert read.cells(batch.error, 2) == ["error", "error"]
    assert batch.weights.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_of_arrays_append_their_number_to_the_id_of_the_call(otlp: Any, rows: int) -> None:
    cells = [1.0] * rows
    assert otlp.one({"ml.feature.a": cells}).ids.tolist() == otlp.hash(*[f"{otlp.default_id}:{i}" for i in range(rows)])
    shared = otlp.one({"ml.feature.a": cells, "ml.prediction.id": "call"})
    assert shared.ids.tolist() == otlp.hash(*[f"call:{i}" for i in range(rows)])


def test_a_row_without_id_in_a_column_of_ids_has_the_default_one(otlp: Any) -> None:
    ids = otlp.hash("x", f"{otlp.default_id}:1", f"{otlp.default_id}:2", "7")
    assert otlp.one({"ml.prediction.id": ["x", None, "", 7], "ml.prediction.score": 0.5}).ids.tolist() == ids


def test_arrays_of_different_length_are_rejected_with_both_names(otlp: Any) -> None:
    decoded = otlp.decoded(
        otlp.prediction({"ml.feature.a": [1, 2], "ml.features": {"b": [1, 2, 3]}}), otlp.prediction({})
    )
    assert (decoded.rejected, [len(batch) for batch in decoded.predictions]) == (1, [1])
    assert decoded.message.endswith("ml.feature.a has 2 values but ml.feature.b has 3")


def test_arrays_without_elements_are_no_rows(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.feature.a": [], "ml.segment.s": "eu"}))
    assert (decoded.rejected, decoded.predictions, decoded.items) == (0, (), 1)


def test_elements_that_are_no_scalars_are_missing_and_counted(otlp: Any, read: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.feature.a": [1, [2], {"a": 3}, b"4", None, "x"]}))
    assert read.cells(decoded.predictions[0].features["a"], 6) == [1.0, None, None, None, None, "x"]
    assert decoded.dropped == {"unsupported_value": 3}


def test_several_outputs_of_one_row_are_missing_and_counted(otlp: Any, read: Any) -> None:
    sent = {"ml.feature.a": [1, 2], "ml.prediction.value": [[1.0, 2.0], [3.0, 4.0]]}
    decoded = otlp.decoded(otlp.prediction(sent))
    [batch] = decoded.predictions
    assert (len(batch), batch.value, decoded.dropped) == (2, None, {"unsupported_value": 2})
    decoded = otlp.decoded(otlp.prediction({"ml.feature.a": [1, 2], "ml.prediction.class": [["x", "y"], ["x"]]}))
    [batch] = decoded.predictions
    assert (len(batch), batch.prediction, decoded.dropped) == (2, None, {"unsupported_value": 2})


def test_arrays_under_other_names_make_no_rows(otlp: Any) -> None:
    batch = otlp.one({"ml.feature.a": 1, "http.headers": ["a", "b"], "ml.framework.name": ["x", "y", "z"]})
    assert len(batch) == 1


def test_rows_keep_their_order_whatever_their_form(otlp: Any, read: Any) -> None:
    decoded = otlp.decoded(
        otlp.prediction({"ml.feature.a": 1}),
        otlp.prediction({"ml.feature.a": [2, 3], "ml.feature.b": ["x", "y"]}),
        otlp.prediction({"ml.feature.b": "z"}),
        otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [4]})}),
        otlp.prediction({"ml.features": {"a": 5}}),
    )
    [batch] = decoded.predictions
    assert read.cells(batch.features["a"], 6) == [1.0, 2.0, 3.0, None, 4.0, 5.0]
    assert read.cells(batch.features["b"], 6) == [None, "x", "y", "z", None, None]


# --- Arrow ---------------------------------------------------------------------------------------------------------


def test_attributes_stand_beside_an_arrow_batch_unless_it_has_a_column_of_their_name(otlp: Any, read: Any) -> None:
    stream = otlp.arrow({"ml.feature.a": pa.array([1.0, None]), "other": ["x", "y"]})
    batch = otlp.one({
        "ml.batch": stream, "ml.feature.a": 9, "ml.features": {"a": 8, "b": 7}, "ml.segment.s": "eu",
        "ml.prediction.class": ["p", "q"],
    })  # fmt: skip
    assert {key: read.cells(column, 2) for key, column in batch.features.items()} == {"a": [1.0, None], "b": [7.0, 7.0]}
    assert read.cells(batch.segments["s"], 2) == ["eu", "eu"]
    assert read.cells(batch.prediction, 2) == ["p", "q"]


def test_arrays_of_another_length_than_the_arrow_batch_are_rejected(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [1.0]}), "ml.feature.b": [1, 2]}))
    assert decoded.rejected == 1
    assert decoded.message.endswith("ml.batch has 1 rows, but the arrays next to it have 2 values")


def test_ten_thousand_rows_of_arrow_are_the_same_as_their_columns(otlp: Any) -> None:
    rng = np.random.default_rng(5)
    numbers, texts = rng.normal(size=10_000), rng.choice(["a", "b", "c"], 10_000)
    batch = otlp.one(
        {"ml.batch": otlp.arrow({"ml.feature.x": numbers, "ml.feature.t": texts, "ml.prediction.score": numbers})}
    )
    assert np.array_equal(batch.features["x"].numbers, numbers)
    assert np.array_equal(np.array(batch.features["t"].categories)[batch.features["t"].codes], texts)
    assert np.array_equal(batch.score, numbers)
    assert batch.ids[[0, 9_999]].tolist() == otlp.hash(f"{otlp.default_id}:0", f"{otlp.default_id}:9999")
