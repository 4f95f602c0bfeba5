from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml.classes import canonical_class, spellings
from otel_ml.encode.scalar import class_text

ONE = [True, 1, 1.0, "1", "1.0", "1.", " 1", "1 ", "+1", "true", "True", "TRUE", "1.000000e+00", Decimal("1.00")]
ONE += [np.bool_(True), np.int8(1), np.uint64(1), np.float32(1.0), np.float64(1.0), np.str_("True")]


@pytest.mark.parametrize("value", ONE, ids=repr)
def test_every_spelling_of_one_is_one_class(value: object) -> None:
    assert canonical_class(class_text(value) or "") == "1"


@pytest.mark.parametrize("text", ["", "  ", "nan", "NaN", " None", "null", "NULL", "<NA>", "NaT", "\t\n"])
def test_a_text_for_a_missing_value_is_no_class(text: str) -> None:
    assert canonical_class(text) == ""


@pytest.mark.parametrize(
    "text",
    ["Yes", "yes", "none", "NA", "007", "1.50", "3.10", "2e5", "1_000", "truthy", "0x1", "é", "1 0", "-", "1e+00"],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert canonical_class(text) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_integers_are_exact_however_they_are_written(number: int) -> None:
    assert {canonical_class(text) for text in (str(number), f"{number}.0", f" {number:+d} ", f"{number}.")} == {
        str(number)
    }


@given(st.text() | st.from_regex(r"[+-]?[0-9.e ]{1,8}", fullmatch=True))
def test_the_one_spelling_of_a_class_is_its_own(text: str) -> None:
    once = canonical_class(text)
    assert canonical_class(once) == once
    assert all(canonical_class(spelling) == once for spelling in spellings(once))
