"""What holds exactly at a bound: a threshold is not breached by itself, and the shortest times are allowed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.alerts.rules import AlertRule, Condition
from collector_processor.alerts.settings import Alerts
from otel_ml import semconv

SECOND_NS = 10**9


@pytest.mark.parametrize("condition", ["above", "below"])
@given(threshold=st.floats(-1e9, 1e9))
def test_a_value_at_its_threshold_is_no_breach_and_the_next_one_is(condition: Condition, threshold: float) -> None:
    rule = AlertRule("rule", semconv.DRIFT_SHARE, condition, threshold=threshold, clear=threshold)
    beyond = math.nextafter(threshold, math.inf if condition == "above" else -math.inf)
    assert not rule.breached(threshold)
    assert rule.cleared(threshold)
    assert rule.breached(beyond)
    assert not rule.cleared(beyond)


@pytest.mark.parametrize("condition", ["above", "below"])
@given(threshold=st.floats(-1e9, 1e9), distance=st.floats(1e-3, 1e9))
def test_between_threshold_and_clear_nothing_begins_and_nothing_is_over(
    condition: Condition, threshold: float, distance: float
) -> None:
    sign = 1.0 if condition == "above" else -1.0
    clear = threshold - sign * distance
    between = (threshold + clear) / 2
    rule = AlertRule("rule", semconv.DRIFT_SHARE, condition, threshold=threshold, clear=clear)
    assert not rule.breached(between)
    assert not rule.cleared(between)
    assert rule.cleared(clear)


def test_a_second_is_the_shortest_time_and_is_taken() -> None:
    alerts = Alerts.model_validate({
        "repeat": "1s", "defaults": False, "rules": {"quiet": {"measurement": semconv.DRIFT_SHARE, "absent_for": "1s"}}
    })  # fmt: skip
    assert alerts.repeat == SECOND_NS
    [rule] = alerts.resolved()
    assert rule.absent_ns == SECOND_NS


@pytest.mark.parametrize("time", ["999ms", "999999999ns"])
def test_anything_shorter_is_refused(time: str) -> None:
    with pytest.raises(ValueError, match="repeat"):
        Alerts.model_validate({"repeat": time})
    short = Alerts.model_validate({"rules": {"quiet": {"measurement": semconv.DRIFT_SHARE, "absent_for": time}}})
    with pytest.raises(ValueError, match=r"alerts\.rules\.quiet\.absent_for: must be at least 1s"):
        short.resolved()
