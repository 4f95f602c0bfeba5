from __future__ import annotations

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.exporters.naming import label_name, labels, prometheus_name
from otel_ml import semconv

Kind = Literal["gauge", "counter"]


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        (semconv.DRIFT_SCORE, semconv.UNIT_SCORE, "gauge", "ml_drift_score"),
        (semconv.QUALITY_MISSING, semconv.UNIT_RATIO, "gauge", "ml_quality_missing_ratio"),
        (semconv.PREDICTIONS, semconv.UNIT_PREDICTION, "counter", "ml_predictions_total"),
        (semconv.LATENCY_P50, semconv.UNIT_SECOND, "gauge", "ml_latency_p50_seconds"),
        (semconv.LABELS_DELAY, semconv.UNIT_SECOND, "gauge", "ml_labels_delay_seconds"),
        (semconv.WINDOW_ROWS, semconv.UNIT_ROW, "gauge", "ml_window_rows"),
        (semconv.DRIFT_P_VALUE, semconv.UNIT_RATIO, "gauge", "ml_drift_p_value_ratio"),
        (semconv.PERFORMANCE + "mae", semconv.UNIT_VALUE, "gauge", "ml_performance_mae"),
        (semconv.PERFORMANCE + "mae", "min", "gauge", "ml_performance_mae_minutes"),
    ],
)
def test_our_metrics_have_the_names_of_the_contract(name: str, unit: str, kind: Kind, expected: str) -> None:
    assert prometheus_name(name, unit, kind) == expected


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("requests", "", "counter", "requests_total"),
        ("requests.total", "", "counter", "requests_total"),
        ("total.requests", "", "counter", "requests_total"),
        ("cpu_usage_ratio", "1", "gauge", "cpu_usage_ratio"),
        ("items", "1", "counter", "items_total"),
        ("response_time_seconds", "s", "gauge", "response_time_seconds"),
        ("seconds.spent", "s", "gauge", "seconds_spent"),
        ("memory.usage", "By", "gauge", "memory_usage_bytes"),
        ("throughput", "By/s", "gauge", "throughput_bytes_per_second"),
        ("requests", "1/s", "gauge", "requests_per_second"),
        ("custom", "By/{packet}", "gauge", "custom_bytes"),
        ("custom_metric", "unit@with#special/chars", "gauge", "custom_metric_unit_with_special_per_chars"),
        ("metric__with__underscores", "a__b", "gauge", "metric_with_underscores_a_b"),
        ("123metric", "", "gauge", "_123metric"),
        ("a:b", "%", "gauge", "a:b_percent"),
        ("_x_", "", "gauge", "x"),
    ],
)
def test_names_follow_the_standard_translation(name: str, unit: str, kind: Kind, expected: str) -> None:
    assert prometheus_name(name, unit, kind) == expected


@pytest.mark.parametrize("name", ["", "@#$%", "___"])
def test_a_name_of_which_nothing_is_left_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no letter or digit"):
        prometheus_name(name, "s", "gauge")


@given(st.text(max_size=20), st.text(max_size=8), st.sampled_from(["gauge", "counter"]))
def test_every_name_is_one_that_prometheus_takes(name: str, unit: str, kind: Kind) -> None:
    try:
        found = prometheus_name(name, unit, kind)
    except ValueError:
        return
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", found)
    assert "__" not in found
    assert found.endswith("_total") or kind == "gauge"


@given(st.text(min_size=1, max_size=20))
def test_every_label_is_one_that_prometheus_takes(key: str) -> None:
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label_name(key))


def test_keys_that_become_one_label_keep_all_their_values() -> None:
    assert labels([("a.b", "x"), ("a_b", "y")]) == (("a_b", "x;y"),)
