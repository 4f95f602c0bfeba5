"""What a night brings: the generated rules judge series as they really come, in promtool and so in Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector_processor.config import Config, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate.rules import rules_of
from support.promtool import assert_firing

pytestmark = pytest.mark.prometheus
FRAUD = 'ml_model_name="fraud",ml_model_version="7"'
DRIFT = f"ml_drift_share_ratio{{{FRAUD}}}"
ROWS = f"ml_window_rows{{{FRAUD}}}"
P99 = f"ml_latency_p99_seconds{{{FRAUD}}}"
COUNT = f'ml_predictions_total{{{FRAUD},ml_prediction_class="yes"}}'


def configured(window: Mapping[str, Any] | None = None, alerts: Any = None) -> Config:
    document = yaml.safe_load(DEFAULT)
    document["connectors"] = {"ml_monitor": {"window": dict(window or {})}}
    alerts = {"rules": {"feature_drift": {}}} if alerts is None else alerts
    return parse_config(yaml.safe_dump({**document, "alerts": alerts}))


def every(minutes: int, value: str, times: int) -> str:
    """A sample each so many minutes, and none in between: what is sent over OTLP."""
    return " ".join([f"{value} _x{minutes - 1}" if minutes > 1 else value] * times)


def check(
    folder: Path, config: Config, series: Mapping[str, str], firing: Mapping[tuple[str, str], list[dict[str, str]]]
) -> None:
    """Asks promtool whether exactly these alerts (labels, without severity) fire: by rule and time."""
    assert_firing(folder, rules_of(config), series, firing)


MODEL = {"ml_model_name": "fraud", "ml_model_version": "7"}


@pytest.mark.parametrize(
    ("window", "apart"),
    [
        ({"size": "1h", "every": "10m"}, 10),
        ({"size": "1h", "every": "1h"}, 60),
        ({"size": "5000 rows"}, 300),
    ],
)
def test_windows_that_are_further_apart_than_five_minutes_fire_and_resolve(
    window: dict[str, str], apart: int, tmp_path: Path
) -> None:
    series = {DRIFT: f"{every(apart, '0.5', 4)} {every(apart, '0.1', 4)}"}
    half, end = 4 * apart - 1, 5 * apart + 10
    fires = {(("feature_drift"), f"{minute}m"): [MODEL] for minute in (apart + 12, apart + 19, half)}
    check(tmp_path, configured(window), series, {**fires, ("feature_drift", f"{end}m"): []})


def test_a_pause_of_traffic_within_the_allowed_lateness_ends_no_alert_and_begins_no_hold_anew(tmp_path: Path) -> None:
    """With an allowed lateness of 10 minutes and a request every 8, windows close in bursts, 8 minutes apart."""
    series = {P99: every(8, "3", 10), ROWS: every(8, "500", 10)}
    check(tmp_path, configured(), series, {("latency", f"{minute}m"): [MODEL] for minute in (12, 15, 39, 60)})


def test_rows_and_value_are_both_looked_back_for(tmp_path: Path) -> None:
    series = {P99: every(30, "3", 6), ROWS: every(30, "99", 6)}
    check(tmp_path, configured({"size": "1h", "every": "30m"}), series, {("latency", "80m"): []})


def test_what_stopped_to_be_measured_is_over_some_windows_later(tmp_path: Path) -> None:
    series = {DRIFT: "0.5x30 _x100"}
    check(tmp_path, configured(), series, {("feature_drift", "35m"): [MODEL], ("feature_drift", "60m"): []})


def test_series_that_are_scraped_and_sent_are_one_alert_and_so_are_replicas(tmp_path: Path) -> None:
    ways = (
        'instance="a:9464",job="otel-ml"',
        'instance="0f3c",job="otel-ml-pushed"',
        'instance="b:9464",job="otel-ml"',
    )
    series = {f"ml_drift_share_ratio{{{FRAUD},{way}}}": "0.5x40" for way in ways}
    series |= {f"ml_predictions_total{{{FRAUD},{way}}}": "1+5x5 31x60" for way in ways}
    check(
        tmp_path,
        configured(),
        series,
        {("feature_drift", "15m"): [MODEL], ("silence", "30m"): [{"ml_model_name": "fraud"}]},
    )


def test_a_restart_under_another_instance_ends_nothing_and_is_no_silence(tmp_path: Path) -> None:
    first, second = f'{FRAUD},instance="1",job="j"', f'{FRAUD},instance="2",job="j"'
    series = {
        f"ml_drift_share_ratio{{{first}}}": "0.5x20 _x40",
        f"ml_drift_share_ratio{{{second}}}": "_x26 0.5x30",
        f"ml_predictions_total{{{first}}}": "1+5x20 _x40",
        f"ml_predictions_total{{{second}}}": "_x26 1+5x40",
    }
    at = (22, 24, 26, 30, 45)
    quiet: dict[tuple[str, str], list[dict[str, str]]] = {("silence", f"{minute}m"): [] for minute in at}
    check(tmp_path, configured(), series, quiet | {("feature_drift", f"{minute}m"): [MODEL] for minute in at})


def test_a_counter_that_is_reset_goes_on(tmp_path: Path) -> None:
    check(tmp_path, configured(), {COUNT: "1+5x20 0+1x40"}, {("silence", f"{minute}m"): [] for minute in (22, 30, 50)})


def test_versions_are_judged_each_and_silent_only_together(tmp_path: Path) -> None:
    """The challenger drifts and goes on; the champion stands still."""
    series = {
        'ml_drift_share_ratio{ml_model_name="fraud",ml_model_version="7"}': "0.1x60",
        'ml_drift_share_ratio{ml_model_name="fraud",ml_model_version="8"}': "0.6x60",
        'ml_predictions_total{ml_model_name="fraud",ml_model_version="7"}': "100+0x60",
        'ml_predictions_total{ml_model_name="fraud",ml_model_version="8"}': "100+7x60",
    }
    challenger = {"ml_model_name": "fraud", "ml_model_version": "8"}
    check(tmp_path, configured(), series, {("feature_drift", "40m"): [challenger], ("silence", "40m"): []})


def test_a_segment_is_no_model(tmp_path: Path) -> None:
    segment = f'{FRAUD},ml_segment_name="tier",ml_segment_value="gold"'
    series = {f"ml_latency_p99_seconds{{{segment}}}": "9x40", P99: "0.1x40", ROWS: "5000x40"}
    series |= {f"ml_window_rows{{{segment}}}": "5000x40"}
    check(tmp_path, configured(), series, {("latency", "20m"): []})
    series = {P99: "9x40", ROWS: "50x40", f"ml_window_rows{{{segment}}}": "5000x40"}
    check(tmp_path, configured(), series, {("latency", "20m"): []})


def test_a_model_without_a_version_is_judged_as_any(tmp_path: Path) -> None:
    series = {
        'ml_drift_share_ratio{ml_model_name="fraud"}': "0.6x60",
        'ml_predictions_total{ml_model_name="fraud"}': "3x60",
    }
    alone = {"ml_model_name": "fraud"}
    check(tmp_path, configured(), series, {("feature_drift", "20m"): [alone], ("silence", "20m"): [alone]})


def test_counts_that_come_every_half_minute_are_no_silence_however_short_it_is(tmp_path: Path) -> None:
    alerts = {"rules": {"silence": {"absent_for": "30s"}}}
    going = {COUNT: "1+5x40"}
    check(tmp_path, configured(alerts=alerts), going, {("silence", f"{minute}m"): [] for minute in (10, 20, 30)})
    check(
        tmp_path, configured(alerts=alerts), {COUNT: "1+5x5 26x40"}, {("silence", "20m"): [{"ml_model_name": "fraud"}]}
    )


@pytest.mark.parametrize(("source", "fires"), [("", "labels"), ("estimated", "estimated")])
def test_a_rule_on_performance_judges_labels_unless_it_names_the_estimate(
    source: str, fires: str, tmp_path: Path
) -> None:
    where = {"where": {"ml.performance.source": source}} if source else {}
    alerts = {"rules": {"accuracy": {"measurement": "ml.performance.accuracy", "below": 0.8, **where}}}
    low = {name: "0.7" if name == fires else "0.9" for name in ("labels", "estimated", "restated")}
    for case, series in (("fires", low), ("others", {name: "1.6" if name == fires else "0.7" for name in low})):
        folder = tmp_path / case
        folder.mkdir()
        named = {
            f'ml_performance_accuracy_ratio{{{FRAUD},ml_performance_source="{name}"}}': f"{value}x30"
            for name, value in series.items()
        }
        labels = [{**MODEL, "ml_performance_source": fires}] if case == "fires" else []
        check(folder, configured(alerts=alerts), named, {("accuracy", "20m"): labels})
