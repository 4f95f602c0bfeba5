"""The limits of the state machine of alerts, what a restart keeps of it, and the notifier around it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.kept import engine_state, restore_engine
from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import DEFAULT_RULES, AlertRule
from collector_processor.columns.batch import ModelKey
from otel_ml import semconv
from support.engine import BEGIN, MINUTE, OTHER, Bench, S, feature, item, reasons, rows, rule

SILENT = rule(condition="absent", measurement=semconv.WINDOW_ROWS, absent_ns=15 * MINUTE)


def first_windows():
    """The first windows of both models: from then on they are missed."""
    return rows(9, BEGIN), rows(9, BEGIN, model=OTHER)


# --- limits ---------------------------------------------------------------------------------------------------


def test_series_that_do_not_fire_make_room_the_longest_unjudged_first():
    bench = Bench(rule(hold_ns=MINUTE), limit=10)
    for number in range(10):
        bench.after(1, item(0.5, BEGIN, feature(f"old{number}")))
    bench.after(1, item(0.5, BEGIN, feature("new")))
    kept = [series.attributes[2][1] for series in bench.engine.books["drift"].series.values()]
    assert kept == [f"old{number}" for number in range(1, 10)] + ["new"]
    assert bench.counted("otel_ml_evicted_total", store="alert_series", reason="limit") == 1.0


def test_where_all_fire_a_new_series_is_left_out_and_counted():
    bench = Bench(rule(), limit=5)
    bench.after(0, *(item(0.5, BEGIN, feature(f"f{number}")) for number in range(8)))
    assert len(bench.engine) == 5
    assert bench.counted("otel_ml_dropped_total", stage="alerts", reason="limit", intentional="true") == 3.0
    assert reasons(bench.after(S, *(item(0.0, BEGIN, feature(f"f{number}")) for number in range(5)))) == ["over"]
    assert reasons(bench.after(S, item(0.5, BEGIN, feature("f7")))) == ["new"]


def test_a_flood_of_models_stays_within_the_limit():
    bench = Bench(SILENT, limit=100)
    bench.models = {ModelKey(f"m{number}"): BEGIN for number in range(1000)}
    bench.after(0, *(rows(9, BEGIN, model=model) for model in bench.models))
    assert len(bench.engine) <= 100


# --- restarts -------------------------------------------------------------------------------------------------


def restarted(bench: Bench, *rules: AlertRule, wait_ns: int = 0) -> Bench:
    """What runs after a restart that took a while: through JSON, as in a snapshot."""
    state = json.loads(json.dumps(engine_state(bench.engine)))
    after = Bench(*rules)
    after.now = bench.now + wait_ns
    after.models = dict.fromkeys(bench.models, after.now)
    restore_engine(after.engine, state, after.now)
    return after


def test_what_fires_goes_on_after_a_restart_and_nobody_is_told_twice():
    bench = Bench(rule())
    bench.window(0.5)
    after = restarted(bench, rule(), wait_ns=3600 * S)
    (notice,) = after.engine.resumed(after.now)
    assert (notice.reason, notice.count, notice.started_ns) == ("resumed", 1, bench.now)
    assert after.window(0.5, S) == []
    assert after.window(0.1) == ["over"]


def test_a_hold_time_goes_on_after_a_restart():
    bench = Bench(rule(hold_ns=3 * MINUTE))
    bench.window(0.5)
    bench.window(0.5)
    after = restarted(bench, rule(hold_ns=3 * MINUTE))
    assert [after.window(0.5), after.window(0.5)] == [[], ["new"]]


def test_time_without_the_service_is_no_silence():
    bench = Bench(SILENT)
    bench.after(0, *first_windows())
    after = restarted(bench, SILENT, wait_ns=3600 * S)
    assert after.after(14 * MINUTE, arrives=False) == []
    assert reasons(after.after(2 * MINUTE, arrives=False)) == ["new", "new"]


def test_a_silence_that_was_told_does_not_end_with_a_restart():
    bench = Bench(SILENT)
    bench.after(0, *first_windows())
    bench.after(16 * MINUTE, arrives=False)
    after = restarted(bench, SILENT, wait_ns=MINUTE)
    assert after.after(S, arrives=False) == []
    assert reasons(after.after(S)) == ["over", "over"]


@pytest.mark.parametrize(
    "changed", [None, rule(measurement=semconv.DRIFT_BREACHED), rule(where=((semconv.MODEL_NAME, ("x",)),))]
)
def test_an_alert_whose_rule_is_gone_or_another_now_resolves(changed):
    bench = Bench(rule())
    bench.window(0.5)
    after = restarted(bench, *([] if changed is None else [changed]))
    told = after.after(S)
    assert [(notice.state, notice.reason, notice.rule.severity) for notice in told] == [
        ("resolved", "rule_gone", "warning")
    ]
    assert after.after(S) == []
    assert len(after.engine) == 0


def test_a_new_threshold_is_used_with_the_next_window():
    bench = Bench(rule())
    bench.window(0.5)
    after = restarted(bench, rule(threshold=0.9, clear=0.9))
    assert after.window(0.5) == ["over"]


def saved(series):
    return {"rules": {"drift": {"judges": [semconv.DRIFT_SHARE, "above", []], "series": [series]}}, "groups": []}


@pytest.mark.parametrize(
    "state",
    [
        {}, {"rules": [], "groups": []}, {"rules": {"drift": {}}, "groups": []}, {"rules": {}, "groups": [{}]},
        saved([[["a"]], "firing", 1, 1, 1, True]), saved([[["a", 1]], "firing", 1, 1, 1, True]),
        saved([[], "firing", 1, 1, 1, True]), saved([[["a", "b"]], "on", 1, 1, 1, True]), saved([1]), saved(None),
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused_and_changes_nothing(state):
    bench = Bench(rule())
    with pytest.raises(ValueError, match="saved alerts"):
        restore_engine(bench.engine, state, BEGIN)
    assert len(bench.engine) == 0
    assert not bench.engine.groups


def test_every_state_of_the_default_rules_survives_json():
    bench = Bench(*DEFAULT_RULES)
    bench.after(0, rows(500, BEGIN), item(1.0, BEGIN), item(0.0, BEGIN, name=semconv.LABELS_COVERAGE))
    after = restarted(bench, *DEFAULT_RULES)
    assert engine_state(after.engine) == engine_state(bench.engine)


# --- the notifier ---------------------------------------------------------------------------------------------


class Failing:
    name = "failing"

    def start(self) -> None: ...

    def notify(self, notices: Sequence[Notice]) -> None:
        raise RuntimeError("a bug")

    def probe(self, notice: Notice) -> Sequence[str]:
        return ()

    def shutdown(self, timeout_s: float) -> None: ...


class Listening(Failing):
    def __init__(self) -> None:
        self.heard: list[Notice] = []

    def notify(self, notices: Sequence[Notice]) -> None:
        self.heard += notices


@pytest.mark.filterwarnings("ignore")
def test_a_destination_that_fails_is_passed_over_and_counted():
    bench, listening = Bench(rule()), Listening()
    alerting = Alerting(bench.engine, [Failing(), listening], bench.telemetry)
    alerting.tick([item(0.5, BEGIN)], lambda: bench.models, BEGIN)
    assert reasons(listening.heard) == ["new"]
    assert bench.counted("otel_ml_errors_total", stage="notify") == 1.0


def test_the_clock_is_asked_about_every_second_and_with_every_window():
    bench, asked = Bench(SILENT), []

    def arrivals():
        asked.append(1)
        return bench.models

    alerting = Alerting(bench.engine, [], bench.telemetry)
    for quarter in range(9):
        alerting.tick([], arrivals, BEGIN + quarter * S // 4)
    assert len(asked) == 3
    alerting.tick([item(0.1, BEGIN)], arrivals, BEGIN + 2 * S)
    assert len(asked) == 4
    alerting.tick([], arrivals, BEGIN - 3600 * S)
    assert len(asked) == 5
    assert bench.counted("otel_ml_alert_evaluate_seconds_count") == 5.0
