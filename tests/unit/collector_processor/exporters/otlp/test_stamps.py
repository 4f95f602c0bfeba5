"""Times of gauges: grow from window to window, are now for the newest, and are left alone where they must be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collector_processor.exporters.otlp.stamps import STEP_NS, EmissionStamps
from collector_processor.monitors.base import Exemplar, Measurement

NOW = 1_800_000_000 * 10**9


def gauge(end_ns: int, value: float = 1.0) -> Measurement:
    return Measurement("ml.window.rows", value, "{row}", (("ml.model.name", "m"),), end_ns)


def test_the_newest_window_is_now_and_earlier_ones_just_before_it_in_order() -> None:
    stamped = EmissionStamps().stamped([gauge(60), gauge(180), gauge(120), gauge(60)], NOW)
    assert [item.time_ns for item in stamped] == [NOW - 2 * STEP_NS, NOW, NOW - STEP_NS, NOW - 2 * STEP_NS]


def test_nothing_but_the_time_of_a_gauge_is_changed() -> None:
    counter = Measurement("ml.predictions", 7.0, "{prediction}", (("a", "b"),), 5, "counter", 1)
    exemplars = (Exemplar("1" * 32, "2" * 16),)
    [changed, kept] = EmissionStamps().stamped([replace(gauge(60, 3.5), exemplars=exemplars), counter], NOW)
    assert kept == counter
    assert changed == replace(gauge(NOW, 3.5), exemplars=exemplars)


def test_no_measurements_are_none_and_leave_no_trace() -> None:
    stamps = EmissionStamps()
    assert stamps.stamped([], NOW) == []
    assert stamps.stamped([gauge(60)], NOW - 1)[0].time_ns == NOW - 1


@given(st.lists(st.tuples(st.integers(-(10**15), 10**15), st.sets(st.integers(0, 2**62), min_size=1, max_size=5))))
def test_stamps_grow_even_where_the_clock_is_set_back(batches: list[tuple[int, set[int]]]) -> None:
    stamps, last_ns = EmissionStamps(), 0
    for shift_ns, ends_ns in batches:
        stamped = stamps.stamped([gauge(end_ns) for end_ns in sorted(ends_ns)], NOW + shift_ns)
        for item in stamped:
            assert item.time_ns >= last_ns + STEP_NS
            last_ns = item.time_ns
