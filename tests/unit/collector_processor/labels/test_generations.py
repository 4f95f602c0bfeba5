"""The bounded store: what it keeps, in which order it lets go, and for how long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.labels.generations import MOST_GENERATIONS, PARTS, Dropped, Generations, Places

DEFAULTS = {
    "small": np.array(-1, np.int16),
    "real": np.array(np.nan),
    "wide": np.array(np.nan, np.float32),
    "groups": np.array(-1, np.int16),
}
DAY = 86_400 * 10**9


def ids_of(numbers):
    numbers = np.asarray(numbers, np.uint64).reshape(-1)
    return np.stack([numbers * np.uint64(0x9E3779B97F4A7C15), numbers], axis=1)


def store_of(capacity=800, wait_ns=8 * DAY):
    return Generations(DEFAULTS, capacity=capacity, wait_ns=wait_ns)


def insert(store, numbers, time_ns=0, **values):
    numbers = np.asarray(numbers)
    times = np.broadcast_to(np.asarray(time_ns, np.int64), numbers.shape).copy()
    return store.insert(ids_of(numbers), times, {name: np.asarray(value) for name, value in values.items()})


def known(store, numbers):
    return store.find(ids_of(numbers)).hits().tolist()


def test_the_newest_row_of_an_id_is_found_in_whatever_generation():
    store = store_of(capacity=80)  # generations of ten
    insert(store, range(25), small=np.arange(25))
    insert(store, range(5), small=100 + np.arange(5))
    found = store.find(ids_of([0, 4, 5, 24]))
    assert store.take("small", found).tolist() == [100, 104, 5, 24]


def test_a_settled_row_is_found_before_newer_ones():
    store = store_of(capacity=80)
    insert(store, range(15), small=np.arange(15))
    store.settle(store.find(ids_of([3, 12])))
    insert(store, range(15), small=100 + np.arange(15))
    found = store.find(ids_of([3, 4, 12, 13]))
    assert store.take("small", found).tolist() == [3, 104, 12, 113]
    assert store.settled(found).tolist() == [True, False, True, False]


def test_over_capacity_the_oldest_generation_leaves_as_a_whole():
    store = store_of(capacity=80)
    assert insert(store, range(80)) == Dropped()
    assert insert(store, [80]) == Dropped(10, 0)
    assert known(store, [9, 10, 80]) == [False, True, True]
    assert len(store) == 71


def test_dropped_rows_are_told_apart_by_whether_they_were_settled():
    store = store_of(capacity=80)
    insert(store, range(80))
    store.settle(store.find(ids_of([0, 1, 2])))
    assert insert(store, [80]) == Dropped(7, 3)


def test_waiting_counts_each_id_of_a_generation_once():
    store = store_of()
    insert(store, [1, 1, 2, 3])
    store.settle(store.find(ids_of([3])))
    assert (store.waiting, len(store)) == (2, 4)
    store.settle(store.find(ids_of([3])))
    assert store.waiting == 2


@settings(max_examples=40, deadline=None)
@given(capacity=st.integers(1, 100), sizes=st.lists(st.integers(0, 150), max_size=12))
def test_rows_never_exceed_the_capacity_and_the_newest_stay(capacity, sizes):
    store, start, dropped = store_of(capacity), 0, 0
    for size in sizes:
        dropped += sum(insert(store, range(start, start + size), np.arange(start, start + size)))
        start += size
        assert len(store) <= capacity
        assert len(store) + dropped == start
        assert len(store) >= min(start, capacity - max(1, capacity // PARTS) + 1)
        assert all(known(store, range(start - len(store), start)))
        assert not any(known(store, range(start - len(store))))


def test_rows_wait_at_least_as_long_as_asked_and_at_most_an_eighth_longer():
    store, wait = store_of(capacity=10**6), 8 * DAY
    times = np.arange(0, 20 * DAY, DAY // 10)
    for number, time_ns in enumerate(times.tolist()):
        insert(store, [number], time_ns)
        store.expire(time_ns)
        alive = np.array(known(store, range(number + 1)))
        age = time_ns - times[: number + 1]
        assert alive[age <= wait].all()
        assert not alive[age > wait + wait // PARTS + DAY // 5].any()


def test_waiting_goes_on_while_nothing_comes():
    store = store_of()
    insert(store, [1], 100 * DAY)
    store.expire(100 * DAY)
    store.expire(108 * DAY)
    assert known(store, [1]) == [True]
    assert store.expire(108 * DAY + 1) == Dropped(1, 0)
    assert len(store) == 0


def test_history_replayed_years_later_waits_as_long_as_live_traffic():
    store, now = store_of(), 4000 * DAY
    for day in range(30):
        insert(store, [day], day * DAY)
        store.expire(now + day)
    alive = known(store, range(30))
    assert all(alive[21:])
    assert not any(alive[:19])
    store.expire(now + 29 + 9 * DAY)  # and afterwards the clock runs on
    assert len(store) == 0


def test_rows_of_the_far_future_do_not_stay_for_ever():
    store, now = store_of(), 100 * DAY
    insert(store, [1, 2], [now, 10**6 * DAY // 100])
    assert store.expire(now) == Dropped()
    assert known(store, [1, 2]) == [True, True]
    store.expire(now + 8 * DAY + 1)
    assert len(store) == 0


def test_extreme_times_are_no_error():
    limits = np.iinfo(np.int64)
    store = store_of()
    insert(store, [1, 2], [limits.min, limits.max])
    store.expire(0)
    insert(store, [3], limits.min)
    store.expire(10**18)
    assert len(store) <= 3


def test_wild_times_do_not_make_a_generation_of_each_row():
    store = store_of(capacity=10**6)
    for number in range(200):
        insert(store, [number], number * 2 * DAY if number % 2 else 0)
    assert len(store._generations) <= MOST_GENERATIONS
    assert all(known(store, range(200)))


def test_times_that_go_back_and_forth_stay_in_one_generation():
    store = store_of()
    for number in range(100):
        insert(store, [number], 5 * DAY * (number % 2))
    assert len(store._generations) <= 2


def test_a_column_takes_no_memory_before_it_says_something():
    store = store_of(capacity=8000)
    insert(store, range(200), small=np.full(200, -1), real=np.full(200, np.nan))
    before, room = store.nbytes, 256
    insert(store, range(200, 205), small=np.full(5, 7))
    assert store.nbytes == before + 2 * room
    store.settle(store.find(ids_of([1])))
    assert store.nbytes == before + 3 * room
    assert store.take("small", store.find(ids_of([0, 204]))).tolist() == [-1, 7]
    assert np.isnan(store.take("real", store.find(ids_of([0])))).all()


def test_integers_that_do_not_fit_widen_their_column():
    store = store_of(capacity=80)
    insert(store, range(3), small=np.array([1, 2, 3], np.int64))
    insert(store, range(3, 15), small=np.arange(40_000, 40_012))
    insert(store, range(15, 18), small=np.array([-1, 5, -40_000]))
    found = store.find(ids_of(range(18)))
    assert store.take("small", found).tolist() == [1, 2, 3, *range(40_000, 40_012), -1, 5, -40_000]


def test_columns_of_columns_grow_in_width():
    store = store_of(capacity=80)
    insert(store, range(2), wide=np.array([[0.5], [0.25]]))
    insert(store, range(2, 4), wide=np.array([[0.5, 0.125], [0.25, 1.0]]))
    insert(store, range(4, 12), wide=np.full((8, 1), 2.0))
    values = store.take("wide", store.find(ids_of([0, 3, 11])), 3)
    np.testing.assert_equal(values, [[0.5, np.nan, np.nan], [0.25, 1.0, np.nan], [2.0, np.nan, np.nan]])


def test_a_column_of_no_columns_is_no_error():
    store = store_of()
    insert(store, range(2))
    assert store.take("groups", store.find(ids_of([0, 1])), 0).shape == (2, 0)
    assert store.take("groups", store.find(ids_of([0, 1])), 2).tolist() == [[-1, -1], [-1, -1]]


def test_values_put_across_generations_are_there():
    store = store_of(capacity=80)
    insert(store, range(40))
    found = store.find(ids_of([35, 2, 17]))
    store.put("real", found, np.array([3.0, 1.0, 2.0]))
    store.put("time_ns", found, np.array([30, 10, 20]))
    found = store.find(ids_of([2, 17, 18, 35]))
    np.testing.assert_equal(store.take("real", found), [1.0, 2.0, np.nan, 3.0])
    assert store.take("time_ns", found).tolist() == [10, 20, 0, 30]


def test_nothing_in_nothing_out():
    store = store_of()
    assert insert(store, []) == Dropped()
    assert store.expire(5) == Dropped()
    assert len(store.find(ids_of([])).row) == 0
    assert known(store, [1]) == [False]
    none = Places(np.empty(0, np.int32), np.empty(0, np.int32))
    assert len(store.take("real", none)) == 0
    store.settle(none)
    assert (store.waiting, store.nbytes, store.oldest_ns) == (0, 0, None)


@pytest.mark.parametrize(("capacity", "wait_ns"), [(0, 1), (1, 0), (-5, 1)])
def test_limits_below_one_are_refused(capacity, wait_ns):
    with pytest.raises(ValueError, match="must be at least 1"):
        Generations(DEFAULTS, capacity=capacity, wait_ns=wait_ns)


def test_snapshot_brings_everything_back_that_could_be_found():
    store = store_of(capacity=80)
    insert(store, range(35), np.arange(35), small=np.arange(35), wide=np.ones((35, 2)))
    store.settle(store.find(ids_of([3, 33])))
    insert(store, [3, 4, 33], 99, small=np.array([103, 104, 133]))
    restored = store_of(capacity=80)
    assert restored.load(store.arrays()) == Dropped()
    found, again = (one.find(ids_of(range(40))) for one in (store, restored))
    assert again.hits().tolist() == found.hits().tolist()
    found, again = found.take(found.hits()), again.take(again.hits())
    for name in ("small", "time_ns", "wide"):
        width = 2 if name == "wide" else None
        np.testing.assert_equal(restored.take(name, again, width), store.take(name, found, width))
    assert restored.settled(again).tolist() == store.settled(found).tolist()
    assert restored.waiting == store.waiting
    insert(restored, [50], 100)
    assert known(restored, [50, 4]) == [True, True]


def test_a_snapshot_larger_than_the_capacity_loses_its_oldest():
    store = store_of(capacity=80)
    insert(store, range(80))
    smaller = store_of(capacity=25)
    assert smaller.load(store.arrays()) == Dropped(60, 0)
    assert known(smaller, [59, 60, 79]) == [False, True, True]
    insert(smaller, range(100, 130))
    assert len(smaller) <= 25


def test_a_snapshot_of_nothing_is_nothing():
    restored = store_of()
    assert restored.load(store_of().arrays()) == Dropped()
    assert len(restored) == 0


def test_a_snapshot_is_independent_of_the_store():
    store = store_of()
    insert(store, [1], small=np.array([5]))
    arrays = store.arrays()
    store.put("small", store.find(ids_of([1])), np.array([6]))
    restored = store_of()
    restored.load(arrays)
    assert restored.take("small", restored.find(ids_of([1]))).tolist() == [5]


def test_a_new_generation_has_the_memory_of_the_one_that_the_capacity_pushes_out():
    store = store_of(capacity=800)
    insert(store, range(800), small=np.arange(800), real=np.arange(800.0))
    oldest = store._generations[0]
    assert insert(store, range(800, 850), small=np.arange(50), real=np.full(50, np.nan)) == Dropped(100, 0)

    newest = store._generations[-1]
    assert np.shares_memory(newest._ids, oldest._ids)
    assert np.shares_memory(newest._table.slots, oldest._table.slots)
    assert known(store, [99, 100, 799, 800, 849, 850]) == [False, True, True, True, True, False]
    found = store.find(ids_of([800, 849, 799]))
    assert store.take("small", found).tolist() == [0, 49, 799]
    assert np.isnan(store.take("real", found)[:2]).all()
