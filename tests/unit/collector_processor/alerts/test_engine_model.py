"""Any sequence of windows against a machine so simple that it is right by reading it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from collector_processor.alerts.engine import Engine
from collector_processor.alerts.kept import engine_state, restore_engine
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import model_attributes
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

S = 10**9
BEGIN = 1_750_000_000 * S
STALE, HOLD, THRESHOLD, CLEAR = 30, 4, 0.5, 0.3
RULE = AlertRule("drift", semconv.DRIFT_SHARE, "above", threshold=THRESHOLD, clear=CLEAR, hold_ns=HOLD * S)
MODEL = ModelKey("m", "1")


def expected(windows: list[tuple[int, float]]) -> list[bool]:
    """Whether the alert fires after each (seconds since the window before, value)."""
    now = last = 0
    since: int | None = None
    fires = False
    found: list[bool] = []
    for wait, value in windows:
        now += wait
        if wait > STALE:
            fires, since = False, None
        if fires:
            fires = value > CLEAR
            since = None
        elif value > THRESHOLD:
            since = now if since is None else since
            fires = now - since >= HOLD
        else:
            since = None
        last = now
        found.append(fires)
    assert last == now
    return found


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, CLEAR, 0.4, THRESHOLD, 0.51, 1.0])), max_size=40),
    st.sets(st.integers(0, 39)),
)
def test_an_alert_fires_as_the_simple_machine_says_restarts_or_not(windows, restarts):
    engine, now, told = Engine([RULE], Telemetry(), stale_ns=STALE * S), BEGIN, False
    states: list[bool] = []
    for number, (wait, value) in enumerate(windows):
        # The clock is asked every second, also between windows.
        notices = []
        for _ in range(wait):
            now += S
            notices += engine.sweep({MODEL: now}, now)
        engine.judge([Measurement(semconv.DRIFT_SHARE, value, "1", model_attributes(MODEL), now)], now)
        notices += engine.sweep({MODEL: now}, now)
        for notice in notices:
            assert (notice.state == "firing") != told or notice.reason == "repeat"  # news alternate
            told = notice.state == "firing"
        states.append(told)
        if number in restarts:
            state = json.loads(json.dumps(engine_state(engine)))
            engine = Engine([RULE], Telemetry(), stale_ns=STALE * S)
            restore_engine(engine, state, now)
    assert states == expected(windows)


@given(st.lists(st.sampled_from([0.0, CLEAR, 0.4, 0.51, 1.0]), min_size=1, max_size=40), st.integers(1, 40))
def test_a_backlog_is_reported_as_the_same_windows_one_by_one(values, chunk):
    """However many windows close in one call, the notices and the counters are the same."""
    times = [BEGIN + number * S for number in range(len(values))]
    windows = [
        Measurement(semconv.DRIFT_SHARE, value, "1", model_attributes(MODEL), time_ns)
        for value, time_ns in zip(values, times, strict=True)
    ]

    def reported(size: int):
        telemetry = Telemetry()
        engine, notices = Engine([RULE], telemetry, stale_ns=STALE * S), []
        for begin in range(0, len(windows), size):
            engine.judge(windows[begin : begin + size], BEGIN)
            notices += engine.sweep({MODEL: BEGIN}, BEGIN)
        counts = [
            telemetry.registry.get_sample_value(
                "otel_ml_alerts_total", {"rule": "drift", "severity": "warning", "state": state}
            )
            for state in ("firing", "resolved")
        ]
        return [(notice.state, notice.reason, notice.window_ns, notice.value) for notice in notices], counts

    assert reported(chunk) == reported(1)
