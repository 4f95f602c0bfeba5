"""Further figures of performance against scikit-learn, on sums that add."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from collector_processor.monitors.further_performance import (
    FurtherPerformanceMonitor,
    FurtherPerformanceSettings,
    average_precision,
    lift,
)
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.profile import Reference
from collector_processor.window.closed import Window
from otel_ml import semconv
from support.performance import MODEL, binary_rows, outcomes_of, pane_of, schema_of

EXACT = {"abs": 1e-12, "rel": 1e-12}
BINNED = {"abs": 2e-3}


def measured(schema, pane, min_labels=1, **settings):
    """All measurements by metric and the attributes besides the model's."""
    monitor = FurtherPerformanceMonitor(FurtherPerformanceSettings(**settings), LeastLabels(min_labels=min_labels))
    reference = Reference(MODEL.name, schema, pane, np.zeros(len(schema.numeric)), "test", "")
    found = {}
    for item in monitor.evaluate(Window(MODEL, 0, 1000, schema, pane), reference):
        announced = [metric for metric in monitor.metrics if metric.name == item.name]
        assert any({key for key, _ in item.attributes} <= set(metric.attributes) for metric in announced)
        last = [value for key, value in item.attributes[2:] if key != semconv.PERFORMANCE_SOURCE]
        found[" ".join([item.name.removeprefix(semconv.PERFORMANCE), *last])] = item.value
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("rate", "concentrated"), [(0.3, False), (0.01, False), (0.02, True)])
def test_binary_figures_equal_scikit_learn(rate, concentrated, weighted):
    truth, scores, decided = binary_rows(1, 60_000, rate, concentrated)
    weights = np.random.default_rng(2).choice([1.0, 2.5, 10.0], len(truth)) if weighted else np.ones(len(truth))
    schema = schema_of("binary_classification", numeric=[("score", binary_rows(3, 50_000, rate, concentrated)[1])])
    batch = outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores, weights=weights)
    found = measured(schema, pane_of(schema, batch), lift_at=(0.01, 0.1))

    top = {share: _lift(truth, scores, weights, share) for share in (0.01, 0.1)}
    assert found.pop("average_precision") == pytest.approx(
        sk.average_precision_score(truth, scores, sample_weight=weights), **BINNED
    )
    assert "lift 0.1" in found or rate < 0.3  # a wide bin of few positive rows cannot be cut
    for share, expected in top.items():
        assert found.pop(f"lift {share}", expected) == pytest.approx(expected, rel=0.02)
    assert found == pytest.approx(
        {
            "specificity": sk.recall_score(truth, decided, pos_label=False, sample_weight=weights),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, decided, sample_weight=weights),
            "mcc": sk.matthews_corrcoef(truth, decided, sample_weight=weights),
        },
        **EXACT,
    )


def _lift(truth, scores, weights, share):
    """Ties are taken in equal parts."""
    _, level = np.unique(-scores, return_inverse=True)
    rows, positive = np.bincount(level, weights), np.bincount(level, weights * truth)
    taken = np.clip(share * weights.sum() - (np.cumsum(rows) - rows), 0, rows)
    return (taken * positive / rows).sum() / taken.sum() / np.average(truth, weights=weights)


def test_few_distinct_scores_have_an_exact_average_precision():
    rng = np.random.default_rng(4)
    truth = rng.random(5_000) < 0.3
    scores = np.round(np.clip(rng.normal(np.where(truth, 0.6, 0.4), 0.2), 0, 1), 1)
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    batch = outcomes_of(labels=1 + truth, predicted=1 + (scores >= 0.5), scores=scores)
    found = measured(schema, pane_of(schema, batch))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(truth, scores), **EXACT)


def test_scores_in_one_bin_have_no_average_precision_and_no_lift():
    truth = np.arange(1000) % 2 == 0
    schema = schema_of("binary_classification", numeric=[("score", np.linspace(0, 0.5, 1000))])
    batch = outcomes_of(labels=1 + truth, predicted=1 + truth, scores=np.linspace(0.8, 0.9, 1000))
    found = measured(schema, pane_of(schema, batch))
    assert "average_precision" not in found
    assert "lift 0.1" not in found


@pytest.mark.parametrize("slot", [1, 2])
def test_one_class_alone_has_only_what_is_defined(slot):
    schema = schema_of("binary_classification", numeric=[("score", np.linspace(0, 1, 100))])
    batch = outcomes_of(labels=[slot] * 100, predicted=[slot] * 100, scores=np.linspace(0, 1, 100))
    found = measured(schema, pane_of(schema, batch))
    assert found == ({"specificity": 1.0} if slot == 1 else {"average_precision": 1.0})


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_figures_equal_scikit_learn(weighted):
    rng = np.random.default_rng(5)
    labels = rng.choice([1, 2, 3, 4], 4_000, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(4_000) < 0.7, labels, rng.integers(1, 5, 4_000))
    weights = rng.choice([1.0, 2.5], 4_000) if weighted else np.ones(4_000)
    schema = schema_of("multiclass_classification", classes=tuple("abcd"), positive="")
    batch = outcomes_of(labels=labels, predicted=predicted, weights=weights)
    found = measured(schema, pane_of(schema, batch), classes=3)

    by_class = sk.precision_recall_fscore_support(labels, predicted, sample_weight=weights)
    precision, recall, f1 = (np.asarray(figures) for figures in by_class[:3])
    expected = {
        "mcc": sk.matthews_corrcoef(labels, predicted, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted, sample_weight=weights),
        **{
            f"{name} micro": sk.accuracy_score(labels, predicted, sample_weight=weights)
            for name in ("precision", "recall", "f1")
        },
    }
    for place, name in enumerate("abc"):  # the three classes with most labels
        expected |= {f"precision {name}": precision[place], f"recall {name}": recall[place], f"f1 {name}": f1[place]}
    assert found == pytest.approx(expected, **EXACT)


def test_classes_beyond_the_limit_leave_out_what_needs_all_classes():
    schema = schema_of("multiclass_classification", classes=("a",), positive="")
    batch = outcomes_of(labels=[1, 1, 0, 0], predicted=[1, 0, 0, 1])
    found = measured(schema, pane_of(schema, batch))
    assert "mcc" not in found
    assert "balanced_accuracy" not in found


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_quantile_loss_equals_scikit_learn(quantile):
    rng = np.random.default_rng(6)
    labels, predicted, weights = rng.normal(50, 9, 500), rng.normal(50, 9, 500), rng.choice([1.0, 3.0], 500)
    schema = schema_of("regression", classes=(), positive="", numeric=[("label", labels)])
    pane = pane_of(schema, outcomes_of(label_values=labels, predicted_values=predicted, weights=weights))
    loss = sk.mean_pinball_loss(labels, predicted, alpha=quantile, sample_weight=weights)
    assert measured(schema, pane, quantile=quantile) == pytest.approx({"quantile_loss": loss}, **EXACT)
    assert measured(schema, pane) == {}


def test_labels_that_were_taken_back_leave_nothing():
    truth, scores, decided = binary_rows(1, 2_000, 0.3)
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    batch = {"labels": 1 + truth, "predicted": 1 + decided, "scores": scores}
    pane = pane_of(schema, outcomes_of(**batch), outcomes_of(**batch, weights=np.full(2_000, -1.0)))
    assert measured(schema, pane) == {}


def test_too_few_labels_say_nothing():
    truth, scores, decided = binary_rows(1, 49, 0.5)
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    batch = outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores)
    assert measured(schema, pane_of(schema, batch), min_labels=50) == {}


def test_all_groups_at_once_equal_each_alone():
    rng = np.random.default_rng(7)
    hits, edges = rng.integers(0, 9, (4, 2, 1025)).astype(float), np.linspace(0, 1, 1024)
    for function in (average_precision, lambda hits, edges: lift(hits, edges, 0.1)):
        with np.errstate(invalid="ignore"):
            together = function(hits, edges)
            assert together.tolist() == [function(hits[[group]], edges)[0] for group in range(4)]


@pytest.mark.parametrize("bad", [{"lift_at": (0,)}, {"lift_at": (1,)}, {"quantile": 1}, {"classes": -1}])
def test_settings_outside_their_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FurtherPerformanceSettings(**bad)
