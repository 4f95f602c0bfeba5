"""How much worse than the reference: its own outcomes against those of the window, figure by figure."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.performance import DROP_LABELS, LeastLabels, PerformanceMonitor
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
ROWS = 400


def texts(values) -> Column:
    names = tuple(dict.fromkeys(values))
    return Column(None, np.array([names.index(value) for value in values], np.int32), names)


def batch(rows=ROWS, *, predicted=None, score=None, value=None, region=None) -> PredictionBatch:
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        features={"x": Column(np.arange(rows, dtype=float))},
        segments={} if region is None else {"region": texts(region)},
        prediction=None if predicted is None else texts(predicted), score=score, value=value,
    )  # fmt: skip


def binary(wrong: int, rows: int = ROWS, **more):
    """Half of the rows are positive, so many of them predicted wrongly, and scored that way."""
    truth = np.arange(rows) % 2 == 0
    flipped = np.arange(rows) < wrong
    said = truth != flipped
    predictions = batch(rows, predicted=np.where(said, "yes", "no").tolist(), score=np.where(said, 0.9, 0.1), **more)
    return predictions, Labels(texts(np.where(truth, "yes", "no").tolist()))


def values(wrong_by: float, rows: int = ROWS, **more):
    truth = np.linspace(10.0, 20.0, rows)
    return batch(rows, value=truth + wrong_by, **more), Labels(values=truth)


def reference_of(outcome, **settings) -> Reference:
    predictions, labels = outcome
    return build_reference("m", predictions, label_classes=labels.classes, label_values=labels.values, **settings)


def drops(reference: Reference, outcome, min_labels: int = 50, monitor: PerformanceMonitor | None = None):
    """Each drop by (metric, segment value)."""
    predictions, labels = outcome
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, predictions)
    outcomes = reference_outcomes(schema, predictions, labels)
    assert outcomes is not None
    accumulate_outcomes(pane, schema, outcomes)
    found = (monitor or PerformanceMonitor(LeastLabels(min_labels=min_labels))).evaluate(
        Window(MODEL, 0, 60, schema, pane), reference
    )
    pairs = [(dict(item.attributes), item.value) for item in found if item.name == semconv.PERFORMANCE_DROP]
    assert all(attributes[semconv.PERFORMANCE_SOURCE] == semconv.SOURCE_LABELS for attributes, _ in pairs)
    return {(each[semconv.PERFORMANCE_METRIC], each.get(semconv.SEGMENT_VALUE, "")): value for each, value in pairs}


def test_a_drop_is_the_lost_share_of_what_there_was():
    reference = reference_of(binary(40), positive_class="yes")  # accuracy 0.9
    assert drops(reference, binary(40))["accuracy", ""] == pytest.approx(0.0)
    assert drops(reference, binary(120))["accuracy", ""] == pytest.approx((0.9 - 0.7) / 0.9)
    assert drops(reference, binary(0))["accuracy", ""] == pytest.approx(-0.1 / 0.9)


def test_an_error_or_a_loss_that_grows_is_a_drop():
    reference = reference_of(binary(40), positive_class="yes")
    worse, better = drops(reference, binary(120)), drops(reference, binary(20))
    for metric in ("log_loss", "brier", "accuracy", "roc_auc", "f1", "precision", "recall"):
        assert worse[metric, ""] > 0.1, metric
        assert better[metric, ""] < 0.0, metric
    found = drops(reference_of(values(2.0)), values(3.0))
    assert found["mae", ""] == pytest.approx(0.5)
    assert found["rmse", ""] == pytest.approx(0.5)
    assert found["r2", ""] > 0


def test_a_reference_figure_that_is_not_above_0_is_no_yardstick():
    perfect = drops(reference_of(values(0.0)), values(3.0))
    assert {metric for metric, _ in perfect} == {"r2"}
    hopeless = drops(reference_of(values(50.0)), values(3.0))
    assert ("r2", "") not in hopeless
    assert hopeless["mae", ""] == pytest.approx(-0.94)


def test_a_reference_without_labels_tells_no_drop():
    predictions, _ = binary(40)
    assert drops(build_reference("m", predictions, positive_class="yes"), binary(120)) == {}


@pytest.mark.parametrize(("before", "now"), [(ROWS, 40), (40, ROWS)])
def test_a_drop_needs_several_times_as_many_labels_on_both_sides(before, now):
    reference = reference_of(binary(4, before), positive_class="yes")
    assert drops(reference, binary(20, now), min_labels=40 // DROP_LABELS)
    assert drops(reference, binary(20, now), min_labels=40 // DROP_LABELS + 1) == {}


def test_each_segment_is_compared_with_itself():
    region = ["north" if row < ROWS // 2 else "south" for row in range(ROWS)]
    reference = reference_of(binary(20, region=region), positive_class="yes", segments=["region"])
    found = drops(reference, binary(100, region=region))
    assert found["accuracy", "north"] == pytest.approx((0.9 - 0.5) / 0.9)
    assert found["accuracy", "south"] == pytest.approx(0.0)
    assert found["accuracy", ""] == pytest.approx((0.95 - 0.75) / 0.95)


def test_a_segment_value_that_the_reference_does_not_have_has_no_drop():
    reference = reference_of(binary(20, region=["north"] * ROWS), positive_class="yes", segments=["region"])
    found = drops(reference, binary(100, region=["north"] * (ROWS // 2) + ["east"] * (ROWS // 2)))
    assert {segment for _, segment in found} == {"", "north"}


def test_averages_are_compared_with_their_own():
    truth = [str(row % 3) for row in range(ROWS)]
    guessed = ["0" if row % 10 == 0 else said for row, said in enumerate(truth)]
    outcome = batch(predicted=truth), Labels(texts(truth))
    reference = reference_of(outcome)
    found = PerformanceMonitor(LeastLabels()).metrics[-1]
    assert semconv.PERFORMANCE_AVERAGE in found.attributes
    dropped = drops(reference, (batch(predicted=guessed), Labels(texts(truth))))
    assert dropped["accuracy", ""] == pytest.approx(1 - np.mean([a == b for a, b in zip(truth, guessed, strict=True)]))


def test_another_reference_is_not_mistaken_for_the_one_before():
    monitor = PerformanceMonitor(LeastLabels())
    good, bad = reference_of(binary(40), positive_class="yes"), reference_of(binary(120), positive_class="yes")
    for reference, drop in ((good, 0.2 / 0.9), (bad, 0.0), (good, 0.2 / 0.9)):
        assert drops(reference, binary(120), monitor=monitor)["accuracy", ""] == pytest.approx(drop)
