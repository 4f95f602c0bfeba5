from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector_processor.exporters.otlp.delta import Deltas
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry


def total(value: float, time_ns: int, start_ns: int = 0, series: str = "a") -> Measurement:
    return Measurement("ml.predictions", value, "{prediction}", (("class", series),), time_ns, "counter", start_ns)


def test_gauges_stay_as_they_are() -> None:
    gauge = Measurement("ml.window.rows", 3.0, "{row}", (), 1)
    assert Deltas(Telemetry()).of([gauge, gauge])[0] == [gauge, gauge]


def test_totals_of_one_batch_follow_each_other() -> None:
    found, _ = Deltas(Telemetry()).of([total(3, 10), total(5, 20), total(5, 30)])
    assert [(item.value, item.start_ns, item.time_ns) for item in found] == [(3, 0, 10), (2, 10, 20), (0, 20, 30)]


def test_a_counter_that_starts_anew_counts_in_full() -> None:
    deltas = Deltas(Telemetry())
    deltas.delivered(deltas.of([total(100, 10)])[1])
    (item,), _ = deltas.of([total(120, 30, start_ns=20)])
    assert (item.value, item.start_ns) == (120, 20)


def test_an_older_or_repeated_point_is_left_out() -> None:
    deltas = Deltas(Telemetry())
    deltas.delivered(deltas.of([total(3, 10)])[1])
    assert deltas.of([total(3, 10), total(4, 9)])[0] == []
    assert [item.value for item in deltas.of([total(5, 11)])[0]] == [2]


def test_series_beyond_the_limit_are_dropped_and_counted() -> None:
    telemetry = Telemetry()
    deltas = Deltas(telemetry, limit=2)
    found, totals = deltas.of([total(1, 1, series="a"), total(1, 1, series="b"), total(1, 1, series="c")])
    deltas.delivered(totals)
    assert [item.attributes[0][1] for item in found] == ["a", "b"]
    assert [item.attributes[0][1] for item in deltas.of([total(2, 2, series="c"), total(2, 2, series="a")])[0]] == ["a"]
    labels = {"stage": "export", "reason": "delta_series_limit", "intentional": "true"}
    assert telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_increases_that_arrive_add_up_to_the_total(steps: list[tuple[int, bool]]) -> None:
    deltas, arrived, value, known = Deltas(Telemetry()), 0.0, 0, 0
    for time_ns, (added, arrives) in enumerate(steps, start=1):
        value += added
        found, totals = deltas.of([total(value, time_ns)])
        if arrives:
            deltas.delivered(totals)
            arrived += sum(item.value for item in found)
            known = value
    assert arrived == known
