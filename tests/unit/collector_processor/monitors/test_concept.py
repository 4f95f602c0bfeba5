"""The concept alarm is for a changed world and not for a changed population; what cannot be known is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.config.load import default_config
from collector_processor.monitors.base import LeavesOut, Measurement
from collector_processor.monitors.concept import ConceptMonitor, ConceptSettings
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import SCORE_SUMS, accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.reliability import Reliability
from collector_processor.window.closed import Window
from otel_ml import semconv

KEY = ModelKey("fraud", "1")
MINUTE = 60 * 10**9
PER_PANE = 100
CLASSES = ("no", "yes")


def batch(score: np.ndarray, first_id: int = 0) -> PredictionBatch:
    count = len(score)
    ids = np.stack([np.arange(first_id, first_id + count)] * 2, 1).astype(np.uint64)
    return PredictionBatch(
        KEY, np.full(count, 10 * MINUTE, np.int64), ids, np.ones(count), np.full(count, np.nan),
        {"age": Column(score * 50.0)}, score=score, positive_class="yes",
    )  # fmt: skip


def truth(score: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(score)) < score).astype(np.int32)


def easy(count: int, seed: int) -> np.ndarray:
    """Scores of mostly certain cases."""
    return np.random.default_rng(seed).beta(0.4, 1.2, count)


def hard(count: int, seed: int) -> np.ndarray:
    """Scores of cases that could go either way."""
    return np.random.default_rng(seed).uniform(0.3, 0.7, count)


@pytest.fixture(scope="module")
def reference() -> Reference:
    score = easy(20_000, 0)
    labels = Column(None, truth(score, 1), CLASSES)
    return build_reference("fraud", batch(score), task="binary_classification", label_classes=labels)


def outcomes(reference: Reference, score: np.ndarray, y: np.ndarray, weight: float = 1.0) -> OutcomeBatch:
    schema, count = reference.schema, len(score)
    slots = schema.classes.slots(0, CLASSES)
    return OutcomeBatch(
        np.zeros(count, np.int64), np.full(count, weight), score, np.where(y > 0, score, 1.0 - score),
        np.zeros((count, 0), np.int32), np.ones(count), labels=slots[y],
        predicted=slots[(score >= 0.5).astype(int)], estimates=score,
    )  # fmt: skip


def pane(reference: Reference, number: int, *parts: OutcomeBatch) -> Window:
    sums = Pane.empty(reference.schema)
    for part in parts:
        accumulate_outcomes(sums, reference.schema, part)
    return Window(KEY, number * MINUTE, (number + 1) * MINUTE, reference.schema, sums)


def begun(reference: Reference, **settings) -> Fold:
    return Fold.begun(ConceptMonitor(ConceptSettings(**settings)), reference)


def notes(fold: Fold, reference: Reference) -> list[str]:
    assert isinstance(fold.monitor, LeavesOut)
    return list(fold.monitor.left_out(reference))


def run(fold: Fold, reference: Reference, score: np.ndarray, y: np.ndarray, first: int = 0) -> list[list[Measurement]]:
    return [
        fold.step(pane(reference, first + number, outcomes(reference, part, of_part)), reference)
        for number, (part, of_part) in enumerate(
            zip(np.split(score, len(score) // PER_PANE), np.split(y, len(y) // PER_PANE), strict=True)
        )
    ]


def values(steps: list[list[Measurement]], name: str) -> list[float]:
    return [item.value for step in steps for item in step if item.name == name]


def words(steps: list[list[Measurement]], name: str) -> str:
    return next(item.words for step in reversed(steps) for item in step if item.name == name)


def flipped(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(len(y)) < share, 1 - y, y).astype(np.int32)


def test_the_same_world_and_population_raise_nothing(reference: Reference) -> None:
    score = easy(20_000, 2)
    steps = run(begun(reference), reference, score, truth(score, 3))
    assert max(values(steps, semconv.CONCEPT_ALARM)) == 0.0
    assert max(values(steps, semconv.CONCEPT_ERROR_ALARM)) == 0.0
    assert values(steps, semconv.CONCEPT_CHANGED_AT) == []


def test_a_harder_population_raises_errors_and_not_the_world(reference: Reference) -> None:
    score = hard(20_000, 4)
    steps = run(begun(reference), reference, score, truth(score, 5))
    assert max(values(steps, semconv.CONCEPT_ALARM)) == 0.0
    assert values(steps, semconv.CONCEPT_ERROR_ALARM)[-1] == 1.0
    text = words(steps, semconv.CONCEPT_ERROR_ALARM)
    assert "the population so far" in text
    assert "of the newest predictions were wrong" in text


def test_changed_labels_are_the_world_and_the_time_of_the_change_is_found(reference: Reference) -> None:
    fold, score = begun(reference), easy(20_000, 6)
    y = truth(score, 7)
    before = run(fold, reference, score[:5000], y[:5000])
    after = run(fold, reference, score[5000:], flipped(y[5000:], 0.1, 8), 50)
    assert max(values(before, semconv.CONCEPT_ALARM)) == 0.0
    alarm = values(after, semconv.CONCEPT_ALARM)
    found = alarm.index(1.0)
    assert (found + 1) * PER_PANE <= 3000
    changed = values(after, semconv.CONCEPT_CHANGED_AT)[0] / 60.0
    assert abs(changed - 50.0) <= max(2.0, 0.3 * (found + 1))
    assert words(after, semconv.CONCEPT_ALARM).startswith("the world changed: ")
    item = next(item for step in after for item in step if item.name == semconv.CONCEPT_CHANGED_AT)
    assert dict(item.attributes)[semconv.CONCEPT_CHANGE] in ("overconfident", "positives_up", "positives_down")
    assert "the world" in words(after, semconv.CONCEPT_ERROR_ALARM)


def test_an_alarm_ends_when_labels_are_as_expected_again(reference: Reference) -> None:
    fold, score = begun(reference), easy(4000, 9)
    run(fold, reference, score, flipped(truth(score, 10), 0.3, 11))
    assert fold.state.left[0] > 0.0
    score = easy(20_000, 12)
    steps = run(fold, reference, score, truth(score, 13), 40)
    assert values(steps, semconv.CONCEPT_ALARM)[-1] == 0.0


def test_a_retracted_label_in_a_pane_leaves_nothing(reference: Reference) -> None:
    score, wrong = easy(500, 14), easy(400, 15)
    kept, taken = outcomes(reference, score, truth(score, 16)), outcomes(reference, wrong, 1 - truth(wrong, 17))
    back = replace(taken, weights=-taken.weights)
    one, other = begun(reference), begun(reference)
    one.step(pane(reference, 0, kept), reference)
    other.step(pane(reference, 0, kept, taken, back), reference)
    np.testing.assert_allclose(one.state.log_m, other.state.log_m, rtol=1e-9)


def test_a_sampled_row_is_one_piece_of_evidence(reference: Reference) -> None:
    score = easy(500, 18)
    y = truth(score, 19)
    one, ten = begun(reference), begun(reference)
    one.step(pane(reference, 0, outcomes(reference, score, y)), reference)
    ten.step(pane(reference, 0, outcomes(reference, score, y, 10.0)), reference)
    np.testing.assert_array_equal(one.state.log_m, ten.state.log_m)


def test_a_restart_changes_no_bit(reference: Reference) -> None:
    score = easy(3000, 20)
    y = flipped(truth(score, 21), 0.1, 22)
    whole, first, second = begun(reference), begun(reference), begun(reference)
    expected = run(whole, reference, score, y)
    found = run(first, reference, score[:1500], y[:1500])
    assert list(restore_folds([second], reference, saved_folds([first], reference), 15 * MINUTE)) == []
    found += run(second, reference, score[1500:], y[1500:], 15)
    assert found == expected
    np.testing.assert_array_equal(second.state.log_m, whole.state.log_m)


def test_one_class_constant_and_tiny_panes_are_finite(reference: Reference) -> None:
    fold = begun(reference)
    for number, (score, y) in enumerate([(0.5, 1), (1.0, 0), (0.0, 0), (0.0, 1)]):
        step = fold.step(pane(reference, number, outcomes(reference, np.full(1, score), np.full(1, y))), reference)
        assert all(np.isfinite(item.value) for item in step)
    steps = run(fold, reference, np.full(2000, 0.1), np.zeros(2000, np.int32), 10)
    assert all(np.isfinite(item.value) for step in steps for item in step)


def test_panes_without_labels_change_nothing(reference: Reference) -> None:
    fold = begun(reference)
    assert [item.name for item in fold.step(pane(reference, 0), reference)] == [semconv.CONCEPT_EVIDENCE_THRESHOLD]
    assert not np.isfinite(fold.state.log_m).any()


def test_rows_without_an_estimate_count_only_as_right_or_wrong(reference: Reference) -> None:
    score = hard(5000, 23)
    batches = np.split(score, 50)
    fold = begun(reference)
    for number, part in enumerate(batches):
        unknown = replace(outcomes(reference, part, truth(part, 24)), estimates=np.full(100, np.nan))
        found = fold.step(pane(reference, number, unknown), reference)
    names = {item.name for item in found}
    assert semconv.CONCEPT_ALARM not in names
    assert semconv.CONCEPT_ERROR_ALARM in names


def test_rows_that_are_alike_need_as_much_more_evidence(reference: Reference) -> None:
    score = easy(300, 25)
    many = np.repeat(score, 10)
    y = np.repeat(truth(score, 26), 10).astype(np.int32)
    steps = run(begun(reference, dependent_rows=10), reference, many, y)
    assert max(values(steps, semconv.CONCEPT_ALARM)) == 0.0


def test_no_false_alarms_wanted_means_no_detector(reference: Reference) -> None:
    fold = begun(reference, false_alarms="0")
    assert run(fold, reference, easy(500, 1), np.ones(500, np.int32)) == [[]] * 5


def test_a_reference_with_few_labels_says_so() -> None:
    score = easy(2000, 27)
    few = Column(None, np.where(np.arange(2000) < 50, truth(score, 28), -1).astype(np.int32), CLASSES)
    built = build_reference("fraud", batch(score), task="binary_classification", label_classes=few)
    [note] = notes(begun(built), built)
    assert note == "its reference has fewer than 100 labels: whether the world changed is not known"


def test_a_reference_without_labels_has_no_evidence(reference: Reference) -> None:
    bare = build_reference("fraud", batch(easy(2000, 27)), task="binary_classification", positive_class="yes")
    fold = begun(bare)
    assert notes(fold, bare) == []
    score = easy(500, 28)
    assert fold.step(pane(bare, 0, outcomes(bare, score, truth(score, 29))), bare) == []
    assert notes(begun(reference), reference) == []


def test_a_regression_has_no_part(reference: Reference) -> None:
    value = np.random.default_rng(30).normal(size=500)
    rows = replace(batch(easy(500, 31)), score=None, value=value, positive_class="")
    regression = build_reference("price", rows, task="regression", label_values=value)
    assert regression.pane.further[Reliability].table.size == 0
    assert begun(regression).step(pane(regression, 0), regression) == []


def test_a_positive_class_that_is_decided_again_begins_again() -> None:
    assert {"further.reliability.table", "further.reliability.errors"} <= SCORE_SUMS


def test_from_requests_to_the_alarm(reference: Reference) -> None:
    pipeline = Pipeline(default_config().monitor, {"fraud": reference}, Telemetry(), 0)
    score = easy(20_000, 32)
    y = flipped(truth(score, 33), 0.3, 34)
    measured: list[Measurement] = []
    for number, (part, of_part) in enumerate(zip(np.split(score, 20), np.split(y, 20), strict=True)):
        at = (10 + number) * MINUTE
        rows = replace(batch(part, number * 1000), time_ns=np.full(1000, at, np.int64))
        labels = LabelBatch("fraud", rows.time_ns, rows.ids, Column(None, of_part, CLASSES))
        pipeline._predictions(rows, at)
        pipeline._labels(labels)
        measured += pipeline.tick(at)
    measured += pipeline.tick(100 * MINUTE)
    alarms = [item for item in measured if item.name == semconv.CONCEPT_ALARM]
    assert [item.value for item in alarms][-1] == 1.0
    assert alarms[-1].words.startswith("the world changed: ")
