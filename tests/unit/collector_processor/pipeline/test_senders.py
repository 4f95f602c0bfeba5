"""From what senders report to what is new: every count once, whatever order, repetition and restarts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns import codec
from collector_processor.columns.batch import ModelKey
from collector_processor.columns.observations import CUMULATIVE, DELTA, ObservationBatch
from collector_processor.pipeline import senders as module
from collector_processor.pipeline.senders import News, Senders

S = 10**9
SINCE = 1000 * S
HOUR = 3600 * S
Point = tuple[int, float, int, int]
"""Place, count, time and start in seconds after the service's start."""


def batch(points: Sequence[Point], temporality: str = CUMULATIVE, sender: str = "a") -> ObservationBatch:
    time_ns = np.array([SINCE + time * S for _, _, time, _ in points], np.int64)
    start_ns = np.array([SINCE + start * S for *_, start in points], np.int64)
    counts = np.array([count for _, count, _, _ in points], np.float64)
    return ObservationBatch(ModelKey("m"), sender, "id", temporality, "", start_ns, time_ns, counts)


def news(senders: Senders, points: Sequence[Point], temporality: str = CUMULATIVE, sender: str = "a") -> News:
    places = np.array([place for place, *_ in points], np.int64)
    return senders.news(batch(points, temporality, sender), places, HOUR, SINCE)[0]


def test_cumulative_counts_give_what_came_since_the_point_before() -> None:
    senders = Senders(SINCE)
    assert news(senders, [(0, 5, 60, 1), (1, 2, 60, 1)]).counts.tolist() == [5, 2]
    assert news(senders, [(0, 9, 120, 1), (1, 2, 120, 1)]).counts.tolist() == [4, 0]


def test_duplicates_and_older_points_change_nothing() -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 5, 60, 1)])
    news(senders, [(0, 9, 120, 1)])
    assert news(senders, [(0, 9, 120, 1)]).counts.tolist() == [0]
    late = news(senders, [(0, 7, 90, 1)])
    assert late.counts.tolist() == [0]
    assert late.fell == 0
    assert news(senders, [(0, 10, 180, 1)]).counts.tolist() == [1]


def test_a_new_start_counts_from_zero_and_processes_with_one_name_stay_apart() -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 50, 60, 1)])
    assert news(senders, [(0, 3, 120, 61)]).counts.tolist() == [3]
    assert news(senders, [(0, 60, 121, 1)]).counts.tolist() == [10]
    assert news(senders, [(0, 5, 180, 61)]).counts.tolist() == [2]


def test_what_began_before_the_service_knew_the_sender_is_a_baseline() -> None:
    senders = Senders(SINCE)
    first = news(senders, [(0, 5_000, 60, -500)])
    assert (first.counts.tolist(), first.baseline) == ([0], 1)
    # Another part of the same collection is a baseline, too; a series that comes later was at zero.
    assert news(senders, [(1, 700, 60, -500)]).counts.tolist() == [0]
    assert news(senders, [(0, 5_010, 120, -500), (2, 3, 120, -500)]).counts.tolist() == [10, 3]


def test_a_count_that_falls_without_a_new_start_is_left_out_and_counted() -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 50, 60, 1)])
    fallen = news(senders, [(0, 20, 120, 1)])
    assert (fallen.counts.tolist(), fallen.fell) == ([0], 1)
    assert news(senders, [(0, 25, 180, 1)]).counts.tolist() == [5]


def test_without_a_start_the_first_point_is_a_baseline_and_a_fall_is_a_restart() -> None:
    senders = Senders(SINCE)
    unknown = -SINCE // S
    assert news(senders, [(0, 50, 60, unknown)]).counts.tolist() == [0]
    assert news(senders, [(0, 60, 120, unknown)]).counts.tolist() == [10]
    restarted = news(senders, [(0, 4, 180, unknown)])
    assert (restarted.counts.tolist(), restarted.fell) == ([4], 0)


def test_counts_over_a_longer_time_than_a_window_are_left_out() -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 5, 60, 1)])
    gap = news(senders, [(0, 500, 60 + 3601, 1)])
    assert (gap.counts.tolist(), gap.stale) == ([0], 1)
    assert news(senders, [(0, 505, 3720, 1)]).counts.tolist() == [5]
    assert news(Senders(SINCE), [(0, 5, 5000, 1)]).stale == 1
    assert news(Senders(SINCE), [(0, 5, 5000, 1)], DELTA).stale == 1


def test_deltas_count_once_in_any_order() -> None:
    senders = Senders(SINCE)
    assert news(senders, [(0, 5, 120, 60), (1, 1, 120, 60)], DELTA).counts.tolist() == [5, 1]
    assert news(senders, [(0, 2, 60, 1)], DELTA).counts.tolist() == [2]
    assert news(senders, [(0, 5, 120, 60), (2, 4, 120, 60)], DELTA).counts.tolist() == [0, 4]
    for time in range(3, 30):
        news(senders, [(0, 1, time * 60, (time - 1) * 60)], DELTA)
    forgotten = news(senders, [(0, 5, 120, 60)], DELTA)
    assert (forgotten.counts.tolist(), forgotten.stale) == ([0], 1)


def test_senders_and_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SENDERS", 2)
    monkeypatch.setattr(module, "MAX_SERIES", 3)
    senders = Senders(SINCE)
    for name in ("a", "b", "c"):
        news(senders, [(0, 5, 60, 1)], sender=name)
    assert len(senders.state()["series"]) == 2
    places = np.arange(5)
    many = batch([(place, 1.0, 120 + place, 1) for place in places.tolist()], sender="c")
    _, gone = senders.news(many, places, HOUR, SINCE + 200 * S)
    assert gone == 2
    # What was forgotten comes again as a baseline, not as news.
    assert news(senders, [(0, 6, 300, 1)], sender="a").baseline == 1


CALLS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(CALLS)
def test_however_requests_come_no_count_is_lost_or_comes_twice(
    steps: list[tuple[int, int, bool, bool, bool]],
) -> None:
    """Two processes of one name, each cumulative; requests are lost, repeated, and processes restart."""
    senders, total, expected = Senders(SINCE), 0.0, 0.0
    counts, starts = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [1, 2]
    delivered = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    for step, (place, more, second, lost, restart) in enumerate(steps, 1):
        process, time = int(second), 60 * step
        if restart:
            counts[process], delivered[process] = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
            starts[process] = time - 30 + process
        counts[process][place] += more
        if lost:
            continue
        points = [(place, count, time, starts[process]) for place, count in enumerate(counts[process]) if count]
        for _ in range(2):  # the answer to the first was lost
            total += news(senders, points).counts.sum() if points else 0.0
        expected += sum(counts[process]) - sum(delivered[process])
        delivered[process] = [*counts[process]]
        if step % 7 == 0:
            restarted = Senders(SINCE + time * S)
            head, pieces = codec.pack(senders.state())
            restarted.restore(codec.unpack(head, bytearray(b"".join(pieces)), copy=True))
            senders = restarted
    assert total == expected


@pytest.mark.parametrize("change", ["short", "unsorted", "type", "missing"])
def test_a_state_that_is_not_one_is_refused(change: str) -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 5, 60, 1), (1, 5, 60, 1)])
    state = senders.state()
    arrays = state["series"][0][1]
    if change == "short":
        arrays["last"] = arrays["last"][:1]
    elif change == "unsorted":
        arrays["keys"] = arrays["keys"][::-1]
    elif change == "type":
        arrays["keys"] = arrays["keys"].astype(np.float64)
    else:
        del arrays["seen_ns"]
    with pytest.raises((ValueError, KeyError)):
        Senders(SINCE).restore(state)


INSTEAD = [None, True, -1, 2**70, np.nan, np.inf, "x", [], {}, [1], np.zeros(3), np.zeros((2, 2), np.int64)]


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a state with another value in one place."""
    if not path:
        return value
    copied = dict(tree) if isinstance(tree, dict) else list(tree)
    copied[path[0]] = replaced(tree[path[0]], path[1:], value)
    return copied


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, (dict, list, tuple)):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


def test_whatever_a_state_holds_counting_goes_on() -> None:
    senders = Senders(SINCE)
    news(senders, [(0, 5, 60, 1), (1, 5, 60, 1)])
    state = senders.state()
    for path in places(state):
        for value in INSTEAD:
            other = Senders(SINCE)
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
                other.restore(replaced(state, path, value))
            assert news(other, [(9, 4, 120, 61)]).counts.shape == (1,)
