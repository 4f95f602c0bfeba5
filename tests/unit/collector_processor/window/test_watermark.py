from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.window.watermark import Watermark, believed

DAY = 86_400 * 10**9


def test_watermark_is_event_time_minus_lateness() -> None:
    watermark = Watermark(10)
    watermark.observe(1000, now_ns=7)
    assert watermark.at(7) == 990


def test_watermark_follows_the_newest_event_not_the_last() -> None:
    watermark = Watermark(10)
    watermark.observe(1000, now_ns=7)
    watermark.observe(500, now_ns=8)
    assert watermark.at(8) == 990


def test_watermark_goes_with_the_clock_when_no_row_came_for_longer_than_the_lateness() -> None:
    watermark = Watermark(10)
    watermark.observe(1000, now_ns=0)
    assert [watermark.at(now) for now in (10, 11, 50)] == [990, 1001, 1040]


def test_watermark_never_goes_back_when_traffic_resumes() -> None:
    watermark = Watermark(10)
    watermark.observe(1000, now_ns=0)
    watermark.at(50)
    watermark.observe(1020, now_ns=51)
    assert watermark.at(51) == 1040


def test_a_clock_set_back_counts_as_no_time_passed() -> None:
    watermark = Watermark(10)
    watermark.observe(1000, now_ns=DAY)
    assert watermark.at(0) == 990
    assert watermark.at(30) == 1020, "idleness is counted from where the clock was set back to"


def test_time_while_the_service_was_down_is_no_lack_of_traffic() -> None:
    watermark = Watermark.resumed(10, newest_event_ns=1000, reached_ns=990, now_ns=DAY)
    assert watermark.at(DAY + 5) == 990


@given(
    st.integers(0, 10**18),
    st.lists(st.tuples(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=30),
)
def test_watermark_never_goes_back_whatever_comes(lateness: int, steps: list[tuple[bool, int, int]]) -> None:
    watermark, before = Watermark(lateness), None
    for seen, event_ns, now_ns in steps:
        if seen:
            watermark.observe(event_ns, now_ns)
        reached = watermark.at(now_ns)
        assert before is None or (reached is not None and reached >= before)
        before = reached


def test_times_too_far_ahead_become_the_arrival() -> None:
    times, clamped = believed(np.array([-(2**63), 90, 110, 111, 2**63 - 1]), now_ns=100, max_ahead_ns=10)
    assert times.tolist() == [-(2**63), 90, 110, 100, 100]
    assert clamped == 2


def test_a_clock_at_the_end_of_time_does_not_overflow() -> None:
    times, clamped = believed(np.array([2**63 - 1]), now_ns=2**63 - 1, max_ahead_ns=DAY)
    assert (times.tolist(), clamped) == ([2**63 - 1], 0)
