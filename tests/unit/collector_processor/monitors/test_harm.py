"""An alarm before the labels: raised by a harmful shift, not by a harmless one, nor by calls of equal rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.detectors.bounded import weighted_increments
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.monitors.harm import BETS, HarmMonitor, dependence, without_alarm
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.estimates import estimates
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.harm import HarmSums, alike, harm_sums
from collector_processor.window.closed import Window
from otel_ml import semconv

KEY = ModelKey("fraud", "1")
MINUTE = 60 * 10**9
PER_PANE = 100
CLASSES = ("no", "yes")
NAMES = ("ant", "bee", "cat")


def batch(score, weights=None, calls=None, value=None, x=None) -> PredictionBatch:
    count = len(score)
    ids = np.random.default_rng(count).integers(0, 2**63, (count, 2)).astype(np.uint64)
    duration = np.full(count, np.nan)
    if calls is not None:
        duration[::calls] = 0.01
    return PredictionBatch(
        KEY, np.zeros(count, np.int64), ids, np.ones(count) if weights is None else weights, duration,
        {"x": Column(score if x is None else x)}, score=score if value is None else None, value=value,
        positive_class="yes",
    )  # fmt: skip


def usual(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.4, 1.2, rows)


def harder(seed: int, rows: int) -> np.ndarray:
    """Scores of cases that could go either way."""
    return np.random.default_rng(seed).beta(1.0, 1.6, rows)


@pytest.fixture(scope="module")
def reference() -> Reference:
    score = usual(0, 20_000)
    truth = (np.random.default_rng(1).random(len(score)) < score).astype(np.int32)
    return build_reference(
        "fraud", batch(score), task="binary_classification", label_classes=Column(None, truth, CLASSES)
    )


@pytest.fixture(scope="module")
def of_values() -> Reference:
    """A regression whose errors grow with x."""
    pytest.importorskip("lightgbm")
    random = np.random.default_rng(2)
    x = random.uniform(0.0, 1.0, 3000)
    value = 10.0 + x
    label = value + random.normal(size=3000) * (0.1 + x)
    return build_reference("fraud", batch(x, value=value), label_values=label)


def pane(reference: Reference, number: int, *batches: PredictionBatch) -> Window:
    sums = Pane.empty(reference.schema)
    for each in batches:
        accumulate(sums, reference.schema, each)
    return Window(KEY, number * MINUTE, (number + 1) * MINUTE, reference.schema, sums)


def begun(reference: Reference, **settings) -> Fold:
    return Fold.begun(HarmMonitor(EstimateSettings(**settings)), reference)


def run(fold: Fold, reference: Reference, rows: PredictionBatch, first: int = 0) -> list[list[Measurement]]:
    return [
        fold.step(pane(reference, first + number, rows.take(slice(start, start + PER_PANE))), reference)
        for number, start in enumerate(range(0, len(rows), PER_PANE))
    ]


def values(steps, name: str) -> list[float]:
    return [item.value for step in steps for item in step if item.name == name]


def alarms(steps) -> list[float]:
    return values(steps, semconv.ESTIMATE_HARM_ALARM)


def test_rows_as_in_the_reference_raise_nothing(reference):
    steps = run(begun(reference), reference, batch(usual(3, 20_000)))
    assert len(alarms(steps)) == 200
    assert max(alarms(steps)) == 0.0
    assert values(steps, semconv.ESTIMATE_HARM_CHANGED_AT) == []


def test_easier_rows_are_no_harm(reference):
    score = np.random.default_rng(4).beta(0.2, 2.0, 20_000)
    assert max(alarms(run(begun(reference), reference, batch(score)))) == 0.0


def test_harder_rows_raise_the_alarm_say_how_wrong_and_since_when(reference):
    fold = begun(reference)
    run(fold, reference, batch(usual(5, 10_000)))
    steps = run(fold, reference, batch(harder(6, 3_000)), first=100)
    first = next(number for number, value in enumerate(alarms(steps)) if value == 1.0)
    assert first < 10
    assert "of the newest predictions are expected to be wrong" in next(
        item.words for item in steps[first] if item.name == semconv.ESTIMATE_HARM_ALARM
    )
    assert abs(values(steps, semconv.ESTIMATE_HARM_CHANGED_AT)[0] - 100 * 60.0) <= 3 * 60.0
    evidence, threshold = (
        values(steps, name)[first]
        for name in (semconv.ESTIMATE_HARM_EVIDENCE, semconv.ESTIMATE_HARM_EVIDENCE_THRESHOLD)
    )
    assert evidence >= threshold
    assert threshold == pytest.approx(np.log10(525_600))


def test_the_alarm_ends_when_rows_are_as_before(reference):
    fold = begun(reference)
    assert alarms(run(fold, reference, batch(harder(7, 2_000))))[-1] == 1.0
    assert alarms(run(fold, reference, batch(usual(8, 20_000)), first=20))[-1] == 0.0


def test_a_shift_within_the_tolerance_raises_nothing(reference):
    rows = batch(harder(9, 5_000))
    assert max(alarms(run(begun(reference, tolerance=0.2), reference, rows))) == 0.0
    assert max(alarms(run(begun(reference), reference, rows))) == 1.0


def test_without_a_promise_there_is_no_alarm(reference):
    assert run(begun(reference, false_alarms=0), reference, batch(harder(10, 1_000))) == [[]] * 10


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_tiny_panes_count_as_much_as_large_ones(reference, rows):
    fold, score = begun(reference), harder(11, 3_000)
    found = [
        fold.step(pane(reference, number, batch(score[start : start + rows])), reference)
        for number, start in enumerate(range(0, len(score), rows))
    ]
    assert max(alarms(found)) == 1.0


def test_rows_of_a_call_that_are_alike_count_less(reference):
    """Calls of 100 equal rows, for 187 days: 6 false alarms at one a month; more if rows counted as independent."""
    g = np.minimum(usual(13, 40_000), 1.0 - usual(13, 40_000))
    bare = Pane.empty(reference.schema)
    part = bare.further[HarmSums]
    raised = []
    for call in (np.arange(500) // 100, None):
        random, fold, began = np.random.default_rng(12), begun(reference, false_alarms="1 per month"), set()
        for number in range(1_500):
            calls = np.repeat(random.choice(g, 5), 100)
            part.sums[:] = harm_sums(calls, np.ones(500))
            part.calls[:] = alike(calls, call)
            window = Window(KEY, 180 * number * MINUTE, 180 * (number + 1) * MINUTE, reference.schema, bare)
            began |= {item.value for item in fold.step(window, reference) if item.unit == semconv.UNIT_SECOND}
        raised.append(len(began))
    assert raised[0] <= 6
    assert raised[1] > 12


def test_calls_are_found_in_batches(reference):
    score = np.repeat(usual(14, 10), 10)
    sums = pane(reference, 0, batch(score, calls=10)).pane.further[HarmSums]
    assert sums.calls[0] == 90.0
    assert sums.calls[3] == 10 * 10**2
    assert dependence(np.concatenate((sums.sums, sums.calls))) > 8.0
    alone = pane(reference, 0, batch(usual(15, 100), calls=1)).pane.further[HarmSums]
    assert alone.calls.tolist() == [0.0, 0.0, 0.0, 100.0]
    assert dependence(np.concatenate((alone.sums, alone.calls))) == 1.0


def test_equal_weights_change_nothing(reference):
    score = harder(16, 1_000)
    left = run(begun(reference), reference, batch(score))
    right = run(begun(reference), reference, batch(score, weights=np.full(1_000, 7.0)))
    name = semconv.ESTIMATE_HARM_EVIDENCE
    assert values(left, name) == pytest.approx(values(right, name), rel=1e-9)


def test_rows_that_stand_for_others_count_as_them(reference):
    """A sender keeps all hard rows and a tenth of the easy ones: no harm, although most rows are hard."""
    score = usual(17, 60_000)
    hard = np.abs(score - 0.5) < 0.3
    kept = np.flatnonzero(hard | (np.random.default_rng(18).random(len(score)) < 0.1))
    weights = np.where(hard[kept], 1.0, 10.0)
    assert max(alarms(run(begun(reference), reference, batch(score[kept], weights=weights)))) == 0.0
    assert max(alarms(run(begun(reference), reference, batch(score[kept])))) == 1.0


def test_constant_and_missing_scores(reference):
    steps = run(begun(reference), reference, batch(np.full(2_000, 0.02)))
    assert max(alarms(steps)) == 0.0
    assert max(alarms(run(begun(reference), reference, batch(np.full(2_000, 0.5))))) == 1.0
    assert run(begun(reference), reference, batch(np.full(200, np.nan))) == [[], []]


def test_errors_of_a_regression(of_values):
    random = np.random.default_rng(19)

    def rows(low, count):
        x = random.uniform(low, 1.0, count)
        return batch(x, value=10.0 + x)

    fold = begun(of_values)
    assert max(alarms(run(fold, of_values, rows(0.0, 3_000)))) == 0.0
    steps = run(fold, of_values, rows(0.6, 2_000), first=30)
    assert max(alarms(steps)) == 1.0
    words = next(item.words for step in reversed(steps) for item in step if item.words)
    assert "times that of the reference" in words


def rows_of_classes(seed, rows, sure=2.0, weights=None, missing=False):
    logits = np.random.default_rng(seed).normal(0.0, sure, (rows, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    each = dict(zip(NAMES, np.full((3, rows), np.nan) if missing else scores.T, strict=True))
    bare = batch(np.zeros(rows), weights)
    predicted = Column(None, scores.argmax(axis=1).astype(np.int32), NAMES)
    return replace(bare, score=None, positive_class="", prediction=predicted, scores=each), scores


@pytest.fixture(scope="module")
def of_classes() -> Reference:
    rows, scores = rows_of_classes(30, 10_000)
    labels = (np.random.default_rng(31).random((10_000, 1)) > scores.cumsum(axis=1)[:, :2]).sum(axis=1)
    return build_reference("fraud", rows, label_classes=Column(None, labels.astype(np.int32), NAMES))


class TestManyClasses:
    """g is the probability that the predicted class is wrong."""

    def test_rows_as_in_the_reference_raise_nothing_and_harder_ones_do(self, of_classes):
        fold = begun(of_classes)
        steps = run(fold, of_classes, rows_of_classes(32, 10_000)[0])
        assert len(alarms(steps)) == 100
        assert max(alarms(steps)) == 0.0
        steps = run(fold, of_classes, rows_of_classes(33, 3_000, sure=0.8)[0], first=100)
        first = next(number for number, value in enumerate(alarms(steps)) if value == 1.0)
        assert first < 10
        words = next(item.words for item in steps[first] if item.words)
        assert "of the newest predictions are expected to be wrong" in words

    def test_easier_rows_are_no_harm(self, of_classes):
        assert max(alarms(run(begun(of_classes), of_classes, rows_of_classes(34, 5_000, sure=4.0)[0]))) == 0.0

    def test_sums_are_those_of_the_rows(self, of_classes):
        weights = np.random.default_rng(35).integers(1, 4, 80).astype(float)
        rows = rows_of_classes(36, 80, weights=weights)[0]
        expected = estimates(of_classes.schema, rows)
        assert expected is not None
        sums = pane(of_classes, 0, rows).pane.further[HarmSums].sums
        assert sums == pytest.approx(harm_sums(1.0 - expected, weights), rel=1e-12)

    def test_rows_without_scores_and_references_without_labels_have_no_evidence(self, of_classes):
        assert run(begun(of_classes), of_classes, rows_of_classes(37, 200, missing=True)[0]) == [[], []]
        bare = build_reference("fraud", rows_of_classes(38, 500)[0])
        assert run(begun(bare), bare, rows_of_classes(39, 100)[0]) == [[]]
        assert without_alarm(bare).endswith("its reference has no labels")
        assert without_alarm(of_classes) == ""

    def test_a_sure_prediction_is_no_harm_and_a_uniform_one_is(self, of_classes):
        rows = rows_of_classes(40, 2_000)[0]
        sure = replace(rows, scores=dict(zip(NAMES, np.tile([[1.0], [0.0], [0.0]], 2_000), strict=True)),
                       prediction=Column(None, np.zeros(2_000, np.int32), NAMES))  # fmt: skip
        assert max(alarms(run(begun(of_classes), of_classes, sure))) == 0.0
        uniform = replace(rows, scores=dict.fromkeys(NAMES, np.full(2_000, 1 / 3)))
        assert max(alarms(run(begun(of_classes), of_classes, uniform))) == 1.0


def test_references_without_estimates_have_no_evidence(reference):
    score = usual(20, 200)
    bare = build_reference("fraud", batch(score), task="binary_classification")
    assert run(begun(bare), bare, batch(score)) == [[], []]
    few = build_reference(
        "fraud", batch(score[:60]), task="binary_classification",
        label_classes=Column(None, (score[:60] > 0.2).astype(np.int32), CLASSES),
    )  # fmt: skip
    assert run(begun(few), few, batch(score)) == [[], []]


def test_a_model_that_is_never_wrong_has_no_evidence():
    pytest.importorskip("lightgbm")
    x = np.random.default_rng(21).uniform(size=1200)
    perfect = build_reference("fraud", batch(x, value=x), label_values=x)
    assert run(begun(perfect), perfect, batch(x[:200], value=x[:200])) == [[], []]


def test_the_state_survives_a_restart(reference):
    score = harder(22, 1_500)
    whole = run(begun(reference), reference, batch(score))
    first = begun(reference)
    run(first, reference, batch(score[:700]))
    again = begun(reference)
    assert list(restore_folds([again], reference, saved_folds([first], reference), 7 * MINUTE)) == []
    second = run(again, reference, batch(score[700:]), first=7)
    assert [item.value for step in whole[7:] for item in step] == [item.value for step in second for item in step]


def test_an_increment_is_an_e_value():
    """Its mean is at most 1 for a mean at the limit, exactly so in the limit of small bets."""
    random = np.random.default_rng(23)
    for a, b in ((0.2, 1.8), (2.0, 18.0)):
        x = random.beta(a, b, (200_000, 5))
        means = np.zeros(len(BETS))
        for row in x[:20_000]:
            sums = harm_sums(row, np.ones(5))
            means += np.exp(weighted_increments(sums[1:3], sums[3:], 0.1, BETS))
        assert (means / 20_000 < 1.02).all()
