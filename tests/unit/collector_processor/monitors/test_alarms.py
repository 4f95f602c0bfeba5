"""Alarms on panes: they find changes and name them, and nothing else raises them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.detectors.promise import MINUTE_NS, log_threshold
from collector_processor.detectors.shiryaev_roberts import log_mean, mean_age, updated
from collector_processor.monitors.alarm_state import AlarmState, ages, coded, decoded, tables, times
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.settings.values import alarms_per_minute
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("fraud", "7")
Draw = Callable[[np.random.Generator, int], PredictionBatch]


def rows(
    random: np.random.Generator,
    count: int,
    *,
    mean: float = 0.0,
    spread: float = 1.0,
    missing: float = 0.02,
    plans: tuple[float, ...] = (0.6, 0.3, 0.1, 0.0),
    call: int = 1,
    weight: float = 1.0,
    failed: float = 0.0,
) -> PredictionBatch:
    """Rows in calls whose rows are all equal."""
    calls = -(-count // call)
    age = random.normal(mean, spread, calls)
    age[random.random(calls) < missing] = np.nan
    plan = random.choice(4, calls, p=plans).astype(np.int32)
    fails = random.random(calls) < failed
    of = np.repeat(np.arange(calls), call)[:count]
    duration = np.full(count, np.nan)
    duration[::call] = 0.01
    error = Column(None, np.where(fails, 0, -1).astype(np.int32)[of], ("ValueError",)) if failed else None
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), random.integers(0, 2**63, (count, 2)).astype(np.uint64),
        np.full(count, weight), duration,
        {"age": Column(age[of]), "plan": Column(None, plan[of], ("a", "b", "c", "XK")), "same": Column(np.ones(count))},
        prediction=Column(None, (random.random(calls) < 0.3).astype(np.int32)[of], ("no", "yes")), error=error,
    )  # fmt: skip


def reference_of(count: int = 20_000, **world: float) -> Reference:
    return build_reference("fraud", rows(np.random.default_rng(100), count, **world))  # type: ignore[arg-type]


REFERENCE = reference_of()


def window(schema: Schema, pane: Pane, minute: int, width: int = MINUTE_NS) -> Window:
    return Window(MODEL, minute * width, (minute + 1) * width, schema, pane)


def panes(draws: Iterator[PredictionBatch], reference: Reference, first: int = 0) -> Iterator[Window]:
    schema = reference.schema.fork()
    for minute, batch in enumerate(draws, first):
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch)
        yield window(schema, pane, minute)


def run(
    draws: Iterator[PredictionBatch], reference: Reference = REFERENCE, **settings: object
) -> tuple[AlarmState, list[list[Measurement]]]:
    monitor = AlarmMonitor(AlarmSettings.model_validate(settings))
    state, measured = monitor.begin(reference), []
    for pane in panes(draws, reference):
        state, found = monitor.step(pane, reference, state)
        measured.append(found)
    return state, measured


def worlds(
    first: dict, after: dict | None = None, *, before: int = 30, total: int = 90, count: int = 200, seed: int = 0
) -> Iterator[PredictionBatch]:
    random = np.random.default_rng(seed)
    for minute in range(total):
        yield rows(random, count, **(first if after is None or minute < before else after))


def alarms(measured: list[list[Measurement]], column: str | None = None) -> list[int]:
    """The minutes with an alarm."""
    return [
        minute
        for minute, found in enumerate(measured)
        for each in found
        if each.name == semconv.DRIFT_ALARM and each.value
        if column in (None, dict(each.attributes).get(semconv.FEATURE_NAME))
    ]


def changes(found: list[Measurement]) -> dict[str, str]:
    return {
        dict(each.attributes).get(semconv.FEATURE_NAME, dict(each.attributes)[semconv.COLUMN_ROLE]): dict(
            each.attributes
        )[semconv.DRIFT_CHANGE]
        for each in found
        if each.name == semconv.DRIFT_CHANGED_AT
    }


@pytest.mark.parametrize(
    ("after", "column", "change"),
    [
        ({"mean": 0.5}, "age", "mean_up"),
        ({"mean": -0.5}, "age", "mean_down"),
        ({"spread": 1.5}, "age", "spread_up"),
        ({"spread": 0.6}, "age", "spread_down"),
        ({"missing": 0.2}, "age", "missing_up"),
        ({"plans": (0.55, 0.3, 0.1, 0.05)}, "plan", "new_category"),
        ({"plans": (0.3, 0.6, 0.1, 0.0)}, "plan", "category"),
        ({"failed": 0.2}, "error", "errors_up"),
    ],
)
def test_a_change_is_found_named_and_dated(after: dict, column: str, change: str) -> None:
    _, measured = run(worlds({}, after))
    found = alarms(measured)
    assert found
    assert found[0] >= 30
    assert set(changes(measured[-1])) == {column}
    assert changes(measured[found[0]]) == {column: change}
    [at] = [each.value for each in measured[found[0]] if each.name == semconv.DRIFT_CHANGED_AT]
    assert abs(at / 60 - 30) <= max(2.0, 0.3 * (found[0] - 30))


def test_words_say_what_changed() -> None:
    _, measured = run(worlds({}, {"plans": (0.5, 0.3, 0.1, 0.1), "mean": 1.0}))
    words = {each.words.partition(", since ")[0] for each in measured[-1] if each.name == semconv.DRIFT_ALARM}
    assert words == {"new value 'XK'", "mean up", ""}
    [share] = [each for each in measured[-1] if each.name == semconv.DRIFT_ALARM_SHARE]
    assert share.value == pytest.approx(2 / 3)
    assert share.words.startswith("67 % of features changed: ")


def test_an_alarm_does_not_flicker_and_ends() -> None:
    random = np.random.default_rng(5)

    def there_and_back() -> Iterator[PredictionBatch]:
        for minute in range(400):
            yield rows(random, 100, mean=0.4 if 50 <= minute < 200 else 0.0)

    _, measured = run(there_and_back())
    found = alarms(measured, "age")
    assert found == list(range(found[0], found[-1] + 1))
    assert 50 <= found[0] < 75
    assert 200 <= found[-1] < 330
    starts = {each.value for part in measured for each in part if each.name == semconv.DRIFT_CHANGED_AT}
    assert len(starts) == 1


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"call": 10},
        {"call": 100},
        {"weight": 10.0},
        {"weight": 10.0, "call": 10},
    ],
)
def test_nothing_is_found_where_nothing_changed(world: dict) -> None:
    # A year has 525,600 minutes; here a false alarm a day is allowed, and 300 minutes are looked at.
    _, measured = run(worlds(world, total=300, count=100), false_alarms="1 per day")
    assert alarms(measured) == []


def test_calls_of_500_equal_rows_and_panes_of_one_row_raise_nothing() -> None:
    for world, count in (({"call": 500}, 1000), ({}, 1)):
        _, measured = run(worlds(world, total=200, count=count), false_alarms="1 per day")
        assert alarms(measured) == []


def test_one_row_a_pane_finds_a_change() -> None:
    _, measured = run(worlds({}, {"mean": 2.0}, total=200, count=1))
    assert alarms(measured, "age")


@pytest.mark.parametrize("count", [200, 1000])
def test_a_small_reference_raises_nothing_and_shows_large_changes(count: int) -> None:
    reference = reference_of(count)
    _, measured = run(worlds({}, total=200), reference, false_alarms="1 per day")
    assert alarms(measured) == []
    _, measured = run(worlds({}, {"mean": 2.0}, before=5, total=60), reference)
    assert alarms(measured, "age")


def test_a_season_within_the_tolerance_raises_nothing() -> None:
    random = np.random.default_rng(9)

    def days() -> Iterator[PredictionBatch]:
        for minute in range(500):
            yield rows(random, 500, mean=0.02 * np.sin(minute / 20), plans=(0.59, 0.31, 0.1, 0.0))

    _, measured = run(days(), false_alarms="1 per day")
    assert alarms(measured) == []
    _, measured = run(worlds({"plans": (0.57, 0.33, 0.1, 0.0)}, total=500, count=500), tolerance=0.0)
    assert alarms(measured, "plan")


def test_columns_without_cells_and_constant_columns() -> None:
    random = np.random.default_rng(4)
    gone = (replace(each, features={"same": each.features["same"]}) for each in (rows(random, 200) for _ in range(20)))
    _, measured = run(gone)
    assert changes(measured[-1]) == {"age": "missing_up", "plan": "missing_up"}
    empty = window(REFERENCE.schema, Pane.empty(REFERENCE.schema), 0)
    monitor = AlarmMonitor(AlarmSettings())
    before = monitor.begin(REFERENCE)
    state, found = monitor.step(empty, REFERENCE, before)
    assert [each.name for each in found] == [semconv.DRIFT_EVIDENCE_THRESHOLD]
    assert np.array_equal(state.evidence, before.evidence)


def test_a_reference_of_missing_cells_only_is_possible() -> None:
    reference = reference_of(missing=1.0)
    _, measured = run(worlds({"missing": 1.0}, total=20), reference)
    assert alarms(measured) == []
    _, measured = run(worlds({"missing": 1.0}, {}, before=5, total=20), reference)
    assert changes(measured[-1]) == {"age": "missing_down"}


def labels(random: np.random.Generator, count: int, share: float, weight: float = 1.0) -> OutcomeBatch:
    unknown = np.full(count, np.nan)
    of = (random.random(count) < share).astype(np.int32) + 1
    return OutcomeBatch(
        np.zeros(count, np.int64), np.full(count, weight), unknown, unknown, np.zeros((count, 0), np.int32),
        np.ones(count), labels=of, predicted=of,
    )  # fmt: skip


def test_labels_have_an_alarm_and_retractions_do_no_harm() -> None:
    random = np.random.default_rng(8)
    batch = rows(random, 20_000)
    truth = Column(None, (random.random(20_000) < 0.3).astype(np.int32), ("no", "yes"))
    reference = build_reference("fraud", batch, label_classes=truth, task="binary_classification", positive_class="yes")
    positive = reference.schema.classes.find(0, "yes")
    assert positive == 2
    for share, expected in ((0.3, False), (0.6, True)):
        monitor, schema = AlarmMonitor(AlarmSettings()), reference.schema.fork()
        state, alarmed = monitor.begin(reference), False
        for minute in range(40):
            pane = Pane.empty(schema)
            accumulate(pane, schema, rows(random, 50))
            accumulate_outcomes(pane, schema, labels(random, 50, share))
            accumulate_outcomes(pane, schema, labels(random, 60, 0.3, -1.0) if minute == 20 else labels(random, 0, 0.3))
            state, found = monitor.step(window(schema, pane, minute), reference, state)
            alarmed |= any(
                each.name == semconv.DRIFT_ALARM
                and each.value > 0
                and dict(each.attributes)[semconv.COLUMN_ROLE] == "label"
                for each in found
            )
        assert alarmed is expected


def test_a_restart_changes_no_bit() -> None:
    monitor = AlarmMonitor(AlarmSettings())
    through, first = Fold.begun(monitor, REFERENCE), Fold.begun(monitor, REFERENCE)
    given = list(panes(worlds({"call": 3}, {"mean": 0.4}, before=20, total=60), REFERENCE))
    for pane in given[:25]:
        through.step(pane, REFERENCE)
        first.step(pane, REFERENCE)
    again = Fold.begun(monitor, REFERENCE)
    assert list(restore_folds([again], REFERENCE, saved_folds([first], REFERENCE), given[25].start_ns)) == []
    for pane in given[25:]:
        assert again.step(pane, REFERENCE) == through.step(pane, REFERENCE)
    for field in fields(AlarmState):
        assert np.array_equal(getattr(again.state, field.name), getattr(through.state, field.name)), field.name


def test_a_pane_of_two_processors_is_the_sum_of_theirs() -> None:
    random, schema = np.random.default_rng(2), REFERENCE.schema.fork()
    whole, half = Pane.empty(schema), Pane.empty(schema)
    batches = [rows(random, 300, mean=0.2, call=3) for _ in range(4)]
    for place, batch in enumerate(batches):
        accumulate(whole, schema, batch)
        accumulate(half, schema, batch) if place % 2 else None
    other = Pane.empty(schema)
    for batch in batches[::2]:
        accumulate(other, schema, batch)
    half.add(other)
    monitor = AlarmMonitor(AlarmSettings())
    results = [monitor.step(window(schema, pane, 0), REFERENCE, monitor.begin(REFERENCE)) for pane in (whole, half)]
    assert results[0][1] == results[1][1]


def test_evidence_needed_follows_rate_and_columns_and_zero_switches_off() -> None:
    _, measured = run(worlds({}, total=1), false_alarms="2 per week")
    [needed] = [each.value for each in measured[0] if each.name == semconv.DRIFT_EVIDENCE_THRESHOLD]
    assert needed * np.log(10) == pytest.approx(log_threshold(2 / 10_080, len(REFERENCE.schema.columns) + 1))
    assert run(worlds({}, {"mean": 3.0}, total=60), false_alarms=0)[1][-1] == []
    assert alarms_per_minute("1 per year") == 1 / 525_600


def test_the_width_of_panes_does_not_change_the_promise() -> None:
    """A pane of five minutes weighs as much as five panes of a minute."""
    monitor, schema, random = AlarmMonitor(AlarmSettings()), REFERENCE.schema.fork(), np.random.default_rng(0)
    pane = Pane.empty(schema)
    accumulate(pane, schema, rows(random, 100))
    values = []
    for width in (MINUTE_NS, 5 * MINUTE_NS):
        _, found = monitor.step(window(schema, pane, 0, width), REFERENCE, monitor.begin(REFERENCE))
        values.append([each.value for each in found if each.name == semconv.DRIFT_EVIDENCE])
    np.testing.assert_allclose(np.array(values[1]) - values[0], np.log10(5.0), atol=2e-3)


def test_codes_never_overstate_evidence_and_times_wrap() -> None:
    log_m = np.random.default_rng(0).uniform(-23, 39, 1000)
    kept = decoded(coded(log_m))
    assert (kept <= log_m).all()
    assert (kept > log_m - 1.01 / 1024).all()
    for now in (10, 70_000, 10**9):
        assert ages(times(np.array([0.0, 3.0, 5000.0]), now), now + 2).tolist() == [2.0, 5.0, 5002.0]


@pytest.mark.parametrize("minutes", [1 / 6, 1.0, 60.0])
def test_tables_are_the_formulas_of_every_code(minutes: float) -> None:
    codes = np.arange(2**16).astype(np.uint16)
    found, log_m, age = tables(minutes), decoded(codes), np.linspace(0.0, 50_000.0, 2**16)
    np.testing.assert_allclose(found.grown, updated(log_m, np.zeros(2**16), minutes), rtol=1e-15)
    np.testing.assert_allclose(age / found.shrinks, mean_age(age, log_m, minutes), rtol=1e-14)
    rows, valid = log_m.reshape(-1, 64), np.random.default_rng(1).random((1024, 64)) < 0.7
    mean = np.einsum("ca,ca->c", found.m.reshape(-1, 64), valid / valid.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(np.log(mean), log_mean(rows, valid), rtol=1e-13, atol=1e-13)


def test_the_state_of_a_numeric_feature_takes_less_than_200_bytes() -> None:
    random = np.random.default_rng(0)
    features = {f"x{i}": Column(random.normal(size=1000)) for i in range(50)}
    batch = PredictionBatch(
        MODEL, np.zeros(1000, np.int64), np.zeros((1000, 2), np.uint64), np.ones(1000), np.full(1000, np.nan), features
    )
    reference = build_reference("wide", batch)
    state = AlarmMonitor(AlarmSettings()).begin(reference)
    fixed = state.calls.nbytes + 100
    assert (sum(getattr(state, field.name).nbytes for field in fields(state)) - fixed) / 51 <= 200
