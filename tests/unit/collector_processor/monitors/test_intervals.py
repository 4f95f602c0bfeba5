"""Intervals of performance: what they cover, and what they do with windows that are odd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from collector_processor.columns.batch import PredictionBatch
from collector_processor.monitors.certain_drop import LEVEL
from collector_processor.monitors.class_intervals import matthews as matthews_interval
from collector_processor.monitors.class_intervals import variance
from collector_processor.monitors.figure_intervals import intervals as plain_intervals
from collector_processor.monitors.further_performance import FurtherPerformanceSettings, matthews
from collector_processor.monitors.interval_monitor import IntervalMonitor, widened
from collector_processor.monitors.intervals import BAND, of_share
from collector_processor.monitors.performance import LeastLabels
from collector_processor.monitors.restated import restated
from collector_processor.pipeline.first_labels import FirstLabels
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.label_moments import LabelMoments
from collector_processor.window.closed import Window
from collector_processor.window.cohorts import Cohorts
from otel_ml import semconv
from support.performance import MODEL, binary_rows, outcomes_of, pane_of, schema_of
from verification.topics import intervals as topic

BINARY = schema_of("binary_classification", numeric=[("score", binary_rows(3, 50_000, 0.3)[1])])
REGRESSION = schema_of("regression", classes=(), positive="", numeric=[("label", np.linspace(0.0, 100.0, 1000))])


def bands(schema, pane, *, min_labels=50, flat=False, **more):
    monitor = IntervalMonitor(FurtherPerformanceSettings(**more), LeastLabels(min_labels=min_labels))
    reference = Reference(MODEL.name, schema, pane, np.zeros(len(schema.numeric)), "test", "")
    found = {}
    for item in monitor.evaluate(Window(MODEL, 0, 1000, schema, pane), reference):
        metric = next(metric for metric in monitor.metrics if metric.name == item.name)
        assert {key for key, _ in item.attributes} <= set(metric.attributes)
        last = " ".join(value for key, value in item.attributes[2:] if key != semconv.PERFORMANCE_SOURCE)
        found.setdefault(last, []).append(item.value)
    assert all(len(ends) == 2 and ends[0] <= ends[1] for ends in found.values())
    return {f"{name} {end}": ends[end] for name, ends in found.items() for end in (0, 1)} if flat else found


def binary_batch(rows, seed=1, rate=0.3, weights=None, groups=None):
    truth, scores, decided = binary_rows(seed, rows, rate)
    return outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores, weights=weights, groups=groups)


def regression_batch(rows, seed=1, weights=None):
    random = np.random.default_rng(seed)
    labels = random.normal(50.0, 20.0, rows)
    return outcomes_of(label_values=labels, predicted_values=labels + random.normal(1.0, 5.0, rows), weights=weights)


@pytest.mark.parametrize("case", topic.CASES)
def test_every_figure_has_an_interval_and_lies_in_it(case):
    task, draw = topic.CASES[case]
    random = np.random.default_rng(5)
    window = topic.window_of(topic.schema_of(task, random), draw(random, 5_000))
    ends = topic.intervals(window)
    for name, value in topic.figures(window):
        low, high = ends[name]
        assert low <= value <= high, name
        assert low < high, name


@pytest.mark.parametrize("case", topic.CASES)
def test_about_95_of_100_intervals_cover_the_truth(case):
    for name, (had, hit) in topic.covered(case, 300, 100).items():
        assert had < 50 or hit >= 0.86 * had, name  # four standard errors below


def test_few_misses_have_the_exact_interval():
    found = of_share(np.array([0.98]), np.array([100.0]), BAND)
    assert found.value[0] - found.down[0] == pytest.approx(beta.ppf(0.025, 98, 3), abs=1e-12)
    assert found.value[0] + found.up[0] == pytest.approx(beta.ppf(0.975, 99, 2), abs=1e-12)


def test_the_variance_of_a_correlation_is_that_of_its_numerical_gradient():
    by_class = np.array([[[0.0, 60, 25], [0.0, 70, 30], [0.0, 65, 35]]])
    cells = {(1, 1): 60.0, (1, 2): 10.0, (2, 1): 5.0, (2, 2): 25.0}

    def value(counts):
        table = np.zeros((1, 3, 3))
        for (label, predicted), count in counts.items():
            table[0, 0, label] += count * (label == predicted)
            table[0, 1, label] += count
            table[0, 2, predicted] += count
        return matthews(table)[0]

    expected = 0.0
    for cell, count in cells.items():
        step = {key: each + 1e-4 * (key == cell) for key, each in cells.items()}
        expected += count * ((value(step) - value(cells)) / 1e-4) ** 2
    found = matthews_interval(matthews(by_class), by_class, by_class, BAND)
    center = (1.0 + value(cells)) / 2.0
    n = center * (1.0 - center) / (expected / 4.0)
    assert 2.0 * of_share(np.array([center]), np.array([n]), BAND).down[0] == pytest.approx(found.down[0], rel=1e-3)


def test_the_variance_is_at_least_that_of_any_confusion_of_three_classes():
    random = np.random.default_rng(2)
    for _ in range(50):
        table = random.integers(0, 30, (4, 4)).astype(float)
        table[0], table[:, 0] = 0.0, 0.0
        by_class = np.stack((np.diag(table), table.sum(axis=1), table.sum(axis=0)))[None]
        gradient = random.normal(size=(1, 3, 4))
        influence = np.diag(gradient[0, 0]) + gradient[0, 1][:, None] + gradient[0, 2][None, :]
        assert variance(gradient, by_class)[0] >= (table * influence**2).sum() * (1 - 1e-9)


def test_rows_of_equal_weight_are_as_many_as_they_are():
    plain, heavy = binary_batch(2_000), binary_batch(2_000, weights=np.full(2_000, 10.0))
    expected = bands(BINARY, pane_of(BINARY, plain), flat=True)
    assert bands(BINARY, pane_of(BINARY, heavy), flat=True) == pytest.approx(expected, rel=1e-9)
    plain, heavy = regression_batch(2_000), regression_batch(2_000, weights=np.full(2_000, 10.0))
    expected = bands(REGRESSION, pane_of(REGRESSION, plain), quantile=0.9, flat=True)
    assert bands(REGRESSION, pane_of(REGRESSION, heavy), quantile=0.9, flat=True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("schema", "batch"), [(BINARY, binary_batch), (REGRESSION, regression_batch)])
def test_labels_that_were_taken_back_leave_nothing(schema, batch):
    kept, gone = batch(500), batch(300, seed=2, weights=np.full(300, 3.0))
    back = batch(300, seed=2, weights=np.full(300, -3.0))
    assert bands(schema, pane_of(schema, gone, back)) == {}
    expected = bands(schema, pane_of(schema, kept), flat=True)
    assert bands(schema, pane_of(schema, gone, kept, back), flat=True) == pytest.approx(expected, rel=1e-6)


def test_panes_add_up():
    parts = [pane_of(REGRESSION, regression_batch(300, seed)) for seed in range(3)]
    total = Pane.empty(REGRESSION)
    for part in parts:
        total.add(part)
    whole = pane_of(REGRESSION, *(regression_batch(300, seed) for seed in range(3)))
    assert bands(REGRESSION, total, flat=True) == pytest.approx(bands(REGRESSION, whole, flat=True), rel=1e-9)


def test_equal_errors_have_no_interval():
    labels = np.linspace(10.0, 90.0, 200)
    pane = pane_of(REGRESSION, outcomes_of(label_values=labels, predicted_values=labels + 2.0))
    assert set(bands(REGRESSION, pane)) == {"mape", "r2"}
    perfect = pane_of(REGRESSION, outcomes_of(label_values=labels, predicted_values=labels))
    assert bands(REGRESSION, perfect) == {}


@pytest.mark.parametrize("slot", [1, 2])
def test_one_class_alone_has_intervals_of_shares_only(slot):
    batch = outcomes_of(labels=[slot] * 100, predicted=[slot] * 100, scores=np.linspace(0, 1, 100))
    found = bands(BINARY, pane_of(BINARY, batch))
    assert set(found) == ({"accuracy", "specificity"} if slot == 1 else {"accuracy", "precision", "recall", "f1"})
    assert found["accuracy"] == pytest.approx([beta.ppf(0.025, 100, 1), 1.0])


def test_a_few_positive_rows_have_no_interval_of_the_score():
    truth = np.arange(200) < 5
    random = np.random.default_rng(1)
    batch = outcomes_of(labels=1 + truth, predicted=1 + (random.random(200) < 0.1), scores=random.random(200))
    found = bands(BINARY, pane_of(BINARY, batch))
    assert not {"roc_auc", "brier", "log_loss", "calibration_error", "average_precision", "lift 0.1"} & set(found)
    assert {"accuracy", "recall", "specificity"} <= set(found)


def test_too_few_labels_have_no_interval_and_segments_need_four_times_as_many():
    assert bands(BINARY, pane_of(BINARY, binary_batch(49))) == {}
    schema = schema_of(
        "binary_classification", numeric=[("score", binary_rows(3, 50_000, 0.3)[1])], segments=("region",)
    )
    slots = schema.groups.slots(0, ("north", "south")) + 1
    groups = np.where(np.arange(300) < 199, slots[0], slots[1]).astype(np.int32)[:, None]
    batch = binary_batch(300, groups=groups)
    assert not any("region" in name for name in bands(schema, pane_of(schema, batch)))
    assert any("region north" in name for name in bands(schema, pane_of(schema, batch, batch)))


def test_no_intervals_if_they_are_off():
    assert bands(BINARY, pane_of(BINARY, binary_batch(500)), intervals=False) == {}


@pytest.mark.parametrize(("schema", "batch"), [(BINARY, binary_batch), (REGRESSION, regression_batch)])
def test_intervals_of_any_time_are_wider_and_end_where_a_figure_ends(schema, batch):
    for rows in (50, 60, 5_000):
        pane = pane_of(schema, batch(rows))
        usual, anytime = bands(schema, pane), bands(schema, pane, intervals="anytime")
        assert usual.keys() == anytime.keys()
        wider = widened(rows, 200.0)
        for name, (low, high) in usual.items():
            middle = (low + high) / 2.0
            assert anytime[name][0] <= low <= middle <= high <= anytime[name][1], name
            assert anytime[name][1] - anytime[name][0] <= (high - low) * wider * (1 + 1e-9), name
            if batch is binary_batch and name.split()[-1] not in ("log_loss", "lift"):
                assert anytime[name][1] <= 1.0, name


def test_intervals_of_any_time_hold_at_every_look():
    """100 streams of 40 panes: 5 may miss; of intervals of one look, every fourth stream or more misses."""
    random, missed = np.random.default_rng(3), np.zeros(2)
    for _ in range(100):
        right = np.cumsum(random.random((40, 50)) < 0.8, axis=None)[49::50]
        count = np.arange(50.0, 2001.0, 50.0)
        each = of_share(right / count, count, BAND)
        wider = np.array([widened(n, 200.0) for n in count])
        for kind, factor in enumerate((1.0, wider)):
            low, high = each.value - each.down * factor, each.value + each.up * factor
            missed[kind] += not ((low <= 0.8) & (high >= 0.8)).all()
    assert missed[0] >= 25
    assert missed[1] <= 5


def test_equal_weights_do_not_change_how_much_wider_they_are():
    plain, heavy = binary_batch(500), binary_batch(500, weights=np.full(500, 10.0))
    expected = bands(BINARY, pane_of(BINARY, plain), flat=True, intervals="anytime")
    assert bands(BINARY, pane_of(BINARY, heavy), flat=True, intervals="anytime") == pytest.approx(expected, rel=1e-6)


def test_without_moments_there_are_only_intervals_that_do_not_need_them():
    """A snapshot of an earlier version has no moments."""
    for schema, batch, expected in (
        (BINARY, binary_batch(500), {"accuracy", "f1", "roc_auc", "mcc"}),
        (REGRESSION, regression_batch(500), set()),
    ):
        pane = pane_of(schema, batch)
        pane.further = pane.further.replaced(LabelMoments.empty(schema))
        found = set(bands(schema, pane))
        assert expected <= found
        assert not found & {"brier", "log_loss", "mae", "rmse", "mape", "r2"}


@given(error=st.floats(min_value=-1e139, max_value=1e139), label=st.booleans())
@settings(max_examples=50, deadline=None)
def test_no_single_row_moves_a_figure_out_of_the_interval_that_judges_drops(error, label):
    random = np.random.default_rng(1)
    labels = random.normal(50.0, 20.0, 400)
    predicted = labels + random.normal(0.0, 5.0, 400)
    before = plain_intervals(REGRESSION, pane_of(REGRESSION, regression_batch(400)), LEVEL)
    (labels if label else predicted)[0] += error
    after = plain_intervals(
        REGRESSION, pane_of(REGRESSION, outcomes_of(label_values=labels, predicted_values=predicted)), LEVEL
    )
    for name in ("mae", "rmse", "mape"):
        assert not (after[name, ""].value[0] - after[name, ""].down[0] > 2.0 * before[name, ""].value[0])
    assert not (after["r2", ""].value[0] + after["r2", ""].up[0] < before["r2", ""].value[0] - 0.1)


def test_restated_figures_have_the_intervals_of_the_same_labels():
    batch = replace(regression_batch(500), predicted_ns=np.zeros(500, np.int64))
    cohorts = Cohorts(MODEL, REGRESSION, 1000)
    ids = np.zeros((500, 2), np.uint64)
    cohorts.add(PredictionBatch(MODEL, np.zeros(500, np.int64), ids, np.ones(500), np.full(500, np.nan)), 1000)
    cohorts.add_outcomes(batch)
    cohort = cohorts.settled(50, 1000)
    assert cohort is not None
    found = [item for item in restated(cohort, 50, 1000) if item.name == semconv.PERFORMANCE_LOWER]
    assert {dict(item.attributes)[semconv.PERFORMANCE_SOURCE] for item in found} == {semconv.SOURCE_RESTATED}
    lower = {dict(item.attributes)[semconv.PERFORMANCE_METRIC]: item.value for item in found}
    expected = bands(REGRESSION, pane_of(REGRESSION, batch))
    assert lower == pytest.approx({name: ends[0] for name, ends in expected.items()}, rel=1e-12)
    names = {item.name for item in restated(cohort, 50, 1000, looks=False)}
    assert not names & {semconv.PERFORMANCE_LOWER, semconv.PERFORMANCE_UPPER}


def test_what_the_first_labels_vary_survives_a_restart():
    reference = Reference(MODEL.name, REGRESSION, Pane.empty(REGRESSION), np.zeros(1), "test", "")
    first, again = FirstLabels(400), FirstLabels(400)
    assert first.add(reference, REGRESSION, regression_batch(500))
    again.restore(reference, REGRESSION, first.state())
    old = {name: values for name, values in first.state().items() if name != "moments"}
    earlier = FirstLabels(400)
    earlier.restore(reference, REGRESSION, old)
    found = [
        set(bands(REGRESSION, each.reference.pane)) for each in (first, again, earlier) if each.reference is not None
    ]
    assert found == [{"mae", "rmse", "mape", "r2"}, {"mae", "rmse", "mape", "r2"}, set()]
