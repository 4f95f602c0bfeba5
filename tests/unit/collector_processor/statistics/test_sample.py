"""The sample of rows that dearer sums look at: the same in any batches, and right with its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.statistics.sample import LEVELS, MINUTE_NS, WHOLE, Arrivals, levels, sampled, stands_for

LATEST_NS = 2**62


def batch(time_ns: np.ndarray, ids: np.ndarray | None = None) -> PredictionBatch:
    rows = len(time_ns)
    ids = np.random.default_rng(1).integers(1, 2**63, (rows, 2)).astype(np.uint64) if ids is None else ids
    return PredictionBatch(
        ModelKey("m"), time_ns, ids, np.ones(rows), np.full(rows, np.nan), {"x": Column(np.arange(float(rows)))}
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.lists(st.integers(0, 59), max_size=8))
def test_rows_are_numbered_alike_in_any_batches(minutes: list[int], borders: list[int]) -> None:
    times = np.array(minutes) * MINUTE_NS
    whole, parts, restored = Arrivals().numbers(times, LATEST_NS), Arrivals(), []
    for part in np.split(times, sorted(min(border, len(times)) for border in borders)):
        if len(part):
            restored.append(parts.numbers(part, LATEST_NS))
            again = Arrivals()
            again.restore(parts.state())
            parts = again
    assert np.concatenate(restored).tolist() == whole.tolist()
    newest, came = -1, 0
    for minute, number in zip(minutes, whole.tolist(), strict=True):
        came = 0 if minute > newest else came + 1
        newest = max(newest, minute)
        assert number == came


@given(st.lists(st.integers(1, 70), min_size=1, max_size=20), st.integers(1, 50))
def test_rows_are_numbered_within_panes_of_rows_alike_in_any_batches(sizes: list[int], pane_rows: int) -> None:
    parts, found = Arrivals(pane_rows), []
    for size in sizes:
        found += parts.numbers(np.full(size, MINUTE_NS), LATEST_NS).tolist()
        again = Arrivals(pane_rows)
        again.restore(parts.state())
        parts = again
    assert found == [number % pane_rows for number in range(sum(sizes))]


def test_panes_of_rows_are_looked_at_whole_however_fast_they_come() -> None:
    rows = batch(np.zeros(5 * WHOLE, np.int64))
    Arrivals(pane_rows=WHOLE).number(rows, LATEST_NS)
    assert sampled(rows).batch is rows
    rows = batch(np.zeros(4 * WHOLE, np.int64))
    Arrivals(pane_rows=2 * WHOLE).number(rows, LATEST_NS)
    first, second = (set(levels(rows)[start : start + WHOLE].tolist()) for start in (2 * WHOLE, 3 * WHOLE))
    assert (first, second) == ({1}, {0, 2})


@pytest.mark.parametrize("saved", [None, 3, [], [1], ["1", 2], [1, -2], [1.0, 2], [True, 1], [2**70, 1], {"a": 1}])
def test_a_state_that_is_none_begins_again(saved: object) -> None:
    arrivals = Arrivals()
    arrivals.restore(saved)
    assert arrivals.state() == Arrivals().state()


def test_a_clock_that_is_ahead_does_not_end_the_sample() -> None:
    arrivals = Arrivals()
    arrivals.numbers(np.array([10**6 * MINUTE_NS]), 5 * MINUTE_NS)
    assert arrivals.numbers(np.array([6 * MINUTE_NS]), 6 * MINUTE_NS).tolist() == [0]


def test_a_service_whose_clock_was_ahead_counts_minutes_again_once_it_is_right() -> None:
    ahead = Arrivals()
    ahead.numbers(np.array([10**6 * MINUTE_NS]), 10**6 * MINUTE_NS)
    arrivals = Arrivals()
    arrivals.restore(ahead.state())
    latest_ns = 16 * MINUTE_NS  # ten minutes later than now
    assert arrivals.numbers(np.full(2, 6 * MINUTE_NS), latest_ns).tolist() == [1, 2]
    assert arrivals.numbers(np.full(2, 17 * MINUTE_NS), latest_ns + 11 * MINUTE_NS).tolist() == [0, 1]
    assert arrivals.numbers(np.full(2, 18 * MINUTE_NS), latest_ns + 12 * MINUTE_NS).tolist() == [0, 1]


@pytest.mark.parametrize("came", [0, 3000, 5 * WHOLE, 2**40, 2**60])
@pytest.mark.parametrize("whole", [WHOLE, 512, 5461])
def test_weights_stand_for_all_rows(came: int, whole: int) -> None:
    arrivals, rows = Arrivals(), batch(np.zeros(200_000, np.int64))
    arrivals.restore([0, came])
    arrivals.number(rows, LATEST_NS)
    weights = stands_for(levels(rows, whole))
    error = np.sqrt((weights * (weights - 1.0)).sum()) or 2.0**LEVELS
    assert abs(weights.sum() - 200_000) <= 4.0 * error
    if came < 2**40:
        assert (levels(rows)[levels(rows, min(whole, WHOLE)) > 0] > 0).all()


def test_a_piece_has_the_sample_of_the_whole() -> None:
    rows = batch(np.zeros(3 * WHOLE, np.int64))
    Arrivals().number(rows, LATEST_NS)
    whole = sampled(rows)
    pieces = [sampled(rows.take(slice(start, start + 700))) for start in range(0, len(rows), 700)]
    np.testing.assert_array_equal(np.concatenate([each.batch.ids for each in pieces]), whole.batch.ids)
    np.testing.assert_array_equal(np.concatenate([each.weights for each in pieces]), whole.weights)
    for each in (whole, *pieces):
        numbers = each.batch.features["x"].numbers
        assert numbers is not None
        np.testing.assert_array_equal(np.flatnonzero(np.isin(rows.ids[:, 0], each.batch.ids[:, 0])), numbers)
    assert WHOLE < len(whole.rows) < 2 * WHOLE


def test_rows_without_an_id_are_chosen_by_their_number() -> None:
    rows = batch(np.zeros(2 * WHOLE, np.int64), np.zeros((2 * WHOLE, 2), np.uint64))
    Arrivals().number(rows, LATEST_NS)
    assert len(sampled(rows).rows) == WHOLE + WHOLE // 2


def test_rows_without_numbers_are_all_looked_at() -> None:
    rows = batch(np.zeros(3 * WHOLE, np.int64))
    assert sampled(rows).batch is rows
    assert (levels(rows, 1) == 1).all()
