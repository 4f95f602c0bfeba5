from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import Column
from collector_processor.statistics.texts import as_texts, number_text


def test_a_column_of_texts_stays_as_it_is():
    column = Column(None, np.array([0], np.int32), ("a",))
    assert as_texts(column) is column


def test_integers_join_the_texts_that_look_like_them():
    column = as_texts(Column(np.array([1.0, np.nan, 2.0, np.nan]), np.array([-1, 0, -1, -1], np.int32), ("1",)))
    assert column.codes.tolist() == [0, 0, 1, -1]
    assert column.categories == ("1", "2")
    assert column.missing().tolist() == [False, False, False, True]


def test_texts_that_were_there_keep_their_codes():
    codes = np.array([0, 1, 2, -1, -1], np.int32)
    column = as_texts(Column(np.array([np.nan, np.nan, np.nan, 7.0, 2.0]), codes, ("b", "7", "a")))
    assert [column.categories[code] for code in column.codes.tolist()] == ["b", "7", "a", "7", "2"]


def test_huge_and_infinite_numbers_are_no_integers():
    column = as_texts(Column(np.array([1e300, np.inf, -np.inf])))
    assert column.is_number().all()
    assert column.codes.tolist() == [-1, -1, -1]


def test_fractions_are_texts_when_asked_for():
    column = as_texts(Column(np.array([0.1, np.inf, -0.0, np.nan])), fractions=True)
    assert [column.categories[code] if code >= 0 else None for code in column.codes.tolist()] == [
        "0.1",
        "inf",
        "0",
        None,
    ]


def test_the_original_is_left_alone():
    codes = np.array([-1, -1], np.int32)
    as_texts(Column(np.array([1.0, 2.0]), codes, ()))
    assert codes.tolist() == [-1, -1]


@given(st.integers(-(2**53), 2**53))
def test_an_integer_and_its_text_are_the_same(value):
    assert number_text(float(value)) == str(value)
