"""One value at a time, friendly and hostile."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import problems
from otel_ml.config import Settings
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.row import feature_attributes
from otel_ml.encode.scalar import UnsupportedValueError, class_text, clean_key, identifier, number, scalar


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def item(self) -> object:
        raise RuntimeError("no")


class HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")


class Selfish:
    ndim = 0

    def item(self) -> Selfish:
        return self


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (np.bool_(False), False),
        (np.int8(-3), -3),
        (np.uint64(2**63), float(2**63)),
        (np.float32(0.5), 0.5),
        (np.float64(1.5), 1.5),
        (np.float16(1.5), 1.5),
        (np.longdouble(1.5), 1.5),
        (np.array(7), 7),
        (np.str_("a"), "a"),
        (np.bytes_(b"yes"), "yes"),
        (2**63, float(2**63)),
        (-(2**63), -(2**63)),
        (10**400, math.inf),
        (math.inf, math.inf),
        (Decimal("1.25"), 1.25),
        (Fraction(1, 4), 0.25),
        (Colour.RED, "red"),
        (Size.BIG, 3),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"text", "text"),
        (HostileText("fine"), "fine"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        (timedelta(minutes=2), 120.0),
        (date(1970, 1, 2), 86_400.0),
        (datetime(1970, 1, 1, 0, 0, 1, 500_000), 1.5),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0.0),
        (np.datetime64("1970-01-01T00:00:01.5", "ns"), 1.5),
        (np.datetime64("1970-01-02"), 86_400.0),
        (np.timedelta64(1500, "ms"), 1.5),
        (pd.Timestamp("1970-01-01 00:00:01.5"), 1.5),
        (pd.Timedelta("2s"), 2.0),
    ],
)
def test_a_value_becomes_its_plain_form(value: object, expected: object) -> None:
    found = scalar(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        None,
        math.nan,
        np.nan,
        np.float32("nan"),
        pd.NA,
        pd.NaT,
        np.datetime64("NaT", "ns"),
        np.timedelta64("NaT", "ns"),
        Decimal("NaN"),
    ],
)
def test_missing_values_are_none(value: object) -> None:
    assert scalar(value) is None
    assert class_text(value) is None


@pytest.mark.parametrize(
    "value",
    [
        [1],
        (1,),
        {"a": 1},
        {1},
        object(),
        Hostile(),
        Selfish(),
        b"\xff",
        1j,
        np.array([1, 2]),
        lambda: 1,
        Decimal("sNaN"),
    ],
)
def test_what_has_no_place_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedValueError, match="cannot be an attribute"):
        scalar(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (np.False_, "false"),
        (1, "1"),
        (1.0, "1"),
        (np.int64(1), "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (math.inf, "inf"),
        ("é", "é"),
        (Colour.RED, "red"),
    ],
)
def test_a_class_has_one_text_however_it_is_spelt(value: object, text: str) -> None:
    assert class_text(value) == text


def test_numbers_refuse_texts_without_quoting_them() -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        number("anna@example.org")
    assert "anna" not in str(caught.value)
    assert number(True) == 1.0


def test_an_identifier_is_bounded() -> None:
    assert len(identifier("x" * 10_000) or "") == 512


@pytest.mark.parametrize("key", ["", "k" * 257, Hostile()])
def test_a_key_that_cannot_name_an_attribute_is_none(key: object) -> None:
    assert clean_key(key) is None


@pytest.mark.parametrize(
    ("key", "name"), [("größe", "größe"), (("a", 1), "('a', 1)"), (1.5, "1.5"), ("a b.c{}", "a b.c{}"), ("\ud800", "?")]
)
def test_weird_keys_keep_their_text(key: object, name: str) -> None:
    assert clean_key(key) == name


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=3), children, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=5) | st.integers(), _anything, max_size=6))
def test_any_row_becomes_attributes_that_otlp_can_hold(row: dict[object, object]) -> None:
    problems.forget()
    for name, value in feature_attributes(row, Redaction(Settings()).features, limit=10).items():
        name.encode()
        assert type(value) in (bool, int, float, str)
        assert not isinstance(value, str) or len(value.encode()) <= 40
        assert not isinstance(value, int) or -(2**63) <= value < 2**63
        assert value == value
