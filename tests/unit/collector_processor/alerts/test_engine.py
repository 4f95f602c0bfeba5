"""The state machine of alerts: hold time, hysteresis, guards, absence, silences, repeats."""

from __future__ import annotations

import pytest

from collector_processor.alerts.engine import FORGET_NS, MORE_NS
from collector_processor.alerts.notice import OFFENDERS
from collector_processor.alerts.silences import Silence
from collector_processor.columns.batch import ModelKey
from otel_ml import semconv
from support.engine import BEGIN, MINUTE, MODEL, OTHER, Bench, S, feature, item, reasons, rows, rule

# --- thresholds, hold time, hysteresis -----------------------------------------------------------------------


def test_a_breach_fires_at_once_without_a_hold_time_and_resolves_when_it_is_over():
    bench = Bench(rule())
    assert [bench.window(value) for value in (0.3, 0.31, 0.5, 0.3, 0.2)] == [[], ["new"], [], ["over"], []]


@pytest.mark.parametrize(
    ("condition", "values", "told"),
    [
        ("above", (0.25, 0.35, 0.25, 0.2, 0.25), [[], ["new"], [], ["over"], []]),
        ("below", (0.35, 0.25, 0.35, 0.4, 0.35), [[], ["new"], [], ["over"], []]),
    ],
)
def test_between_threshold_and_clear_an_alert_goes_on_and_none_begins(condition, values, told):
    clear = {"above": 0.2, "below": 0.4}[condition]
    bench = Bench(rule(condition=condition, clear=clear))
    assert [bench.window(value) for value in values] == told


def test_a_breach_fires_after_its_hold_time_in_event_time():
    bench = Bench(rule(hold_ns=3 * MINUTE))
    assert [bench.window(0.5) for _ in range(5)] == [[], [], [], ["new"], []]


def test_a_breach_that_pauses_begins_its_hold_time_anew():
    bench = Bench(rule(hold_ns=2 * MINUTE, clear=0.1))
    values = (0.5, 0.5, 0.2, 0.5, 0.5, 0.5)
    assert [bench.window(value) for value in values] == [[], [], [], [], [], ["new"]]


def test_windows_that_come_late_in_a_burst_hold_by_their_own_time():
    bench = Bench(rule(hold_ns=10 * MINUTE))
    burst = [item(0.5, BEGIN + minute * MINUTE) for minute in range(11)]
    assert reasons(bench.after(0, *burst)) == ["new"]
    assert reasons(Bench(rule(hold_ns=10 * MINUTE)).after(0, *burst[:10])) == []


def test_an_alert_that_begins_and_ends_in_one_backlog_is_reported_and_counted():
    bench = Bench(rule(hold_ns=10 * MINUTE))
    burst = [item(0.5, BEGIN + minute * MINUTE) for minute in range(11)]
    calm = [item(0.1, BEGIN + minute * MINUTE) for minute in range(11, 30)]
    notices = bench.after(0, *burst, *calm)
    assert reasons(notices) == ["new", "over"]
    assert [notice.value for notice in notices] == [0.5, 0.5]
    for state in ("firing", "resolved"):
        assert bench.counted("otel_ml_alerts_total", rule="drift", severity="warning", state=state) == 1.0
    assert bench.counted("otel_ml_alerts_firing", rule="drift", severity="warning") == 0.0


def test_a_gap_in_event_time_is_no_hold_time():
    bench = Bench(rule(hold_ns=10 * MINUTE))
    assert bench.window(0.5) == []
    assert bench.window(0.5, 16 * MINUTE) == []
    assert bench.window(0.5, 10 * MINUTE) == ["new"]


def test_event_time_that_goes_back_begins_anew():
    bench = Bench(rule(hold_ns=10 * MINUTE))
    assert bench.after(0, item(0.5, BEGIN)) == []
    assert bench.after(0, item(0.5, BEGIN - 9 * MINUTE)) == []
    assert reasons(bench.after(0, item(0.5, BEGIN + MINUTE))) == ["new"]


def test_severity_threshold_and_the_worst_value_are_told():
    bench = Bench(rule(severity="critical", measurement=semconv.QUALITY_MISSING))
    names = [f"f{number}" for number in range(300)]
    items = [
        item(0.4 + number / 1e3, BEGIN, feature(name), name=semconv.QUALITY_MISSING)
        for number, name in enumerate(names)
    ]
    (notice,) = bench.after(0, *items)
    assert (notice.state, notice.count, notice.model, notice.value) == ("firing", 300, MODEL, pytest.approx(0.699))
    assert len(notice.offenders) == OFFENDERS
    assert notice.offenders[0].attributes == (feature("f299"),)
    assert notice.rule.severity == "critical"
    assert bench.counted("otel_ml_alerts_firing", rule="drift", severity="critical") == 1.0


def test_a_rule_that_looks_below_lists_the_lowest_first():
    bench = Bench(rule(condition="below"))
    (notice,) = bench.after(0, item(0.2, BEGIN, feature("a")), item(0.1, BEGIN, feature("b")))
    assert [offender.value for offender in notice.offenders] == [0.1, 0.2]


# --- which series ---------------------------------------------------------------------------------------------


def test_each_model_has_its_own_alert():
    bench = Bench(rule())
    told = bench.after(0, item(0.5, BEGIN), item(0.5, BEGIN, model=OTHER))
    assert {notice.model for notice in told} == {MODEL, OTHER}


def test_where_chooses_series_and_an_empty_value_asks_for_none():
    segment = (semconv.SEGMENT_NAME, "region"), (semconv.SEGMENT_VALUE, "north")
    whole = Bench(rule(where=((semconv.SEGMENT_NAME, ("",)),)))
    assert whole.after(0, item(0.5, BEGIN, *segment)) == []
    assert reasons(whole.after(0, item(0.5, BEGIN))) == ["new"]
    some = Bench(rule(where=((semconv.SEGMENT_VALUE, ("south", "north")),)))
    assert some.after(0, item(0.5, BEGIN), item(0.5, BEGIN, segment[0], (semconv.SEGMENT_VALUE, "west"))) == []
    assert reasons(some.after(0, item(0.5, BEGIN, *segment))) == ["new"]


def test_few_rows_are_not_judged_neither_to_fire_nor_to_resolve():
    bench = Bench(rule(min_rows=100))
    few, enough = rows(99, BEGIN), rows(100, BEGIN)
    assert bench.after(0, few, item(0.5, BEGIN)) == []
    assert bench.after(0, item(0.5, BEGIN)) == []  # nobody knows how many
    assert bench.after(0, rows(500, BEGIN, model=OTHER), few, item(0.5, BEGIN)) == []
    assert bench.after(0, rows(500, BEGIN, (semconv.SEGMENT_NAME, "s")), few, item(0.5, BEGIN)) == []
    assert reasons(bench.after(0, enough, item(0.5, BEGIN))) == ["new"]
    assert bench.after(MINUTE, rows(99, BEGIN + MINUTE), item(0.1, BEGIN + MINUTE)) == []


def test_once_above_waits_until_there_was_something_to_lose():
    bench = Bench(rule(condition="below", threshold=0.5, clear=0.5, once_above=0.0))
    assert [bench.window(value) for value in (0.0, 0.0, 0.6, 0.0, 0.6, 0.1)] == [[], [], [], ["new"], ["over"], ["new"]]


# --- what stops coming ----------------------------------------------------------------------------------------


def test_a_breach_that_is_not_measured_any_more_resolves():
    bench = Bench(rule())
    assert bench.window(0.5) == ["new"]
    assert bench.after(15 * MINUTE) == []
    assert reasons(bench.after(1)) == ["not_measured"]
    assert len(bench.engine) == 0


def test_a_pending_breach_that_is_not_measured_any_more_is_forgotten():
    bench = Bench(rule(hold_ns=MINUTE))
    assert bench.window(0.5) == []
    assert bench.after(16 * MINUTE) == []
    assert len(bench.engine) == 0


def test_the_alert_of_a_forgotten_model_resolves():
    bench = Bench(rule())
    assert bench.window(0.5) == ["new"]
    del bench.models[MODEL]
    (notice,) = bench.after(S)
    assert (notice.state, notice.reason, notice.model) == ("resolved", "forgotten", MODEL)
    assert not bench.engine.groups


SILENT = rule(condition="absent", measurement=semconv.WINDOW_ROWS, absent_ns=15 * MINUTE)


def first_windows():
    """The first windows of both models: from then on they are missed."""
    return rows(9, BEGIN), rows(9, BEGIN, model=OTHER)


def test_a_model_is_missed_from_its_first_window_on():
    bench = Bench(SILENT)
    bench.after(0)
    bench.after(0, rows(0, BEGIN))
    assert bench.after(16 * MINUTE, arrives=False) == []


def test_a_model_that_goes_silent_is_told_by_the_clock_alone():
    bench = Bench(SILENT)
    assert bench.after(0, *first_windows()) == []
    assert bench.after(15 * MINUTE, arrives=False) == []
    told = bench.after(S, arrives=False)
    assert {(notice.reason, notice.model.name, notice.model.version) for notice in told} == {
        ("new", "fraud", ""), ("new", "churn", ""),
    }  # fmt: skip
    assert told[0].value == 15 * 60 + 1
    bench.models[MODEL] = bench.now + 1
    (over,) = bench.after(S, arrives=False)
    assert (over.reason, over.model.name) == ("over", "fraud")


def test_windows_that_still_close_do_not_hide_a_silence():
    bench = Bench(SILENT)
    bench.after(0, *first_windows())
    told = [bench.after(MINUTE, rows(100 - minute, BEGIN + minute * MINUTE), arrives=False) for minute in range(17)]
    assert [reasons(some) for some in told].index(["new", "new"]) == 15


def test_a_new_version_takes_over_from_the_old_one():
    bench = Bench(SILENT)
    bench.after(0, *first_windows())
    bench.models = {MODEL: BEGIN, ModelKey("fraud", "8"): BEGIN + 20 * MINUTE}
    assert bench.after(20 * MINUTE, arrives=False) == []


def test_a_rule_on_one_version_tells_when_that_version_goes_silent():
    bench = Bench(
        rule(
            condition="absent",
            measurement=semconv.WINDOW_ROWS,
            absent_ns=MINUTE,
            where=((semconv.MODEL_VERSION, ("7",)),),
        )
    )
    bench.models = {MODEL: BEGIN, ModelKey("fraud", "8"): BEGIN}
    bench.after(0, rows(9, BEGIN), rows(9, BEGIN, model=ModelKey("fraud", "8")), arrives=False)
    bench.models[ModelKey("fraud", "8")] = BEGIN + 2 * MINUTE
    (notice,) = bench.after(2 * MINUTE, arrives=False)
    assert notice.model == MODEL


def test_a_model_that_a_rule_names_is_missed_though_it_never_came():
    where = (semconv.MODEL_NAME, ("fraud", "price")), (semconv.SEGMENT_NAME, ("",))
    named = rule(condition="absent", measurement=semconv.WINDOW_ROWS, absent_ns=15 * MINUTE, where=where)
    bench = Bench(named)
    assert bench.after(0, *first_windows()) == []
    (notice,) = bench.after(16 * MINUTE)
    assert (notice.reason, notice.model) == ("new", ModelKey("price"))
    assert reasons(bench.after(2 * FORGET_NS)) == ["repeat"]
    bench.models[ModelKey("price", "1")] = bench.now
    assert reasons(bench.after(S)) == ["over"]
    del bench.models[MODEL]
    assert bench.after(S) == []
    assert reasons(bench.after(16 * MINUTE)) == ["new"]


def test_a_measurement_that_stops_coming_is_told_and_its_return_as_well():
    bench = Bench(rule(condition="absent", measurement=semconv.LABELS_DELAY, absent_ns=30 * MINUTE))
    delay = item(5.0, BEGIN, name=semconv.LABELS_DELAY)
    assert bench.after(0, delay) == []
    assert bench.after(30 * MINUTE) == []
    assert reasons(bench.after(S)) == ["new"]
    assert reasons(bench.after(S, delay)) == ["over"]


def test_what_never_came_is_not_absent():
    bench = Bench(rule(condition="absent", measurement=semconv.LABELS_DELAY, absent_ns=MINUTE))
    assert bench.after(FORGET_NS) == []


def test_what_nothing_is_heard_of_for_long_is_forgotten():
    bench = Bench(rule(condition="absent", measurement=semconv.LABELS_DELAY, absent_ns=MINUTE))
    bench.after(0, item(5.0, BEGIN, name=semconv.LABELS_DELAY))
    assert reasons(bench.after(2 * MINUTE)) == ["new"]
    assert reasons(bench.after(FORGET_NS)) == ["not_measured"]
    assert len(bench.engine) == 0


# --- who is told, and when ------------------------------------------------------------------------------------


def test_a_firing_alert_is_told_again_after_the_repeat_time():
    bench = Bench(rule(), repeat_ns=4 * MINUTE, stale_ns=3600 * S)
    assert bench.window(0.5) == ["new"]
    assert [bench.window(0.5) for _ in range(8)] == [[], [], [], ["repeat"], [], [], [], ["repeat"]]


def test_more_series_are_told_together_after_a_while():
    bench = Bench(rule(), stale_ns=3600 * S)
    assert bench.window(0.5, MINUTE, feature("a")) == ["new"]
    assert bench.window(0.5, MINUTE, feature("b")) == []
    assert bench.window(0.5, MINUTE, feature("c")) == []
    (notice,) = bench.after(MORE_NS - 2 * MINUTE)
    assert (notice.reason, notice.count) == ("more", 3)
    assert bench.after(MORE_NS) == []


def test_fewer_series_are_an_update_and_no_repeat():
    bench = Bench(rule(), stale_ns=3600 * S, repeat_ns=600 * S)
    bench.after(0, item(0.5, BEGIN, feature("a")), item(0.5, BEGIN, feature("b")))
    (notice,) = bench.after(MORE_NS, item(0.1, BEGIN, feature("a")))
    assert (notice.reason, notice.count) == ("fewer", 1)
    assert reasons(bench.after(300 * S)) == ["repeat"]


def test_an_alert_is_resolved_when_the_last_of_its_series_is():
    bench = Bench(rule())
    bench.after(0, item(0.5, BEGIN, feature("a")), item(0.5, BEGIN, feature("b")))
    assert bench.after(S, item(0.1, BEGIN, feature("a"))) == []
    (notice,) = bench.after(S, item(0.1, BEGIN, feature("b")))
    assert (notice.state, notice.started_ns, notice.ended_ns) == ("resolved", BEGIN, BEGIN + 2 * S)
    assert notice.count == 2  # what was told when it fired


def test_a_silence_keeps_quiet_and_its_end_does_not():
    silence = Silence(((semconv.MODEL_NAME, ("fraud",)),), from_ns=BEGIN, until_ns=BEGIN + 10 * MINUTE)
    bench = Bench(rule(), silences=[silence])
    (notice,) = bench.after(0, item(0.5, BEGIN), item(0.5, BEGIN, model=OTHER))
    assert notice.model == OTHER
    assert bench.counted("otel_ml_alerts_firing", rule="drift", severity="warning") == 1.0
    told = bench.after(10 * MINUTE, item(0.5, BEGIN + MINUTE))
    assert [(notice.reason, notice.model) for notice in told] == [("new", MODEL)]


def test_a_silence_that_begins_takes_the_alert_back():
    bench = Bench(rule(), silences=[Silence(from_ns=BEGIN + MINUTE, until_ns=BEGIN + 2 * MINUTE)])
    assert bench.window(0.5, 0) == ["new"]
    assert bench.window(0.5, MINUTE) == ["silenced"]
    assert bench.window(0.1, S) == []


def test_a_silence_of_another_rule_changes_nothing():
    bench = Bench(rule(), silences=[Silence(rules=("latency",))])
    assert bench.window(0.5) == ["new"]


def test_a_clock_that_is_set_back_stops_nothing():
    bench = Bench(rule(), repeat_ns=MINUTE)
    assert bench.window(0.5) == ["new"]
    assert bench.window(0.5, -3600 * S) == ["repeat"]
    assert bench.window(0.1) == ["over"]
