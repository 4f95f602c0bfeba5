"""What one value becomes, and what a column of them becomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.column import concatenated
from collector_processor.decode import Column, DecodeLimits
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cell_columns import column_of, compacted
from collector_processor.decode.rules.cells import place_of, shorten, text_of

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (True, "true"),
        (False, "false"),
        ("1", "1"),
        ("", ""),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (2.0**53, "9007199254740992"),
        (9.2e18, "9200000000000000000"),
        (2.0**63, "9.223372036854776e+18"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, None),
        (None, None),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_integers_whole_doubles_and_texts_of_one_class_are_one_text(value: Any, text: str | None) -> None:
    assert text_of(value) == text


def test_a_text_is_shortened_at_a_whole_character() -> None:
    assert [shorten("aé✓", longest) for longest in range(8)] == ["", "a", "a", "aé", "aé", "aé", "aé✓", "aé✓"]


@pytest.mark.parametrize(
    ("name", "part", "key"),
    [
        ("ml.feature.a.b", "feature", "a.b"),
        ("ml.feature.name", "feature", "name"),
        ("ml.segment.region", "segment", "region"),
        ("ml.attribution.age", "attribution", "age"),
        ("ml.attribution.weight", "attribution", "weight"),
        ("ml.attributions.weight", "attribution_weight", ""),
        ("ml.prediction.scores.yes", "scores", "yes"),
        ("ml.prediction.score", "score", ""),
        ("ml.label.class", "label_class", ""),
    ],
)
def test_names_of_the_contract_have_a_place(name: str, part: str, key: str) -> None:
    place = place_of(name)
    assert place is not None
    assert (place.part, place.key) == (part, key)


@pytest.mark.parametrize("name", ["", "ml.feature.", "ml.segment.", "ml.features", "ml.batch", "ml.model.name", "age"])
def test_other_names_have_none(name: str) -> None:
    assert place_of(name) is None


def naive(cell: Any, kind: str) -> tuple[float | str | None, int]:
    """The cell that a scalar becomes, and how many unsupported values it counts."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None, 0
    if kind == "text":
        return text_of(cell), 0
    if isinstance(cell, (bool, str)):
        return (None, 1) if kind == "number" else (text_of(cell), 0)
    return float(cell), 0


@given(st.lists(SCALARS, max_size=12), st.sampled_from(["mixed", "text", "number"]))
def test_a_column_holds_what_each_cell_becomes(read: Any, values: list[Any], kind: Any) -> None:
    tally = Tally(DecodeLimits())
    column = column_of(values, kind, tally)
    expected = [naive(value, kind) for value in values]
    assert read.cells(column, len(values)) == [cell for cell, _ in expected]
    assert tally.dropped.get("unsupported_value", 0) == sum(count for _, count in expected)
    if column is not None:
        assert column.numbers is None or column.is_number().any()
        assert (column.codes is None) == (not column.categories)
        if column.codes is not None:
            used = [code for code in column.codes.tolist() if code >= 0]
            assert list(dict.fromkeys(used)) == list(range(len(column.categories)))


@given(st.data())
def test_an_arrow_dictionary_with_nulls_twins_and_unused_entries_becomes_clean_categories(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.one_of(st.none(), st.sampled_from("abc")), max_size=5))
    codes = data.draw(st.lists(st.integers(-1, len(texts) - 1), max_size=12))
    compact, categories = compacted(np.array(codes, np.int64), texts, Tally(DecodeLimits()))
    found = [categories[code] if code >= 0 else None for code in compact.tolist()]
    assert found == [texts[code] if code >= 0 else None for code in codes]
    assert list(categories) == list(dict.fromkeys(text for text in found if text is not None))


@given(st.lists(st.lists(SCALARS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_columns_behind_one_another_hold_the_cells_of_each(read: Any, parts: list[list[Any]]) -> None:
    columns = [column_of(part, "mixed", Tally(DecodeLimits())) for part in parts]
    whole = concatenated(columns, [len(part) for part in parts])
    expected = [cell for column, part in zip(columns, parts, strict=True) for cell in read.cells(column, len(part))]
    assert read.cells(whole, len(expected)) == expected


def test_long_texts_are_cut_counted_and_may_become_one() -> None:
    tally = Tally(DecodeLimits(text_length=4))
    column = column_of(["abcdX", "abcd", "abcdY", "abc✓", None], "mixed", tally)
    assert column is not None
    assert column.codes is not None
    assert (column.codes.tolist(), column.categories) == ([0, 0, 0, 1, -1], ("abcd", "abc"))
    assert tally.dropped == {"text_truncated": 3}


def test_categories_over_the_limit_are_missing_and_counted_by_cell() -> None:
    tally = Tally(DecodeLimits(categories=2))
    column = column_of(["a", "b", "c", "a", "c", "d"], "text", tally)
    assert column is not None
    assert column.codes is not None
    assert (column.codes.tolist(), column.categories) == ([0, 1, -1, 0, -1, -1], ("a", "b"))
    assert tally.dropped == {"categories_over_limit": 3}


def test_a_column_without_any_cell_is_none() -> None:
    tally = Tally(DecodeLimits())
    assert column_of([None, math.nan], "mixed", tally) is None
    assert column_of([], "text", tally) is None
    assert concatenated([None, None], [2, 3]) is None
    assert column_of(["x"], "number", tally) is None


def test_infinities_are_numbers() -> None:
    column = column_of([math.inf, -math.inf], "number", Tally(DecodeLimits()))
    assert isinstance(column, Column)
    assert column.is_number().all()
