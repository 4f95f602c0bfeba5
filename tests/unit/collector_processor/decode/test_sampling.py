"""Weights of sampled spans (OpenTelemetry, "TraceState: Probability Sampling")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.decode.rules.sampling import weight


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("ot=th:0", 1.0),
        ("ot=th:8", 2.0),
        ("ot=th:c", 4.0),
        ("ot=th:ffffffffffffff", 2.0**56),
        ("ot=th:c;rv:d29d6a7215ced0", 4.0),
        ("ot=rv:d29d6a7215ced0;th:c", 4.0),
        ("vendor=1, ot=th:c ,other=th:8", 4.0),
        ("ot=th:ff", 256.0),
    ],
)
def test_weight_is_the_inverse_of_the_share_kept(state: str, expected: float) -> None:
    assert weight(state) == pytest.approx(expected)


@pytest.mark.parametrize(
    "state",
    [
        *("", "ot", "ot=", "ot=th", "ot=th:", "ot=th:xyz", "ot=th:C", "ot=th:-8", "ot=th:+8", "ot=th: 8", "ot=th:0x8"),
        *("ot=th:fffffffffffffff", "other=th:8", "xot=th:8", "ot=xth:8", "ot=p:8;r:62", "ot=th:8_0", "ot=th:٨"),
        "ot=rv:8,ot=th:8",
    ],
)
def test_an_unreadable_threshold_weighs_one(state: str) -> None:
    assert weight(state) == 1.0


@given(st.text(max_size=30) | st.from_regex(r"ot=(th:[0-9a-f]{0,15};?)*", fullmatch=True))
def test_any_trace_state_has_a_finite_weight_of_at_least_one(state: str) -> None:
    assert 1.0 <= weight(state) <= 2.0**56
