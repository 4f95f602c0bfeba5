"""Figures of each class beside all others, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.labels.intake import pending_rows
from collector_processor.labels.pending import PendingPredictions
from collector_processor.labels.truth import Truth
from collector_processor.monitors.class_ranking import MACRO, ClassRankingMonitor
from collector_processor.monitors.class_ranking_intervals import class_ranking_intervals
from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.class_ranks import ClassRanks
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("m", "1")
NAMES = ("ant", "bee", "cat")


def rows_of(seed=0, rows=2000, digits=2):
    """Scores of three classes, predictions, and labels."""
    random = np.random.default_rng(seed)
    logits = random.normal([0.5, 0.0, -0.5], 1.5, (rows, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((rows, 1)) > scores.cumsum(axis=1)[:, :2]).sum(axis=1)
    predicted = np.where(random.random(rows) < 0.05, random.integers(0, 3, rows), scores.argmax(axis=1))
    return scores if digits is None else scores.round(digits), predicted, labels


def batch(scores, predicted, weights=None, **columns):
    rows = len(scores)
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), ids, np.ones(rows) if weights is None else weights, np.full(rows, np.nan),
        prediction=Column(None, np.asarray(predicted, np.int32), NAMES),
        scores=dict(zip(NAMES, np.asarray(scores).T, strict=True)), **columns,
    )  # fmt: skip


def built(scores, predicted, labels, **columns):
    rows = batch(scores, predicted, **columns)
    return build_reference("m", rows, label_classes=Column(None, labels.astype(np.int32), NAMES), segments=["region"])


REGION = {"region": Column(None, (np.arange(5000) % 2).astype(np.int32), ("north", "south"))}
REFERENCE = built(*rows_of(rows=5000), segments=REGION)


def joined(rows, labels, reference=REFERENCE, sign=1.0, pane=None, names=NAMES):
    """A pane of labels that joined their predictions."""
    schema = reference.schema.fork()
    pending = PendingPredictions(capacity=10_000, wait_ns=10**18)
    pending.insert(pending_rows(schema, rows))
    places = pending.find(rows.ids)
    slots = np.array([schema.classes.find(0, name) for name in names], np.int32)
    pending.settle(places, Truth(labels=slots[labels]), rows.time_ns, np.ones(len(rows)))
    pane = Pane.empty(schema) if pane is None else pane
    accumulate_outcomes(pane, schema, pending.outcomes(places, schema, sign))
    return pane


def measured(pane, reference=REFERENCE, classes=20, least=50):
    monitor = ClassRankingMonitor(FurtherPerformanceSettings(classes=classes), LeastLabels(min_labels=least))
    found = {}
    for item in monitor.evaluate(Window(MODEL, 0, 60, reference.schema, pane), reference):
        attributes = dict(item.attributes)
        assert attributes[semconv.PERFORMANCE_SOURCE] == semconv.SOURCE_LABELS
        of = attributes.get(semconv.PERFORMANCE_CLASS) or attributes[semconv.PERFORMANCE_AVERAGE]
        of += " " + attributes.get(semconv.SEGMENT_VALUE, "") if semconv.SEGMENT_VALUE in attributes else ""
        found[item.name.removeprefix(semconv.PERFORMANCE), of] = item.value
    return found


def by_hand(scores, predicted, labels, weights=None):
    found = {}
    for code, name in enumerate(NAMES):
        truth, mine = labels == code, predicted == code
        found["roc_auc", name] = sk.roc_auc_score(truth, scores[:, code], sample_weight=weights)
        found["average_precision", name] = sk.average_precision_score(truth, scores[:, code], sample_weight=weights)
        found["specificity", name] = sk.recall_score(~truth, ~mine, sample_weight=weights)
    names = {figure for figure, _ in found}
    return found | {(figure, "macro"): np.mean([found[figure, name] for name in NAMES]) for figure in names}


def test_figures_equal_scikit_learn():
    rows = rows_of(1)
    assert measured(joined(batch(*rows[:2]), rows[2])) == pytest.approx(by_hand(*rows), rel=0, abs=1e-9)


def test_scores_that_are_all_different_are_as_fine_as_the_bins():
    reference = built(*rows_of(rows=5000, digits=None), segments=REGION)
    rows = rows_of(1, digits=None)
    found = measured(joined(batch(*rows[:2]), rows[2], reference), reference)
    assert found == pytest.approx(by_hand(*rows), rel=0, abs=2e-3)
    assert len(found) == 12


def test_weights_count_and_equal_ones_do_not():
    scores, predicted, labels = rows_of(1)
    weights = np.random.default_rng(2).choice([1.0, 2.5, 10.0], len(labels))
    found = measured(joined(batch(scores, predicted, weights), labels))
    assert found == pytest.approx(by_hand(scores, predicted, labels, weights), rel=0, abs=1e-9)
    sampled = measured(joined(batch(scores, predicted, np.full(2000, 10.0)), labels))
    assert sampled == pytest.approx(by_hand(scores, predicted, labels), rel=0, abs=1e-9)


def test_panes_add_up_and_a_retraction_takes_labels_out():
    scores, predicted, labels = rows_of(1)
    rows = batch(scores, predicted)
    pane = joined(rows.take(slice(0, 700)), labels[:700])
    pane.add(joined(rows.take(slice(700, 2000)), labels[700:]))
    assert measured(pane) == pytest.approx(by_hand(scores, predicted, labels), rel=0, abs=1e-9)
    joined(rows.take(slice(700, 2000)), labels[700:], sign=-1.0, pane=pane)
    assert measured(pane) == pytest.approx(by_hand(scores[:700], predicted[:700], labels[:700]), rel=0, abs=1e-9)


def test_segments_have_their_specificity():
    scores, predicted, labels = rows_of(1)
    codes = (np.arange(2000) % 2).astype(np.int32)
    region = Column(None, codes, ("north", "south"))
    found = measured(joined(batch(scores, predicted, segments={"region": region}), labels))
    expected = by_hand(*(values[codes == 0] for values in (scores, predicted, labels)))
    assert found["specificity", "macro north"] == pytest.approx(expected["specificity", "macro"], abs=1e-12)
    assert ("roc_auc", "macro north") not in found


def test_a_class_without_labels_has_no_ranking_and_the_mean_is_that_of_the_others():
    scores, predicted, labels = rows_of(1)
    kept = labels < 2
    scores, predicted, labels = scores[kept], predicted[kept], labels[kept]
    found = measured(joined(batch(scores, predicted), labels))
    assert ("roc_auc", "cat") not in found
    areas = [sk.roc_auc_score(labels == code, scores[:, code]) for code in (0, 1)]
    assert found["roc_auc", "macro"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert all(np.isfinite(value) for value in found.values())


class TestLeftOut:
    def test_labels_of_one_class_have_no_roc_auc(self):
        scores, _, _ = rows_of(1, 200)
        found = measured(joined(batch(scores, np.zeros(200)), np.zeros(200, int)))
        assert found == {("specificity", "macro"): 0.0, ("specificity", "ant"): 0.0, ("average_precision", "ant"): 1.0,
                         ("average_precision", "macro"): 1.0}  # fmt: skip

    def test_few_labels(self):
        scores, predicted, labels = rows_of(1, 49)
        assert measured(joined(batch(scores, predicted), labels)) == {}
        assert measured(Pane.empty(REFERENCE.schema)) == {}

    def test_rows_without_all_scores(self):
        scores, predicted, labels = rows_of(1)
        few, many = scores.copy(), scores.copy()
        few[:20, 1], many[:21, 1] = np.nan, np.nan
        assert ("roc_auc", "macro") in measured(joined(batch(few, predicted), labels))
        assert {name for name, _ in measured(joined(batch(many, predicted), labels))} == {"specificity"}
        missing = np.full_like(scores, np.nan)
        assert {name for name, _ in measured(joined(batch(missing, predicted), labels))} == {"specificity"}

    def test_references_without_curves(self):
        scores, predicted, labels = rows_of(1)
        bare = build_reference("m", replace(batch(scores, predicted), scores={}), label_classes=Column(
            None, labels.astype(np.int32), NAMES))  # fmt: skip
        pane = joined(batch(scores, predicted), labels, bare)
        assert pane.further[ClassRanks].by_score.size == 0
        assert {name for name, _ in measured(pane, bare)} == {"specificity"}

    def test_equal_scores_are_ties(self):
        _, predicted, labels = rows_of(1)
        found = measured(joined(batch(np.full((2000, 3), [0.5, 0.3, 0.2]), predicted), labels))
        assert found["roc_auc", "macro"] == pytest.approx(0.5, abs=1e-12)

    def test_classes_beyond_the_setting(self):
        rows = rows_of(1)
        found = measured(joined(batch(*rows[:2]), rows[2]), classes=1)
        assert {of for _, of in found} == {"macro", NAMES[np.bincount(rows[2]).argmax()]}

    @pytest.mark.parametrize(("strange", "kept"), [(0, True), (20, True), (300, False), (2000, False)])
    def test_labels_of_a_class_without_scores(self, strange, kept):
        scores, predicted, labels = rows_of(1)
        labels[:strange] = 3
        reference = replace(REFERENCE, schema=REFERENCE.schema.fork())
        reference.schema.classes.slots(0, ("dog",))
        pane = joined(batch(scores, predicted), labels, reference, names=(*NAMES, "dog"))
        found = measured(pane, reference)
        for name in ("roc_auc", "average_precision"):
            assert ((name, "macro") in found) == kept
            assert ((name, "bee") in found) == (strange < 2000)
        window = Window(MODEL, 0, 60, reference.schema, pane)
        intervals = class_ranking_intervals(window, reference, 20)
        ends = {name for name, of, each in intervals if of == (MACRO,) and np.isfinite(each.down).all()}
        assert ends - {"specificity"} == ({"roc_auc", "average_precision"} if kept else set())
        monitor = ClassRankingMonitor(FurtherPerformanceSettings(), LeastLabels(min_labels=50))
        said = [each.text for each in monitor.left_out_of(window, reference, monitor.evaluate(window, reference))]
        share = "100%" if strange == 2000 else "15%"
        wanted = f"over the classes are left out: {share} of the labels are of classes without scores"
        assert [wanted in text for text in said] == ([] if kept else [True])


class TestSaid:
    """What is left out of a window is said, with the number of figures."""

    def said(self, pane, reference=REFERENCE, least=50):
        monitor = ClassRankingMonitor(FurtherPerformanceSettings(), LeastLabels(min_labels=least))
        window = Window(MODEL, 0, 60, reference.schema, pane)
        return [*monitor.left_out_of(window, reference, monitor.evaluate(window, reference))]

    def test_nothing_is_said_where_nothing_is_left_out(self):
        scores, predicted, labels = rows_of(1)
        assert self.said(joined(batch(scores, predicted), labels)) == []
        assert self.said(Pane.empty(REFERENCE.schema)) == []

    def test_labels_of_one_class_have_no_ranking_to_leave_out(self):
        scores, _, _ = rows_of(1, 200)
        assert self.said(joined(batch(scores, np.zeros(200)), np.zeros(200, int))) == []

    def test_rows_without_all_scores(self):
        scores, predicted, labels = rows_of(1)
        scores[:300, 1] = np.nan
        [found] = self.said(joined(batch(scores, predicted), labels))
        assert found == (
            "without_scores", 2,
            "ROC AUC and average precision are left out: for 15% of the labels, the scores of some classes are missing",
        )  # fmt: skip

    def test_bins_that_do_not_decide(self):
        reference = built(*rows_of(rows=5000, digits=None), segments=REGION)
        _, predicted, labels = rows_of(1)
        near = np.random.default_rng(0).uniform([0.5, 0.3, 0.2], [0.5001, 0.3001, 0.2001], (2000, 3))
        [found] = self.said(joined(batch(near, predicted), labels, reference), reference)
        assert found.reason == "undecided"
        assert found.figures == 8
        assert found.text.startswith("ROC AUC and average precision of 'ant', 'bee', 'cat', and the mean over")


def test_the_reference_has_its_own_sums():
    scores, _, labels = rows_of(rows=5000)
    by_score = REFERENCE.pane.further[ClassRanks].by_score
    slots = [REFERENCE.schema.classes.find(0, name) for name in NAMES]
    order = np.argsort(slots)
    assert by_score[:, 1].sum(axis=1).tolist() == np.bincount(labels)[order].tolist()
    assert by_score[0].sum() == len(scores)
