"""Errors of a regression that trees of the reference lead to expect, before the labels come."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.estimated_errors import FIGURES, EstimatedErrorMonitor, without_losses
from collector_processor.monitors.performance import LeastLabels
from collector_processor.own.install import install
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.losses import LossSums
from collector_processor.statistics.sample import Arrivals
from collector_processor.window.closed import Window
from otel_ml import semconv

pytest.importorskip("lightgbm")
MODEL = ModelKey("cars", "1")
REGIONS = ("north", "south")
NAMES = {metric.name: loss for loss, metric in FIGURES.items()}


def batch(x, region, value, weights=None, error=None) -> PredictionBatch:
    rows = len(x)
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    features = {"x": Column(x), "region": Column(None, region.astype(np.int32), REGIONS)}
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), ids, np.ones(rows) if weights is None else weights, np.full(rows, np.nan),
        features, value=value, error=error,
    )  # fmt: skip


def rows_of(seed: int, rows: int = 3000, low: float = 0.0):
    """Errors grow with x, and are three times as large in the south."""
    rng = np.random.default_rng(seed)
    x, region = rng.uniform(low, 1.0, rows), rng.integers(0, 2, rows)
    value = 10.0 + 5.0 * x
    return x, region, value, value + rng.normal(size=rows) * (0.1 + x) * (1 + 2 * region)


def built(segments=("region",), **more):
    x, region, value, label = rows_of(0)
    return build_reference("cars", batch(x, region, value), label_values=label, segments=segments, **more)


REFERENCE = built()


def pane_of(*batches, size=16) -> Pane:
    """The sums of batches that are small enough for every row to be evaluated."""
    pane = Pane.empty(REFERENCE.schema)
    for each in batches:
        for start in range(0, len(each), size):
            accumulate(pane, REFERENCE.schema, each.take(slice(start, start + size)))
    return pane


def measured(*batches, pane=None, least=50, reference=REFERENCE, size=16):
    pane = pane_of(*batches, size=size) if pane is None else pane
    window = Window(MODEL, 0, 60, reference.schema, pane)
    return EstimatedErrorMonitor(LeastLabels(min_labels=least)).evaluate(window, reference)


def figures(found, segment=None):
    return {
        NAMES[item.name]: item.value
        for item in found
        if dict(item.attributes).get(semconv.SEGMENT_VALUE) == segment
    }  # fmt: skip


def expected(each: PredictionBatch, weights=None):
    losses = REFERENCE.schema.fit(LossTrees).evaluate(each)
    mean = np.average(losses, axis=0, weights=weights)
    return dict(
        zip(LOSSES, np.where([loss.startswith("squared") for loss in LOSSES], np.sqrt(mean), mean), strict=True)
    )


def test_figures_are_means_of_what_the_trees_expect_of_each_row():
    x, region, value, _ = rows_of(1, 300, low=0.5)
    each = batch(x, region, value)
    found = measured(each)
    assert figures(found) == pytest.approx(expected(each), rel=1e-12)
    for code, name in enumerate(REGIONS):
        assert figures(found, name) == pytest.approx(expected(each.take(np.flatnonzero(region == code))), rel=1e-12)
    assert {dict(item.attributes)[semconv.PERFORMANCE_SOURCE] for item in found} == {semconv.SOURCE_ESTIMATED}


def test_harder_rows_are_seen_before_their_labels():
    x, region, value, label = rows_of(2, 3000, low=0.7)
    error = np.abs(label - value)
    found = figures(measured(batch(x, region, value)))
    usual = np.abs(rows_of(0)[3] - rows_of(0)[2]).mean()
    assert error.mean() > 1.4 * usual
    assert found["absolute"] == pytest.approx(error.mean(), rel=0.07)
    assert found["squared"] == pytest.approx(np.sqrt((error**2).mean()), rel=0.07)


def test_weights_count_as_repeated_rows():
    x, region, value, _ = rows_of(3, 100)
    weights = np.where(region == 0, 3.0, 1.0)
    each = batch(x, region, value, weights)
    assert figures(measured(each)) == pytest.approx(expected(each, weights), rel=1e-12)


def test_a_part_of_a_busy_minute_stands_for_all_of_it():
    batches = [batch(*rows_of(seed, 1000 + seed, low=0.5)[:3]) for seed in range(40)]  # the seed of ids is their number
    whole = np.mean([expected(each)["absolute"] for each in batches])
    arrivals, rows = Arrivals(), sum(map(len, batches))
    for each in batches:
        arrivals.number(each, 0)
    pane = pane_of(*batches, size=1000)
    assert LossTrees.whole * 3 < pane.further[LossSums].sums[0, 0, 3] < LossTrees.whole * 5
    assert pane.further[LossSums].sums[0, 0, 0] == pytest.approx(rows, rel=0.1)
    assert figures(measured(pane=pane))["absolute"] == pytest.approx(whole, rel=0.1)


def test_the_order_in_which_panes_are_added_changes_nothing():
    x, region, value, _ = rows_of(4, 160)
    each = batch(x, region, value)
    left, right = pane_of(each.take(slice(0, 64))), pane_of(each.take(slice(64, None)))
    left.add(right)
    assert figures(measured(pane=left)) == pytest.approx(figures(measured(each)), rel=1e-12)


@pytest.mark.parametrize(("rows", "known"), [(0, 0), (1, 0), (49, 0), (50, 4)])
def test_few_rows_have_no_figures(rows, known):
    assert len(figures(measured(batch(*rows_of(5, rows)[:3])))) == known


def test_a_segment_with_few_rows_has_no_figures():
    x, region, value, _ = rows_of(6, 100)
    region = (np.arange(100) < 49).astype(int)
    found = measured(batch(x, region, value))
    assert len(figures(found)) == 4
    assert len(figures(found, "north")) == 4
    assert figures(found, "south") == {}


def test_constant_rows_have_the_error_of_one():
    each = batch(np.full(64, 0.5), np.zeros(64, int), np.full(64, 12.5))
    assert figures(measured(each)) == pytest.approx(expected(each.take(slice(0, 1))), rel=1e-12)


def test_rows_without_features_have_an_error_and_rows_without_a_prediction_none():
    missing = batch(np.full(64, np.nan), np.full(64, -1), np.full(64, 12.5))
    assert figures(measured(missing)) == pytest.approx(expected(missing), rel=1e-12)
    assert measured(batch(np.full(64, 0.5), np.zeros(64, int), np.full(64, np.nan))) == []


def test_failed_calls_have_no_error():
    x, region, value, _ = rows_of(7, 128)
    failed = np.where(np.arange(128) % 2 == 0, 0, -1).astype(np.int32)
    found = measured(batch(x, region, value, error=Column(None, failed, ("timeout",))))
    assert figures(found) == pytest.approx(expected(batch(x, region, value).take(slice(1, None, 2))), rel=1e-12)


def test_negative_predictions_have_no_logarithm():
    x, region, value, _ = rows_of(8, 100)
    value[:2] = -1.5
    assert set(figures(measured(batch(x, region, value)))) == set(LOSSES) - {"squared_log"}
    value[:1] = 1.5
    assert set(figures(measured(batch(x, region, value)))) == set(LOSSES)


def test_sums_that_cancel_leave_nothing():
    each = batch(*rows_of(9, 100)[:3])
    pane = pane_of(each)
    back = each.take(slice(0, None))
    back.weights[:] = -1.0
    pane.add(pane_of(back))
    assert measured(pane=pane) == []


def test_why_there_is_no_estimate():
    x, region, value, label = rows_of(10)
    assert without_losses(REFERENCE) == ""
    assert "no labels" in without_losses(build_reference("cars", batch(x, region, value), task="regression"))
    few = build_reference("cars", batch(x[:900], region[:900], value[:900]), label_values=label[:900])
    assert "fewer than 1,000 rows" in without_losses(few)
    learned = built(strict=False)
    assert install("estimate") in without_losses(learned)
    assert measured(pane=Pane.empty(learned.schema), reference=learned) == []
