"""Events that wait for their other half: joined in any order, never more than the limits, all of them counted."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from collector_processor.receivers.inference_logger.events import Event, Side
from collector_processor.receivers.inference_logger.pairs import Pair, Pairs

KINDS: dict[Side, str] = {"request": "x.inference.request", "response": "x.inference.response"}


def event(side: Side, identity: str, size: int = 0, component: str = "") -> Event:
    return Event(KINDS[side], side, identity, component=component, body=bytes(size))


def pairs(counts: Counter[tuple[str, str]], events: int = 100, size: int = 10**9, remembered: int = 100) -> Pairs:
    def evicted(side: Side, why: str, count: int) -> None:
        counts[side, why] += count

    return Pairs(60.0, events, size, evicted, remembered)


def test_a_response_may_come_first() -> None:
    store = pairs(Counter())
    assert store.meet(event("response", "a"), 7, 0.0) == "waits"
    met = store.meet(event("request", "a"), 5, 1.0)
    assert met == Pair(event("request", "a"), event("response", "a"), 5)
    assert (len(store), store.bytes) == (0, 0)


def test_the_components_of_one_service_may_log_one_id() -> None:
    store = pairs(Counter())
    assert store.meet(event("request", "a", component="transformer"), 0, 0.0) == "waits"
    assert store.meet(event("response", "a", component="predictor"), 0, 0.0) == "waits"
    assert isinstance(store.meet(event("request", "a", component="predictor"), 0, 0.0), Pair)


def test_copies_are_recognized_before_and_after_the_pair_is_complete() -> None:
    store = pairs(Counter())
    assert store.meet(event("request", "a"), 0, 0.0) == "waits"
    assert store.meet(event("request", "a"), 0, 0.0) == "copy"
    assert isinstance(store.meet(event("response", "a"), 0, 0.0), Pair)
    assert store.meet(event("response", "a"), 0, 0.0) == "copy"
    assert store.meet(event("request", "a"), 0, 0.0) == "copy"


def test_what_is_remembered_is_bounded() -> None:
    store = pairs(Counter(), remembered=1)
    for identity in "ab":
        store.meet(event("request", identity), 0, 0.0)
        assert isinstance(store.meet(event("response", identity), 0, 0.0), Pair)
    assert store.meet(event("request", "b"), 0, 0.0) == "copy"
    assert store.meet(event("request", "a"), 0, 0.0) == "waits"


def test_events_expire_the_oldest_first() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    store = pairs(counts)
    store.meet(event("request", "a"), 0, 0.0)
    store.meet(event("response", "b"), 0, 30.0)
    store.expire(59.9)
    assert not counts
    store.expire(60.0)
    assert counts == {("request", "expired"): 1}
    assert store.meet(event("response", "a"), 0, 60.0) == "waits"
    store.stop()
    assert counts == {("request", "expired"): 1, ("response", "stopped"): 2}


def test_ten_thousand_lonely_requests_stay_within_both_limits() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    store = pairs(counts, events=1000)
    for number in range(10_000):
        store.meet(event("request", str(number)), 0, 0.0)
        assert len(store) <= 1000
    assert counts == {("request", "limit"): 9000}
    counts.clear()
    store = pairs(counts, events=10**9, size=2**20)
    for number in range(10_000):
        store.meet(event("request", str(number), size=5000), 0, 0.0)
        assert store.bytes <= 2**20
    assert counts["request", "limit"] == 10_000 - len(store)


def test_an_event_larger_than_the_limit_does_not_wait() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    store = pairs(counts, size=2000)
    assert store.meet(event("request", "a", size=3000), 0, 0.0) == "waits"
    assert (len(store), counts) == (0, {("request", "limit"): 1})


STEPS = st.lists(st.tuples(st.sampled_from(["request", "response"]), st.integers(0, 5), st.floats(0, 50)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_every_event_is_paired_a_copy_evicted_or_waits(steps: list[tuple[Side, int, float]], most: int) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    store, now, paired, copies = pairs(counts, events=most), 0.0, 0, 0
    for side, number, pause in steps:
        now += pause
        met = store.meet(event(side, str(number)), 0, now)
        paired += isinstance(met, Pair)
        copies += met == "copy"
        assert len(store) <= most
    assert len(steps) == 2 * paired + copies + sum(counts.values()) + len(store)
