"""Estimated performance that looks at features: its figures, and how far they can be relied on."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import (
    ESTIMATED_METRICS,
    UNSUPPORTED,
    EstimatedPerformanceMonitor,
)
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.estimates import calibrated, evaluate_evenly
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.adaptive import AdaptiveSums
from collector_processor.statistics.sample import Arrivals
from collector_processor.window.closed import Window
from otel_ml import semconv
from support import cbpe

pytest.importorskip("lightgbm")
MODEL = ModelKey("loans", "1")
KINDS = ("new", "known")
EXACT = ("accuracy", "precision", "recall", "f1", "specificity", *cbpe.SHARES)


def rows_of(seed: int, rows: int = 4000, known: float = 0.5):
    """Rows of the same score are positive more often for kind "known" than for "new", which the score does not show."""
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=rows), (rng.random(rows) < known).astype(np.int32)
    score = rng.uniform(0.05, 0.95, rows)
    return x, kind, score, rng.random(rows) < np.clip(score + np.where(kind == 0, -0.25, 0.25), 0.0, 1.0)


def batch(x, kind, score, truth=None, weights=None, names=KINDS) -> PredictionBatch:
    del truth
    rows = len(x)
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    features = {"x": Column(x), "kind": Column(None, np.asarray(kind, np.int32), names)}
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), ids, np.ones(rows) if weights is None else weights, np.full(rows, np.nan),
        features, score=score, positive_class="yes",
    )  # fmt: skip


def built(**more):
    each = rows_of(0)
    labels = Column(None, each[3].astype(np.int32), ("no", "yes"))
    return build_reference(
        "loans", batch(*each), task="binary_classification", positive_class="yes", label_classes=labels,
        segments=("kind",), **more,
    )  # fmt: skip


REFERENCE = built()


def pane_of(*batches, size=AdaptiveTrees.whole, reference=REFERENCE) -> Pane:
    pane = Pane.empty(reference.schema)
    for each in batches:
        for start in range(0, len(each), size):
            accumulate(pane, reference.schema, each.take(slice(start, start + size)))
    return pane


def measured(*batches, pane=None, method="adaptive", least=50, reference=REFERENCE, size=AdaptiveTrees.whole):
    pane = pane_of(*batches, size=size, reference=reference) if pane is None else pane
    monitor = EstimatedPerformanceMonitor(
        LeastLabels(min_labels=least), EstimateSettings.model_validate({"method": method})
    )
    return monitor.evaluate(Window(MODEL, 0, 60, reference.schema, pane), reference)


def figures(found, segment=None):
    names = {metric.name: name for name, metric in ESTIMATED_METRICS.items()} | {UNSUPPORTED.name: "unsupported"}
    return {
        names[item.name]: item.value
        for item in found
        if item.name in names and dict(item.attributes).get(semconv.SEGMENT_VALUE) == segment
    }


def corrected(each: PredictionBatch):
    evaluate_evenly(REFERENCE.schema, each, len(each))
    trees, p = REFERENCE.schema.fit(AdaptiveTrees), calibrated(REFERENCE.schema, each)
    assert trees is not None
    assert p is not None
    return trees.evaluate(each, p)[0]


def test_figures_are_those_of_the_corrected_probabilities():
    x, kind, score, _ = rows_of(1, 1000, known=0.9)
    each = batch(x, kind, score)
    found = measured(each)
    wanted = cbpe.estimated(corrected(each), (score >= 0.5).astype(int), score)
    for name in EXACT:
        assert figures(found)[name] == pytest.approx(wanted[name], abs=1e-9), name
    for name in ("roc_auc", "average_precision"):
        assert figures(found)[name] == pytest.approx(wanted[name], abs=2e-3), name
    for code, name in enumerate(KINDS):
        part = np.flatnonzero(kind == code)
        wanted = cbpe.estimated(corrected(each.take(part)), (score[part] >= 0.5).astype(int), score[part])
        assert figures(found, name)["f1"] == pytest.approx(wanted["f1"], abs=1e-9)
        for ranked in ("roc_auc", "average_precision"):
            assert figures(found, name)[ranked] == pytest.approx(wanted[ranked], abs=2e-3), ranked


def test_a_shift_that_scores_do_not_show_is_seen():
    x, kind, score, truth = rows_of(2, 4000, known=1.0)
    each = batch(x, kind, score)
    real = cbpe.realized(truth.astype(int), (score >= 0.5).astype(int), score)
    adaptive, plain = figures(measured(each)), figures(measured(each, method="cbpe"))
    for name in ("precision", "recall", "specificity"):
        assert abs(adaptive[name] - real[name]) < 0.03, name
    assert abs(plain["precision"] - real["precision"]) > 0.1
    assert "unsupported" not in plain


def test_each_series_is_there_once():
    found = measured(batch(*rows_of(3, 500)))
    keys = [(item.name, item.attributes) for item in found]
    assert len(keys) == len(set(keys))


def sampled(each: PredictionBatch, came: int) -> PredictionBatch:
    """The rows as if others had come before in the same minute."""
    arrivals = Arrivals()
    arrivals.numbers(np.zeros(came, np.int64), 0)
    arrivals.number(each, 0)
    return each


def test_some_of_many_rows_are_nearly_as_good_as_all():
    x, kind, score, _ = rows_of(4, 4000, known=0.9)
    each = batch(x, kind, score)
    some = pane_of(sampled(batch(x, kind, score), 9000))
    assert some.further[AdaptiveSums].evaluated[0] < 600
    assert figures(measured(pane=some))["accuracy"] == pytest.approx(figures(measured(each))["accuracy"], abs=0.02)
    plain = figures(measured(each, method="cbpe"))["precision"]
    whole = figures(measured(each))["precision"]
    assert abs(figures(measured(pane=some))["precision"] - whole) < 0.25 * abs(plain - whole)


def test_weights_count_as_repeated_rows():
    x, kind, score, _ = rows_of(5, 200)
    weights = np.where(kind == 1, 3.0, 1.0)
    again = np.repeat(np.arange(200), weights.astype(int))
    left, right = (
        figures(measured(batch(x, kind, score, weights=weights))),
        figures(measured(batch(x[again], kind[again], score[again]))),
    )
    for name in EXACT:
        assert left[name] == pytest.approx(right[name], abs=1e-9), name


def test_panes_add():
    each = batch(*rows_of(6, 600))
    left, right = pane_of(each.take(slice(0, 256))), pane_of(each.take(slice(256, None)))
    left.add(right)
    assert figures(measured(pane=left)) == pytest.approx(figures(measured(each)), abs=1e-12)


@pytest.mark.parametrize(("rows", "known"), [(0, False), (1, False), (49, False), (50, True)])
def test_few_rows_have_no_figures(rows, known):
    assert bool(figures(measured(batch(*rows_of(7, rows))))) is known


def test_a_group_of_few_evaluated_rows_is_left_out():
    x, kind, score, _ = rows_of(8, 1024, known=0.9)
    pane = pane_of(sampled(batch(x, kind, score), 17_000))
    assert (kind == 0).sum() > 50
    assert pane.further[AdaptiveSums].evaluated[0] > 50
    assert figures(measured(pane=pane))
    assert figures(measured(pane=pane), "new") == {}
    assert figures(measured(pane=pane, method="cbpe"), "new")


def test_unsupported_is_the_share_of_rows_that_the_reference_lacks():
    x, kind, score, _ = rows_of(9, 200)
    assert figures(measured(batch(x, kind, score)))["unsupported"] < 0.1
    assert figures(measured(batch(x, np.full(200, -1), score)))["unsupported"] == 1.0
    assert figures(measured(batch(x, np.zeros(200), score, names=("stranger",))))["unsupported"] == 1.0
    half = np.where(np.arange(200) % 2 == 0, 100.0, 0.0)
    assert figures(measured(batch(half, kind, score)))["unsupported"] == pytest.approx(0.5, abs=0.1)


def test_constant_rows_and_one_class_have_figures_within_their_range():
    each = batch(np.zeros(64), np.ones(64), np.full(64, 0.9))
    found = figures(measured(each))
    assert found["precision"] == pytest.approx(corrected(each)[0])
    assert "specificity" in found
    assert all(0.0 <= value <= 1.0 for value in found.values())


def test_rows_without_a_score_have_no_figures():
    each = batch(*rows_of(10, 100)[:2], np.full(100, np.nan))
    assert measured(each) == []


def test_without_trees_the_figures_are_those_of_the_calibration():
    learned = built(strict=False)
    assert learned.schema.fit(AdaptiveTrees) is None
    each = batch(*rows_of(11, 300))
    adaptive, plain = (measured(each, method=method, reference=learned) for method in ("adaptive", "cbpe"))
    assert adaptive == plain
    assert plain
    assert UNSUPPORTED.name not in {item.name for item in adaptive}


def test_expected_positives_are_those_of_the_reference_at_every_level_of_the_score():
    x, kind, score, truth = rows_of(0)
    each = batch(x, kind, score)
    p0, p = calibrated(REFERENCE.schema, each), corrected(each)
    assert p0 is not None
    parts = np.searchsorted(np.quantile(p0, np.arange(1, 8) / 8), p0)
    for part in range(8):
        assert p[parts == part].mean() == pytest.approx(truth[parts == part].mean(), abs=1e-3)
