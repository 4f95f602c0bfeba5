from __future__ import annotations

import pytest

from collector_processor.window.policy import MAX_PANES, WindowPolicy, duration_words

MINUTE = 60 * 10**9


def test_defaults_are_an_hour_every_minute_ten_minutes_late() -> None:
    policy = WindowPolicy()
    assert (policy.panes, policy.by_rows, policy.open_panes) == (60, False, 10 + 10 + 16)


def test_windows_of_rows_need_no_durations() -> None:
    policy = WindowPolicy(size_ns=0, every_ns=0, rows=5000, every_rows=1000)
    assert (policy.panes, policy.by_rows, policy.pane_rows) == (5, True, 1000)


def test_every_of_rows_is_a_whole_window_when_not_given() -> None:
    assert WindowPolicy(rows=700).pane_rows == 700


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_ns": 60 * MINUTE, "every_ns": 7 * MINUTE}, "multiple of every; size is 1h, every is 7m"),
        ({"size_ns": MINUTE, "every_ns": 2 * MINUTE}, "every must not be longer than size; size is 1m, every is 2m"),
        ({"size_ns": 0}, "size and every must be greater than 0"),
        ({"every_ns": -1}, "size and every must be greater than 0"),
        ({"size_ns": 20_000 * MINUTE}, "size may be at most 10000 times every"),
        ({"allowed_lateness_ns": -1}, "allowed_lateness must not be negative"),
        ({"max_clock_ahead_ns": -1}, "max_clock_ahead must not be negative"),
        (
            {"every_ns": MINUTE // 100, "size_ns": MINUTE, "allowed_lateness_ns": 200 * MINUTE},
            "allowed_lateness may be",
        ),
        ({"rows": 1000, "every_rows": 300}, "size is 1000 rows, every is 300 rows"),
        ({"rows": -5}, "must not be negative"),
        ({"every_rows": 5}, "every is in rows, so size must be in rows too"),
        ({"rows": 100_000, "every_rows": 1}, "size may be at most 10000 times every"),
    ],
)
def test_a_wrong_policy_is_refused_in_the_users_words(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowPolicy(**settings)


def test_open_panes_are_bounded_however_far_clocks_may_be_ahead() -> None:
    policy = WindowPolicy(every_ns=1000, size_ns=1000, allowed_lateness_ns=0, max_clock_ahead_ns=10**18)
    assert policy.open_panes <= MAX_PANES + 16


@pytest.mark.parametrize(("duration", "words"), [(10**9, "1s"), (90 * 10**9, "1m30s"), (26 * 3600 * 10**9, "1d2h")])
def test_durations_read_as_a_user_writes_them(duration: int, words: str) -> None:
    assert duration_words(duration) == words
