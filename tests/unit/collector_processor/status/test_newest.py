"""The newest measurements of each model: of one window, bounded, forgotten with their model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.status.newest import Newest
from collector_processor.status.state import LastWindow
from otel_ml import semconv


def gauge(name: str, value: float, time_ns: int, model: str = "fraud", **more: str) -> Measurement:
    attributes = ((semconv.MODEL_NAME, model), (semconv.MODEL_VERSION, "1"), *more.items())
    return Measurement(name, value, "1", attributes, time_ns)


def count(value: float, time_ns: int, model: str = "fraud") -> Measurement:
    attributes = ((semconv.MODEL_NAME, model), (semconv.MODEL_VERSION, "1"))
    return Measurement(semconv.PREDICTIONS, value, "1", attributes, time_ns, "counter")


FRAUD, CHURN = ModelKey("fraud", "1"), ModelKey("churn", "1")


def values(newest: Newest, key: ModelKey = FRAUD) -> list[float]:
    return sorted(item.value for item in newest.of(key)[0])


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def test_a_newer_window_takes_the_place_of_the_last_and_counters_stay(telemetry: Telemetry) -> None:
    newest = Newest(100, telemetry)
    newest.take([gauge(semconv.WINDOW_ROWS, 500, 60), gauge(semconv.WINDOW_LABELS, 7, 60), gauge("a", 1, 60, x="y")])
    newest.take([count(900, 61)])
    assert newest.of(FRAUD)[1] == LastWindow(60, 500, 7)
    newest.take([gauge(semconv.WINDOW_ROWS, 400, 120), gauge(semconv.WINDOW_ROWS, 1, 90), count(901, 121)])
    assert values(newest) == [400, 901]
    assert newest.of(FRAUD)[1] == LastWindow(120, 400, 0)
    assert newest.of(CHURN) == ((), None)


def test_series_beyond_the_limit_are_left_out_and_counted(telemetry: Telemetry) -> None:
    newest = Newest(3, telemetry)
    newest.take([gauge("a", number, 60, feature=str(number)) for number in range(5)])
    assert values(newest) == [0, 1, 2]
    newest.take([gauge("a", 9, 60, CHURN.name)])
    assert values(newest, CHURN) == []
    labels = {"stage": "status", "reason": "series_limit", "intentional": "true"}
    assert telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) == 3
    newest.forget_all_but([CHURN])
    newest.take([gauge("a", 9, 60, CHURN.name)])
    assert (values(newest), values(newest, CHURN)) == ([], [9])


STEPS = st.lists(
    st.tuples(st.sampled_from(["fraud", "churn"]), st.integers(0, 3), st.integers(0, 4), st.booleans(), st.booleans()),
    max_size=40,
)


@given(STEPS)
def test_what_is_shown_is_of_one_window_and_within_the_limit(steps: list[tuple[str, int, int, bool, bool]]) -> None:
    newest = Newest(4, Telemetry())
    for model, name, time_ns, counter, forget in steps:
        if forget:
            newest.forget_all_but([ModelKey(model, "1")])
        newest.take([count(1.0, time_ns, model) if counter else gauge(f"g{name}", 1.0, time_ns, model)])
        shown = [newest.of(key)[0] for key in (FRAUD, CHURN)]
        assert sum(map(len, shown)) <= 4
        for items in shown:
            assert len({item.time_ns for item in items if item.kind == "gauge"}) <= 1
