"""Alarms on figures beside the columns: the squared error of scores, and calls over the objective."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.detectors.promise import MINUTE_NS
from collector_processor.monitors.alarm_plan import Planned
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.attribution_means import AttributionMeans
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("fraud", "7")
ROWS = 20_000
DAILY = {"false_alarms": "1 per day"}


def scores(random: np.random.Generator, count: int, call: int = 1) -> np.ndarray:
    return np.repeat(random.beta(1.0, 3.0, -(-count // call)), call)[:count]


def batch(
    random: np.random.Generator, score: np.ndarray, slow: float = 0.02, weight: float = 1.0, call: int = 1
) -> PredictionBatch:
    count = len(score)
    duration = np.full(count, np.nan)
    duration[::call] = np.where(random.random(len(duration[::call])) < slow, 0.5, 0.01)
    age = np.repeat(random.normal(size=-(-count // call)), call)[:count]
    predicted = Column(None, (score > 0.5).astype(np.int32), ("no", "yes"))
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), random.integers(0, 2**63, (count, 2)).astype(np.uint64),
        np.full(count, weight), duration, {"age": Column(age)},
        prediction=predicted, score=score, positive_class="yes",
    )  # fmt: skip


def truth_of(random: np.random.Generator, score: np.ndarray, call: int = 1) -> np.ndarray:
    return (np.repeat(random.random(-(-len(score) // call)), call)[: len(score)] < score).astype(np.int32)


def reference_of(count: int = ROWS, *, timed: bool = True, labeled: bool = True) -> Reference:
    random = np.random.default_rng(7)
    score = scores(random, count)
    rows = batch(random, score)
    if not timed:
        rows.duration_s[:] = np.nan
    truth = Column(None, truth_of(random, score), ("no", "yes"))
    return build_reference(
        "fraud", rows, label_classes=truth if labeled else None, task="binary_classification", positive_class="yes"
    )


REFERENCE = reference_of()


def outcomes(score: np.ndarray, truth: np.ndarray, weight: float = 1.0) -> OutcomeBatch:
    count, unknown = len(score), np.full(len(score), np.nan)
    return OutcomeBatch(
        np.zeros(count, np.int64), np.full(count, weight), score, np.where(truth == 1, score, 1.0 - score),
        np.zeros((count, 0), np.int32), unknown, labels=truth + 1, predicted=(score > 0.5).astype(np.int32) + 1,
    )  # fmt: skip


def panes(
    total: int = 90, change_at: int = 30, *, count: int = 100, call: int = 1, weight: float = 1.0, wrong: float = 0.0,
    slow: float = 0.02, seed: int = 0, labels: int | None = None, reference: Reference = REFERENCE,
) -> Iterator[Window]:  # fmt: skip
    """Panes of a minute; from one on, a share of labels is the other class, and of calls slow."""
    random, schema = np.random.default_rng(seed), reference.schema.fork()
    for minute in range(total):
        score, changed = scores(random, count, call), minute >= change_at
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch(random, score, slow if changed else 0.02, weight, call))
        known = score[:labels]
        truth = truth_of(random, known, call)
        flipped = random.random(len(known)) < (wrong if changed else 0.0)
        accumulate_outcomes(pane, schema, outcomes(known, np.where(flipped, 1 - truth, truth), weight))
        yield Window(MODEL, minute * MINUTE_NS, (minute + 1) * MINUTE_NS, schema, pane)


def run(given: Iterator[Window], reference: Reference = REFERENCE, **settings: object) -> list[list[Measurement]]:
    monitor = AlarmMonitor(AlarmSettings.model_validate(settings))
    state, measured = monitor.begin(reference), []
    for pane in given:
        state, found = monitor.step(pane, reference, state)
        measured.append(found)
    return measured


def of_role(found: list[Measurement], role: str, name: str = semconv.DRIFT_ALARM) -> list[Measurement]:
    return [each for each in found if each.name == name and dict(each.attributes).get(semconv.COLUMN_ROLE) == role]


def alarms(measured: list[list[Measurement]], role: str) -> list[int]:
    return [minute for minute, found in enumerate(measured) if any(each.value for each in of_role(found, role))]


def test_squared_errors_that_rise_raise_an_alarm_that_says_so() -> None:
    measured = run(panes(wrong=0.2))
    found = alarms(measured, semconv.ROLE_BRIER)
    assert found
    assert 30 <= found[0] < 60
    [alarm] = of_role(measured[found[0]], semconv.ROLE_BRIER)
    assert alarm.words.startswith("the squared error of the score has risen, before 0.1")
    [at] = of_role(measured[found[0]], semconv.ROLE_BRIER, semconv.DRIFT_CHANGED_AT)
    assert dict(at.attributes)[semconv.DRIFT_CHANGE] == "mean_up"
    assert abs(at.value / 60 - 30) <= max(2, 0.3 * (found[0] - 30))


def test_calls_over_the_objective_raise_an_alarm_that_says_so() -> None:
    measured = run(panes(slow=0.15), latency_objective="300ms")
    found = alarms(measured, semconv.ROLE_LATENCY)
    assert found
    assert 30 <= found[0] < 50
    [alarm] = of_role(measured[found[0]], semconv.ROLE_LATENCY)
    assert alarm.words.startswith("more calls take longer than 0.3 s, before ")
    [at] = of_role(measured[found[0]], semconv.ROLE_LATENCY, semconv.DRIFT_CHANGED_AT)
    assert dict(at.attributes)[semconv.DRIFT_CHANGE] == "slow_up"


@pytest.mark.parametrize(
    "world",
    [{}, {"call": 10}, {"weight": 10.0}, {"weight": 10.0, "call": 10}, {"count": 1}, {"labels": 3}, {"labels": 0}],
)
def test_nothing_is_found_where_nothing_changed(world: dict) -> None:
    measured = run(panes(300, **world), **DAILY, latency_objective="300ms")
    assert alarms(measured, semconv.ROLE_BRIER) == alarms(measured, semconv.ROLE_LATENCY) == []
    assert bool(of_role(measured[-1], semconv.ROLE_BRIER)) is (world.get("labels") != 0)


@pytest.mark.parametrize("constant", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_constant_scores_and_labels_of_almost_one_class(constant: float, label: int) -> None:
    """What is always so in the reference is no change, and what never was is one."""
    random = np.random.default_rng(3)
    rows = batch(random, np.full(2000, constant))
    truth = Column(None, np.append(np.full(1999, label), 1 - label).astype(np.int32), ("no", "yes"))
    reference = build_reference("fraud", rows, label_classes=truth, task="binary_classification", positive_class="yes")
    monitor, schema = AlarmMonitor(AlarmSettings()), reference.schema.fork()
    for given, expected in (
        (label, False),
        (1 - label, abs((label - constant) ** 2 - (1 - label - constant) ** 2) > 0.1),
    ):
        state, seen = monitor.begin(reference), False
        for minute in range(30):
            pane = Pane.empty(schema)
            accumulate(pane, schema, batch(random, np.full(100, constant)))
            accumulate_outcomes(pane, schema, outcomes(np.full(100, constant), np.full(100, given, np.int32)))
            window = Window(MODEL, minute * MINUTE_NS, (minute + 1) * MINUTE_NS, schema, pane)
            state, found = monitor.step(window, reference, state)
            seen |= any(each.value for each in of_role(found, semconv.ROLE_BRIER))
        assert seen is expected


def test_labels_that_are_taken_back_do_no_harm() -> None:
    monitor, schema, random = AlarmMonitor(AlarmSettings()), REFERENCE.schema.fork(), np.random.default_rng(1)
    state = monitor.begin(REFERENCE)
    for minute in range(20):
        score = scores(random, 50)
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch(random, score))
        truth = truth_of(random, score)
        accumulate_outcomes(pane, schema, outcomes(score, truth))
        accumulate_outcomes(pane, schema, outcomes(score, truth, -1.0))
        if minute % 2:
            accumulate_outcomes(pane, schema, outcomes(score[:5], truth[:5], -1.0))
        state, found = monitor.step(Window(MODEL, minute, minute + MINUTE_NS, schema, pane), REFERENCE, state)
        assert not any(each.value for each in of_role(found, semconv.ROLE_BRIER))


def test_what_cannot_be_watched_is_left_out_and_what_was_asked_for_is_said() -> None:
    monitor = AlarmMonitor(AlarmSettings.model_validate({"latency_objective": "300ms"}))
    assert list(monitor.left_out(REFERENCE)) == []
    assert list(monitor.left_out(reference_of(timed=False))) == [
        "its reference has too few durations of calls: no alarm says that more of them are slow"
    ]
    assert list(AlarmMonitor(AlarmSettings()).left_out(reference_of(timed=False))) == []

    def figures(reference: Reference, objective_ns: int | None = None) -> tuple[str, ...]:
        return Planned(0.01, objective_ns)(reference).figures

    assert figures(REFERENCE) == ("error", "brier")
    assert figures(REFERENCE, 10**9) == ("error", "brier", "latency")
    assert figures(reference_of(timed=False), 10**9) == ("error", "brier")
    assert figures(reference_of(labeled=False)) == ("error",)
    assert figures(reference_of(90)) == ("error",)


class TestAttributions:
    """The mean absolute attribution of each feature."""

    @staticmethod
    def rows(random, count, scale=1.0, call=1, weight=1.0, said=None, share=1.0):
        rows = batch(random, scores(random, count, call), weight=weight, call=call)
        age = np.repeat(random.normal(size=-(-count // call)), call)[:count] * scale
        city = np.where(random.random(count) < share, random.standard_t(3, count), np.nan)
        explained = {"age": age, "city=x": city, "none": np.zeros(count)}
        weights = None if said is None else np.full(count, said)
        return replace(rows, attributions=explained, attribution_weights=weights)

    @classmethod
    @cache
    def reference(cls, count=ROWS):
        return build_reference("fraud", cls.rows(np.random.default_rng(7), count), task="binary_classification",
                               positive_class="yes")  # fmt: skip

    @classmethod
    def panes(cls, reference, total=90, change_at=30, *, scale=1.0, count=100, **world):
        random, schema = np.random.default_rng(1), reference.schema.fork()
        for minute in range(total):
            pane = Pane.empty(schema)
            accumulate(pane, schema, cls.rows(random, count, scale if minute >= change_at else 1.0, **world))
            yield Window(MODEL, minute * MINUTE_NS, (minute + 1) * MINUTE_NS, schema, pane)

    @staticmethod
    def of(found, feature, name=semconv.DRIFT_ALARM):
        return [each for each in of_role(found, semconv.ROLE_ATTRIBUTION, name)
                if dict(each.attributes)[semconv.FEATURE_NAME] == feature]  # fmt: skip

    @pytest.mark.parametrize(("scale", "word"), [(2.0, "risen"), (0.5, "fallen")])
    def test_a_mean_that_moves_raises_an_alarm_of_its_feature_alone(self, scale, word):
        reference = self.reference()
        measured = run(self.panes(reference, scale=scale), reference)
        found = [minute for minute, each in enumerate(measured) if any(x.value for x in self.of(each, "age"))]
        assert found
        assert 30 <= found[0] < 60
        [alarm] = self.of(measured[found[0]], "age")
        assert alarm.words.startswith(f"the mean absolute attribution has {word}, before 0.79")
        [at] = self.of(measured[found[0]], "age", semconv.DRIFT_CHANGED_AT)
        assert dict(at.attributes)[semconv.DRIFT_CHANGE] == ("mean_up" if scale > 1 else "mean_down")
        for other in ("city=x", "none"):
            assert not any(x.value for each in measured for x in self.of(each, other))

    @pytest.mark.parametrize(
        "world",
        [{}, {"call": 10}, {"weight": 10.0}, {"said": 100.0}, {"share": 0.05}, {"share": 0.0}, {"count": 1}],
    )
    def test_nothing_is_found_where_nothing_changed(self, world):
        reference = self.reference()
        measured = run(self.panes(reference, 300, **world), reference, **DAILY)
        assert alarms(measured, semconv.ROLE_ATTRIBUTION) == []
        assert bool(self.of(measured[-1], "city=x")) is (world.get("share", 1.0) > 0.0)

    def test_attributions_beyond_the_cap_count_as_the_cap_and_those_that_are_no_numbers_not_at_all(self):
        reference = self.reference()
        schema = reference.schema.fork()
        rows = self.rows(np.random.default_rng(3), 4)
        rows = replace(rows, attributions={"age": np.array([1e9, np.nan, np.inf, -1e12]), "new": np.ones(4)})
        pane = Pane.empty(schema)
        accumulate(pane, schema, rows)
        assert pane.further[AttributionMeans].sums.tolist() == [[2.0, 2.0, 2.0], [0.0] * 3, [0.0] * 3]

    def test_the_largest_numbers_and_no_rows_do_no_harm(self):
        random = np.random.default_rng(7)
        rows = self.rows(random, 200)
        rows.attributions["age"][:] *= 1e-300
        reference = build_reference("fraud", rows, task="binary_classification", positive_class="yes")
        schema = reference.schema.fork()
        pane = Pane.empty(schema)
        accumulate(pane, schema, replace(self.rows(random, 3), attributions={"age": np.array([1e308, 1e140, 0.0])}))
        accumulate(pane, schema, self.rows(random, 3).take(slice(0, 0)))
        assert pane.further[AttributionMeans].sums[0].tolist() == [2.0, 1.0, 1.0]

    def test_a_feature_that_never_contributed_and_does_now_has_an_alarm(self):
        reference = self.reference()
        schema, monitor = reference.schema.fork(), AlarmMonitor(AlarmSettings())
        state, random, seen = monitor.begin(reference), np.random.default_rng(3), False
        for minute in range(20):
            rows = self.rows(random, 100)
            rows.attributions["none"][:] = random.normal(size=100)
            pane = Pane.empty(schema)
            accumulate(pane, schema, rows)
            window = Window(MODEL, minute * MINUTE_NS, (minute + 1) * MINUTE_NS, schema, pane)
            state, found = monitor.step(window, reference, state)
            seen |= any(each.value for each in self.of(found, "none"))
        assert seen

    def test_few_attributions_in_the_reference(self):
        assert "attribution" not in Planned(0.01, None)(self.reference(99)).figures
        plan = Planned(0.01, None)(self.reference(100))
        assert plan.figures == ("error", *["attribution"] * 3)
        assert plan.features == ("", "age", "city=x", "none")

    def test_a_profile_without_caps_loads_and_says_that_there_are_no_alarms(self):
        reference = self.reference()
        document = json.loads(reference_text(reference))
        assert document["estimator"]["attributions"].pop("caps")
        assert document["vectors"].pop("further.attribution_means.sums")
        old = parse_reference(json.dumps(document), "old.json")
        monitor = AlarmMonitor(AlarmSettings())
        [text] = monitor.left_out(old)
        assert text.startswith("its reference does not say how large attributions get")
        assert list(monitor.left_out(reference)) == []
        assert list(AlarmMonitor(AlarmSettings(false_alarms="0 per year")).left_out(old)) == []
        assert monitor.figures(old) == ("error",)
        [*_, measured] = run(self.panes(old, 3), old)
        assert of_role(measured, semconv.ROLE_ATTRIBUTION) == []

    def test_a_profile_keeps_its_caps(self):
        reference = self.reference()
        text = reference_text(reference)
        again = parse_reference(text, "again.json")
        assert reference_text(again) == text
        np.testing.assert_array_equal(
            again.schema.fit(AttributionBaseline).caps, reference.schema.fit(AttributionBaseline).caps
        )

    @pytest.mark.parametrize("caps", [{"age": 1.0}, {"age": -1.0, "city=x": 1.0, "none": 0.0}])
    def test_caps_that_cannot_be_are_refused(self, caps):
        document = json.loads(reference_text(self.reference()))
        document["estimator"]["attributions"]["caps"] = caps
        with pytest.raises(ValueError, match="caps"):
            parse_reference(json.dumps(document), "wrong.json")

    def test_a_restart_changes_no_bit(self):
        reference = self.reference()
        monitor = AlarmMonitor(AlarmSettings())
        through, first = Fold.begun(monitor, reference), Fold.begun(monitor, reference)
        given = list(self.panes(reference, 60, 20, scale=1.5))
        for pane in given[:25]:
            through.step(pane, reference)
            first.step(pane, reference)
        again = Fold.begun(monitor, reference)
        assert list(restore_folds([again], reference, saved_folds([first], reference), given[25].start_ns)) == []
        for pane in given[25:]:
            assert again.step(pane, reference) == through.step(pane, reference)


def test_every_figure_counts_for_the_promise() -> None:
    few, more = (Planned(0.01, ns)(REFERENCE).columns for ns in (None, 10**9))
    assert few == len(REFERENCE.schema.columns) + 2
    assert more == few + 1


def test_a_restart_changes_no_bit() -> None:
    monitor = AlarmMonitor(AlarmSettings.model_validate({"latency_objective": "300ms"}))
    through, first = Fold.begun(monitor, REFERENCE), Fold.begun(monitor, REFERENCE)
    given = list(panes(60, 20, wrong=0.1, slow=0.1))
    for pane in given[:25]:
        through.step(pane, REFERENCE)
        first.step(pane, REFERENCE)
    again = Fold.begun(monitor, REFERENCE)
    assert list(restore_folds([again], REFERENCE, saved_folds([first], REFERENCE), given[25].start_ns)) == []
    for pane in given[25:]:
        assert again.step(pane, REFERENCE) == through.step(pane, REFERENCE)
