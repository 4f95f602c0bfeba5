"""Few labels with the estimates of all rows, against the formulas over rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.combined import CombinedMonitor, combined
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.estimates import estimates, evaluate_evenly
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import SCORE_SUMS, accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.combined import CombinedSums
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import CompactPane
from otel_ml import semconv

MODEL = ModelKey("m", "1")
CLASSES = ("no", "yes")


def rows_of(seed=0, rows=4000, bend=1.6):
    random = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-random.normal(0.0, 1.5, rows)))
    return score, random.random(rows) < score**bend


def batch(score, weights=None, **columns):
    rows = len(score)
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), ids, np.ones(rows) if weights is None else weights, np.full(rows, np.nan),
        score=score, positive_class="yes", **columns,
    )  # fmt: skip


def built(score, truth, **more):
    return build_reference(
        "m", batch(score, **more), task="binary_classification", positive_class="yes",
        label_classes=Column(None, truth.astype(np.int32), CLASSES), segments=tuple(more.get("segments", ())),
    )  # fmt: skip


REFERENCE = built(*rows_of())


def outcomes_of(rows, truth, schema=REFERENCE.schema, sign=1.0, groups=None):
    (other, slot), count = schema.classes.slots(0, ("no", "yes")).tolist(), len(truth)
    return OutcomeBatch(
        rows.time_ns, sign * rows.weights, rows.score, np.full(count, np.nan),
        np.empty((count, 0), np.int32) if groups is None else groups, np.ones(count),
        labels=np.where(truth, slot, other).astype(np.int32),
        predicted=np.where(rows.score >= 0.5, slot, other).astype(np.int32), estimates=estimates(schema, rows),
    )  # fmt: skip


def pane_of(rows, truth, labeled, reference=REFERENCE):
    """A pane of all rows, of which the first have labels."""
    pane = Pane.empty(reference.schema)
    accumulate(pane, reference.schema, rows)
    part = rows.take(slice(0, labeled))
    accumulate_outcomes(pane, reference.schema, outcomes_of(part, truth[:labeled]))
    return pane


def measured(pane, least=50, reference=REFERENCE):
    found = CombinedMonitor(LeastLabels(min_labels=least)).evaluate(
        Window(MODEL, 0, 60, reference.schema, pane), reference
    )
    assert all((semconv.PERFORMANCE_SOURCE, semconv.SOURCE_COMBINED) in item.attributes for item in found)
    return {item.name.removeprefix(semconv.PERFORMANCE): item.value for item in found
            if semconv.SEGMENT_VALUE not in dict(item.attributes)}  # fmt: skip


def said(pane, least=50, reference=REFERENCE):
    monitor = CombinedMonitor(LeastLabels(min_labels=least))
    return [*monitor.left_out_of(Window(MODEL, 0, 60, reference.schema, pane), reference, [])]


def by_rows(y, p, every):
    """PPI++ over rows: the figure, and both ends of its interval, wide enough for labels of these rows, too."""
    n, rows = len(y), len(every)
    covariance = np.cov(y, p, ddof=0)[0, 1]
    noise = p.var() / n + every.var() / rows
    pooled = np.concatenate((p, every)).var()
    weight = np.clip(covariance / n / (pooled * (1 / n + 1 / rows)), 0, 1)
    value = y.mean() + weight * (every.mean() - p.mean())
    among = 2 * weight * (covariance - weight * pooled) / rows
    error = np.sqrt(y.var() / n + weight**2 * noise - 2 * weight * covariance / n + among)
    return {"value": value, "lower": value - 1.959964 * error, "upper": value + 1.959964 * error}


def right(score, schema=REFERENCE.schema):
    p = estimates(schema, batch(score))
    assert p is not None
    return np.where(score >= 0.5, p, 1 - p)


def test_it_is_ppi_of_the_rows():
    score, truth = rows_of(1)
    y, p = ((score >= 0.5) == truth)[:300].astype(float), right(score)
    found, expected = measured(pane_of(batch(score), truth, 300)), by_rows(y, p[:300], p)
    assert found == pytest.approx(
        {"accuracy": expected["value"], "lower": expected["lower"], "upper": expected["upper"]}, abs=1e-6
    )
    plain = 2 * 1.959964 * np.sqrt(y.var() / 300)
    assert found["upper"] - found["lower"] < plain


def test_labels_of_all_rows_of_the_window_are_as_certain_as_labels_alone():
    random = np.random.default_rng(4)
    p = random.beta(4.0, 1.0, 2000)
    y = (random.random(2000) < p).astype(float)
    rows = np.array([[2000.0, 2000.0, p.sum(), p @ p]])
    labels = np.array([[2000.0, 2000.0, y.sum(), y @ y]])
    both = np.array([[2000.0, 2000.0, y.sum(), p.sum(), y @ p, p @ p]])
    found = combined(CombinedSums(labels, both, rows), 50.0, shares=True)
    assert found.weight[0] > 0.2
    assert found.value[0] == pytest.approx(y.mean())
    assert found.error[0] == pytest.approx(y.std() / np.sqrt(2000.0))


def test_it_covers_the_truth_even_where_estimates_are_wrong():
    """Of 200 windows of a changed world, about 190 cover the accuracy; 182 are four standard errors below."""
    covered = 0
    truth_of = rows_of(9, 400_000, bend=4.0)
    accuracy = ((truth_of[0] >= 0.5) == truth_of[1]).mean()
    for seed in range(200):
        score, truth = rows_of(100 + seed, 2000, bend=4.0)
        found = measured(pane_of(batch(score), truth, 200))
        covered += found["lower"] <= accuracy <= found["upper"]
    assert 178 <= covered <= 200


def test_panes_add_up_and_a_retraction_takes_a_label_out():
    score, truth = rows_of(1)
    whole = measured(pane_of(batch(score), truth, 600))
    split = pane_of(batch(score[:1000]), truth[:1000], 600)
    split.add(pane_of(batch(score[1000:]), truth[1000:], 0))
    assert measured(split) == pytest.approx(whole, abs=1e-12)
    extra = outcomes_of(batch(score[600:900]), truth[600:900])
    accumulate_outcomes(split, REFERENCE.schema, extra)
    assert measured(split) != pytest.approx(whole, abs=1e-6)
    accumulate_outcomes(split, REFERENCE.schema, outcomes_of(batch(score[600:900]), truth[600:900], sign=-1.0))
    assert measured(split) == pytest.approx(whole, abs=1e-9)
    assert measured(CompactPane.of(split).expanded(REFERENCE.schema)) == pytest.approx(whole, abs=1e-9)


def test_equal_weights_change_nothing():
    score, truth = rows_of(1)
    plain = measured(pane_of(batch(score), truth, 300))
    assert measured(pane_of(batch(score, np.full(4000, 10.0)), truth, 300)) == pytest.approx(plain, abs=1e-9)


def test_weights_count():
    score, truth = rows_of(1)
    weights = np.random.default_rng(3).integers(1, 4, 4000).astype(float)
    found = measured(pane_of(batch(score, weights), truth, 1000))
    y, p = ((score >= 0.5) == truth)[:1000].astype(float), right(score)
    assert found["accuracy"] == pytest.approx(np.average(p, weights=weights), abs=0.05)
    assert found["lower"] < np.average(y, weights=weights[:1000]) < found["upper"]


class TestLeftOut:
    def test_few_labels_or_rows(self):
        score, truth = rows_of(1)
        assert measured(pane_of(batch(score), truth, 49)) == {}
        assert measured(pane_of(batch(score), truth, 0)) == {}
        assert measured(Pane.empty(REFERENCE.schema)) == {}

    def test_labels_that_are_selected(self):
        score, truth = rows_of(1)
        order = np.argsort(-np.abs(score - 0.5))  # those that are sure come first
        pane = pane_of(batch(score[order]), truth[order], 600)
        assert measured(pane) == {}
        [found] = said(pane)
        assert (found.reason, found.figures) == ("selected_labels", 1)
        assert found.text.startswith("the accuracy from labels and estimates together is left out of all rows: ")

    def test_predictions_that_are_all_right(self):
        score, _ = rows_of(1)
        pane = pane_of(batch(score), score >= 0.5, 300)
        assert measured(pane) == {}
        assert said(pane) == []

    def test_scores_that_are_missing(self):
        score, truth = rows_of(1)
        assert measured(pane_of(batch(np.full(4000, np.nan)), truth, 300)) == {}
        some = np.where(np.arange(4000) % 50 == 0, np.nan, score)
        assert measured(pane_of(batch(some), truth, 300)) == {}

    def test_references_without_labels(self):
        score, _ = rows_of()
        bare = build_reference("m", batch(score), task="binary_classification", positive_class="yes")
        pane = Pane.empty(bare.schema)
        accumulate(pane, bare.schema, batch(score))
        assert pane.further[CombinedSums].rows.size == 0
        assert measured(pane, reference=bare) == {}


def test_one_score_leaves_what_the_labels_say():
    score = np.full(1000, 0.7)
    truth = np.random.default_rng(5).random(1000) < 0.6
    found = measured(pane_of(batch(score), truth, 400))
    assert found["accuracy"] == pytest.approx(truth[:400].mean(), abs=1e-9)


def test_segments_have_their_own():
    score, truth = rows_of(1)
    region = Column(None, (np.arange(4000) % 2).astype(np.int32), ("north", "south"))
    reference = built(*rows_of(), segments={"region": region})
    rows = batch(score, segments={"region": region})
    pane = Pane.empty(reference.schema)
    accumulate(pane, reference.schema, rows)
    groups = np.array([[reference.schema.groups.find(0, ("north", "south")[k % 2]) + 1] for k in range(800)], np.int32)
    part = rows.take(slice(0, 800))
    accumulate_outcomes(pane, reference.schema, outcomes_of(part, truth[:800], reference.schema, groups=groups))
    found = {
        dict(item.attributes)[semconv.SEGMENT_VALUE]: item.value
        for item in CombinedMonitor(LeastLabels()).evaluate(Window(MODEL, 0, 60, reference.schema, pane), reference)
        if item.name == semconv.PERFORMANCE + "accuracy" and semconv.SEGMENT_VALUE in dict(item.attributes)
    }
    p = right(score, reference.schema)
    for offset, name in enumerate(("north", "south")):
        y = ((score >= 0.5) == truth)[:800][offset::2].astype(float)
        assert found[name] == pytest.approx(by_rows(y, p[:800][offset::2], p[offset::2])["value"], abs=1e-6)


def test_of_many_classes_it_is_the_accuracy():
    random = np.random.default_rng(7)
    logits = random.normal(0.0, 1.5, (6000, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((6000, 1)) > scores.cumsum(axis=1)[:, :2]).sum(axis=1).astype(np.int32)
    names, predicted = ("ant", "bee", "cat"), scores.argmax(axis=1).astype(np.int32)

    def rows(part):
        bare = replace(batch(np.zeros(len(scores[part]))), score=None, positive_class="")
        each = dict(zip(names, scores[part].T, strict=True))
        return replace(bare, scores=each, prediction=Column(None, predicted[part], names))

    first, rest = slice(0, 5000), slice(5000, 6000)
    reference = build_reference("m", rows(first), label_classes=Column(None, labels[first], names))
    schema, window = reference.schema, rows(rest)
    evaluate_evenly(schema, window, 1000)
    p = estimates(schema, window)
    assert p is not None
    slots = np.array([schema.classes.find(0, name) for name in names], np.int32)
    pane = Pane.empty(schema)
    accumulate(pane, schema, window)
    nothing = np.full(300, np.nan)
    accumulate_outcomes(pane, schema, OutcomeBatch(
        window.time_ns[:300], np.ones(300), nothing, nothing, np.empty((300, 0), np.int32), np.ones(300),
        labels=slots[labels[rest][:300]], predicted=slots[predicted[rest][:300]], estimates=p[:300],
    ))  # fmt: skip
    y = (labels[rest] == predicted[rest])[:300].astype(float)
    found = measured(pane, reference=reference)
    assert found["accuracy"] == pytest.approx(by_rows(y, p[:300], p)["value"], abs=1e-9)


def test_of_a_regression_it_is_the_mean_absolute_error():
    pytest.importorskip("lightgbm")
    random = np.random.default_rng(2)

    def rows(count):
        x = random.uniform(0.0, 1.0, count)
        value = 10.0 + x
        bare = replace(batch(np.zeros(count)), score=None, positive_class="")
        return replace(bare, value=value, features={"x": Column(x)}), value + random.normal(size=count) * (0.1 + x)

    known, label = rows(3000)
    reference = build_reference("m", known, label_values=label)
    pane, y, p = Pane.empty(reference.schema), [], []
    for _ in range(100):
        part, label = rows(16)
        accumulate(pane, reference.schema, part)
        expected = estimates(reference.schema, part)
        assert expected is not None
        nothing = np.full(4, np.nan)
        accumulate_outcomes(pane, reference.schema, OutcomeBatch(
            part.time_ns[:4], np.ones(4), nothing, nothing, np.empty((4, 0), np.int32), np.ones(4),
            label_values=label[:4], predicted_values=part.value[:4], estimates=expected[:4],
        ))  # fmt: skip
        y.append(np.abs(part.value - label)[:4])
        p.append(expected)
    y, labeled, p = np.concatenate(y), np.concatenate([each[:4] for each in p]), np.concatenate(p)
    found = measured(pane, reference=reference)
    assert found["mae"] == pytest.approx(by_rows(y, labeled, p)["value"], rel=1e-9)


def test_sums_begin_again_with_another_positive_class():
    assert {f"further.combined.{name}" for name in ("labeled", "both", "rows")} <= SCORE_SUMS
