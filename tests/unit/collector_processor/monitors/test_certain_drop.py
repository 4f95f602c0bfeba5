"""What the drop of a figure is at least, whatever chance did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.alerts.rules import DEFAULT_RULES
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.certain_drop import CERTAIN_METRICS, CertainDropMonitor
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("m")
RULE = next(rule for rule in DEFAULT_RULES if rule.name == "performance_drop")
Outcome = tuple[PredictionBatch, Labels]


def texts(values: np.ndarray, names: tuple[str, ...]) -> Column:
    return Column(None, np.asarray(values).astype(np.int32), names)


def batch(rows: int, **outputs) -> PredictionBatch:
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        features={"x": Column(np.arange(rows, dtype=float))}, **outputs,
    )  # fmt: skip


def binary(rows: int, base: float, recall: float, seed: int) -> Outcome:
    """False positives are one percent; a hit scores .9, everything else .1."""
    random = np.random.default_rng(seed)
    truth = random.random(rows) < base
    said = np.where(truth, random.random(rows) < recall, random.random(rows) < 0.01)
    names = ("no", "yes")
    return batch(rows, prediction=texts(said, names), score=np.where(said, 0.9, 0.1)), Labels(texts(truth, names))


def multiclass(rows: int, classes: int, wrong_in_last: float, seed: int) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, rows)
    wrong = random.random(rows) < np.where(truth == classes - 1, wrong_in_last, 0.1)
    names = tuple(f"c{number}" for number in range(classes))
    return batch(rows, prediction=texts((truth + wrong) % classes, names)), Labels(texts(truth, names))


def regression(rows: int, spread: float, seed: int) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.normal(100.0, 20.0, rows)
    return batch(rows, value=truth + random.normal(0.0, spread, rows)), Labels(values=truth)


def reference_of(outcome: Outcome, **more) -> Reference:
    predictions, labels = outcome
    return build_reference("m", predictions, label_classes=labels.classes, label_values=labels.values, **more)


def fired(reference: Reference, outcome: Outcome) -> set[tuple[str, str]]:
    """The figures that breach the built-in rule: (metric, average)."""
    predictions, labels = outcome
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, predictions)
    outcomes = reference_outcomes(schema, predictions, labels)
    assert outcomes is not None
    accumulate_outcomes(pane, schema, outcomes)
    found = CertainDropMonitor(LeastLabels()).evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    breaches = [dict(item.attributes) for item in found if RULE.matches(item.attributes) and RULE.breached(item.value)]
    return {(each[semconv.PERFORMANCE_METRIC], each.get(semconv.PERFORMANCE_AVERAGE, "")) for each in breaches}


def test_recall_that_falls_to_nothing_is_an_alert_although_accuracy_hardly_moves():
    """The case of the issue: .87 → 0 was silent, because the rule knew accuracy, AUC, MAE and RMSE only."""
    reference = reference_of(binary(20_000, 0.02, 0.87, 0), positive_class="yes")
    found = fired(reference, binary(2_000, 0.02, 0.0, 1))
    assert {("recall", ""), ("f1", "")} <= found
    assert ("accuracy", "") not in found


def test_one_class_of_twenty_that_is_always_wrong_is_an_alert():
    reference = reference_of(multiclass(20_000, 20, 0.1, 0))
    assert fired(reference, multiclass(4_000, 20, 1.0, 1)) == {("recall", "worst")}


def test_errors_twice_as_large_are_an_alert():
    reference = reference_of(regression(20_000, 5.0, 0))
    assert fired(reference, regression(500, 10.0, 1)) == {("mae", ""), ("rmse", ""), ("mape", ""), ("r2", "")}


@given(error=st.floats(min_value=-1e100, max_value=1e100), rows=st.sampled_from([60, 500, 2400]))
@settings(max_examples=30, deadline=None)
def test_no_single_error_is_an_alert(error, rows):
    reference = reference_of(regression(5_000, 5.0, 0))
    predictions, labels = regression(rows, 5.0, 1)
    assert predictions.value is not None
    predictions.value[0] += error
    assert fired(reference, (predictions, labels)) == set()


@given(score=st.floats(0.0, 1.0), rows=st.sampled_from([60, 500, 2400]))
@settings(max_examples=30, deadline=None)
def test_no_single_score_is_an_alert(score, rows):
    """A true class of probability 0 costs a log loss of 36."""
    reference = reference_of(binary(5_000, 0.3, 0.87, 0), positive_class="yes")
    predictions, labels = binary(rows, 0.3, 0.87, 1)
    assert predictions.score is not None
    predictions.score[0] = score
    assert fired(reference, (predictions, labels)) == set()


@pytest.mark.parametrize("rows", [60, 200, 1_000])
@pytest.mark.parametrize("kind", ["binary", "rare", "multiclass", "regression"])
def test_the_same_model_on_other_rows_is_no_alert(kind, rows):
    def outcome(count: int, seed: int) -> Outcome:
        if kind == "multiclass":
            return multiclass(count, 12, 0.1, seed)
        return regression(count, 5.0, seed) if kind == "regression" else binary(
            count, 0.01 if kind == "rare" else 0.3, 0.87, seed
        )  # fmt: skip

    reference = reference_of(
        outcome(5_000, 0), **({} if kind in {"multiclass", "regression"} else {"positive_class": "yes"})
    )
    assert [fired(reference, outcome(rows, seed)) for seed in range(1, 40)] == [set()] * 39


def test_too_few_labels_have_no_certain_drop():
    reference = reference_of(regression(5_000, 5.0, 0))
    assert fired(reference, regression(40, 50.0, 1)) == set()


def test_every_metric_that_has_an_interval_is_measured():
    names = {
        metric
        for reference, outcome in (
            (reference_of(binary(5_000, 0.3, 0.9, 0), positive_class="yes"), binary(5_000, 0.3, 0.0, 1)),
            (reference_of(regression(5_000, 5.0, 0)), regression(500, 50.0, 1)),
        )
        for metric, _ in fired(reference, outcome)
    }
    assert names == set(CERTAIN_METRICS)
