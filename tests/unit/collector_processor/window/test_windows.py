from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.window.closed import Window
from collector_processor.window.policy import WindowPolicy
from support.windows import (
    DAY,
    KEY,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    YEAR,
    batch,
    counted,
    drain,
    labels,
    outcomes,
    rows,
    windows,
)


def late(telemetry: Telemetry) -> float:
    return counted(telemetry, "otel_ml_dropped_total", stage="window", reason="late", intentional="true")


def same(left: Window, right: Window) -> bool:
    ours, theirs = left.pane.arrays(), right.pane.arrays()
    return (left.start_ns, left.end_ns) == (right.start_ns, right.end_ns) and all(
        np.allclose(values, theirs[name], rtol=1e-12, atol=1e-9) for name, values in ours.items()
    )


# --- windows of time -----------------------------------------------------------------------------------------


def test_nothing_closes_before_anything_came() -> None:
    model = windows()
    assert model.close(NOW) == []
    assert model.not_before_ns == -(2**63)


def test_a_window_closes_when_the_watermark_passes_its_end() -> None:
    model = windows()
    model.add(batch([NOW + 5 * SECOND]), NOW)
    model.add(batch([NOW + 3 * MINUTE - 1]), NOW)
    assert model.close(NOW) == []
    model.add(batch([NOW + 3 * MINUTE]), NOW)
    (window,) = model.close(NOW)
    assert (window.start_ns, window.end_ns, rows(window)) == (NOW - 2 * MINUTE, NOW + MINUTE, 1)
    assert window.model == KEY
    assert model.close(NOW) == [], "a window closes once"


def test_a_window_is_the_sum_of_its_panes() -> None:
    model = windows()
    for minute, count in enumerate([1, 2, 4, 8, 16]):
        model.add(batch([NOW + minute * MINUTE] * count), NOW)
    assert [rows(window) for window in model.close(NOW + 60 * MINUTE)] == [1, 3, 7, 14, 28, 24, 16, 0]


def test_windows_close_when_traffic_stops_and_the_last_one_is_empty() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    seen = [[rows(window) for window in model.close(NOW + minute * MINUTE)] for minute in range(12)]
    assert seen == [[], [], [], [1], [1], [1], [0], [], [], [], [], []]


def test_traffic_that_resumes_gets_windows_again() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    drain(model, NOW + DAY)
    model.add(batch([NOW + DAY]), NOW + DAY)
    ends = [window.end_ns for window in drain(model, NOW + DAY + 30 * MINUTE)]
    assert ends == [NOW + DAY + minute * MINUTE for minute in (1, 2, 3, 4)]


def test_a_gap_of_a_year_costs_no_more_than_the_windows_around_it() -> None:
    model = windows(WindowPolicy(size_ns=3 * SECOND, every_ns=SECOND, allowed_lateness_ns=SECOND))
    model.add(batch([NOW - YEAR]), NOW)
    model.add(batch([NOW]), NOW)
    assert [rows(window) for window in drain(model, NOW)] == [1, 1, 1, 0]


def test_rows_before_the_closed_boundary_are_late_and_counted() -> None:
    telemetry = Telemetry()
    model = windows(telemetry=telemetry)
    model.add(batch([NOW, NOW + 10 * MINUTE]), NOW)
    model.close(NOW)
    assert model.not_before_ns == NOW + 8 * MINUTE
    assert model.add(batch([NOW, NOW + 8 * MINUTE - 1, NOW + 8 * MINUTE]), NOW) == 2
    assert late(telemetry) == 2


def test_a_batch_that_is_late_as_a_whole_leaves_nothing() -> None:
    model = windows()
    model.add(batch([NOW + 10 * MINUTE]), NOW)
    model.close(NOW)
    assert model.add(batch([NOW] * 5), NOW) == 5
    assert [rows(window) for window in drain(model, NOW + DAY)] == [1, 1, 1, 0]


def test_an_empty_batch_is_nothing() -> None:
    model = windows()
    assert model.add(batch([]), NOW) == 0
    model.add_outcomes(outcomes([]))
    assert model.close(NOW + DAY) == []


def test_a_clock_a_day_ahead_counts_at_arrival() -> None:
    telemetry = Telemetry()
    model = windows(telemetry=telemetry)
    assert model.add(batch([NOW + DAY] * 3 + [NOW + 2**62]), NOW) == 0
    assert counted(telemetry, "otel_ml_clamped_total", stage="window", reason="clock_ahead") == 4
    first = drain(model, NOW + 10 * MINUTE)[0]
    assert (first.end_ns, rows(first)) == (NOW + MINUTE, 4)


def test_a_clock_a_little_ahead_is_believed() -> None:
    model = windows()
    model.add(batch([NOW + 9 * MINUTE]), NOW)
    assert drain(model, NOW + DAY)[0].end_ns == NOW + 10 * MINUTE


def test_a_clock_a_day_behind_is_late_beside_right_ones() -> None:
    telemetry = Telemetry()
    model = windows(telemetry=telemetry)
    model.add(batch([NOW]), NOW)
    model.close(NOW)
    assert model.add(batch([NOW - DAY] * 2), NOW) == 2
    assert late(telemetry) == 2


def test_a_replay_of_old_traffic_makes_windows_of_its_own_time() -> None:
    model = windows()
    for minute in range(6):
        model.add(batch([NOW - 10 * YEAR + minute * MINUTE]), NOW)
    assert [window.end_ns for window in model.close(NOW)] == [
        NOW - 10 * YEAR + minute * MINUTE for minute in range(1, 4)
    ]


def test_a_batch_that_spans_more_than_may_be_open_keeps_the_newest() -> None:
    telemetry = Telemetry()
    model = windows(telemetry=telemetry)
    times = NOW - np.arange(1000) * MINUTE
    assert model.add(batch(times), NOW) == 1000 - POLICY.open_panes
    assert late(telemetry) == 1000 - POLICY.open_panes


@pytest.mark.parametrize("time", [-(2**63), -(2**63) + 1, -1, 0, 2**63 - 1])
def test_extreme_times_do_not_overflow(time: int) -> None:
    model = windows(WindowPolicy(size_ns=3, every_ns=1, allowed_lateness_ns=1, max_clock_ahead_ns=1))
    model.add(batch([time]), NOW)
    model.add_outcomes(outcomes([time, -(2**63), 2**63 - 1]))
    model.add_outcomes(outcomes([time, -(2**63), 2**63 - 1], weight=-1.0))
    assert max(rows(window) for window in drain(model, NOW + DAY)) == 1
    assert model.add(batch([-(2**63), 2**63 - 1]), 2**63 - 1) == 1


def test_negative_times_are_times_like_any_other() -> None:
    model = windows()
    model.add(batch([-1, 0]), NOW)
    first, second, *_ = drain(model, NOW + DAY)
    assert (first.end_ns, rows(first)) == (0, 1)
    assert (second.end_ns, rows(second)) == (MINUTE, 2)


def test_panes_are_evicted_and_counted_when_nobody_closes() -> None:
    telemetry = Telemetry()
    model = windows(WindowPolicy(size_ns=1, every_ns=1, allowed_lateness_ns=0, max_clock_ahead_ns=0), telemetry)
    model.add(batch([0, 0]), NOW)
    for number in range(1, 10_003):
        model.add(batch([number * 100]), NOW)
    assert counted(telemetry, "otel_ml_evicted_total", store="panes", reason="limit") == 4


def test_close_gives_no_more_than_asked_for_at_a_time() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    assert [len(model.close(NOW + DAY, limit_bytes=1)) for _ in range(6)] == [1, 1, 1, 1, 0, 0]


def test_new_categories_fit_older_panes() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    later = batch([NOW + MINUTE] * 2)
    model.add(PredictionBatch(
        KEY, later.time_ns, later.ids, later.weights, later.duration_s,
        {"country": Column(None, np.array([0, 1], np.int32), ("it", "es"))},
    ), NOW)  # fmt: skip
    window = model.close(NOW + 10 * MINUTE)[1]
    names = [window.schema.categories.name(slot) for slot in np.flatnonzero(window.pane.category_counts)]
    assert {"de", "it", "es"} <= set(names)


ARRIVALS = st.lists(st.integers(0, 2 * MINUTE), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(ARRIVALS, st.randoms(use_true_random=False), st.integers(1, 7))
def test_any_order_of_arrival_within_the_lateness_gives_equal_windows(
    offsets: list[int], random: Random, size: int
) -> None:
    shuffled = list(enumerate(offsets))
    random.shuffle(shuffled)
    ordered, mixed = windows(), windows()
    ages = [float(18 + position) for position in range(len(offsets))]
    ordered.add(batch([NOW + offset for offset in offsets], ages), NOW)
    for start in range(0, len(shuffled), size):
        part = shuffled[start : start + size]
        count = mixed.add(batch([NOW + offset for _, offset in part], [ages[position] for position, _ in part]), NOW)
        assert count == 0
        mixed.close(NOW)
    left, right = drain(ordered, NOW + DAY), drain(mixed, NOW + DAY)
    # Categories get their slots in order of appearance, so compare what does not hang on it.
    assert [(window.start_ns, window.end_ns, rows(window)) for window in left] == [
        (window.start_ns, window.end_ns, rows(window)) for window in right
    ]
    for one, other in zip(left, right, strict=True):
        assert np.array_equal(one.pane.counts, other.pane.counts)
        assert np.allclose(one.pane.excess, other.pane.excess, rtol=1e-12, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(ARRIVALS, st.lists(st.booleans(), min_size=40, max_size=40))
def test_panes_of_two_replicas_add_up_to_the_truth(offsets: list[int], sides: list[bool]) -> None:
    whole, left, right = windows(), windows(), windows()
    for offset, side in zip(offsets, sides, strict=False):
        rows_of_one = batch([NOW + offset])
        whole.add(rows_of_one, NOW)
        (left if side else right).add(rows_of_one, NOW)
    total = {window.end_ns: window for window in drain(whole, NOW + DAY)}
    halves = [window for model in (left, right) for window in drain(model, NOW + DAY)]
    for end_ns, window in total.items():
        parts = [half.pane for half in halves if half.end_ns == end_ns]
        merged = parts[0].copy()
        for part in parts[1:]:
            merged.add(part)
        assert same(window, Window(KEY, window.start_ns, end_ns, window.schema, merged))


# --- outcomes ------------------------------------------------------------------------------------------------


def test_outcomes_go_to_the_pane_of_their_time() -> None:
    model = windows()
    model.add(batch([NOW, NOW + MINUTE]), NOW)
    model.add_outcomes(outcomes([NOW + MINUTE]))
    assert [labels(window) for window in drain(model, NOW + DAY)] == [0, 1, 1, 1, 0]


def test_outcomes_of_closed_panes_go_to_the_earliest_open_one() -> None:
    model = windows()
    model.add(batch([NOW, NOW + 10 * MINUTE]), NOW)
    drain(model, NOW)
    model.add_outcomes(outcomes([NOW]))
    ends = [window.end_ns for window in drain(model, NOW + DAY) if labels(window)]
    assert ends[0] == NOW + 9 * MINUTE


def test_labels_alone_make_windows_after_traffic_stopped() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    drain(model, NOW + DAY)
    model.add_outcomes(outcomes([NOW + DAY]))
    found = drain(model, NOW + DAY + 30 * MINUTE)
    assert [(rows(window), labels(window)) for window in found] == [(0, 1), (0, 1), (0, 1), (0, 0)]


def test_retractions_reach_closed_panes_that_are_still_needed() -> None:
    model = windows()
    model.add(batch([NOW, NOW + 3 * MINUTE]), NOW)
    model.add_outcomes(outcomes([NOW, NOW]))
    assert [labels(window) for window in model.close(NOW)] == [2]
    model.add_outcomes(outcomes([NOW], weight=-1.0))
    assert [labels(window) for window in drain(model, NOW + DAY)][:3] == [1, 1, 0]


def test_retractions_of_forgotten_panes_are_dropped_and_counted() -> None:
    telemetry = Telemetry()
    model = windows(telemetry=telemetry)
    model.add(batch([NOW, NOW + 10 * MINUTE]), NOW)
    drain(model, NOW)
    model.add_outcomes(outcomes([NOW] * 3, weight=-1.0))
    assert (
        counted(telemetry, "otel_ml_dropped_total", stage="window", reason="retraction_expired", intentional="true")
        == 3
    )
    assert all(labels(window) == 0 for window in drain(model, NOW + DAY))


def test_outcomes_cannot_open_panes_without_bound() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    model.add_outcomes(outcomes([NOW + number * DAY for number in range(-5000, 5000)]))
    assert len(drain(model, NOW + 10 * YEAR)) <= POLICY.open_panes + 8


# --- memory --------------------------------------------------------------------------------------------------


def test_quiet_panes_are_small() -> None:
    model = windows(WindowPolicy(size_ns=60 * MINUTE, every_ns=MINUTE))
    for minute in range(60):
        model.add(batch([NOW + minute * MINUTE] * 3), NOW)
        model.close(NOW)
    dense = sum(values.nbytes for values in model.close(NOW + 2 * DAY)[0].pane.arrays().values())
    for minute in range(60):
        model.add(batch([NOW + YEAR + minute * MINUTE] * 3), NOW + YEAR)
        model.close(NOW + YEAR)
    assert model.nbytes < 6 * dense, "sixty panes, of which only the newest few are unpacked"
