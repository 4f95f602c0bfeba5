from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.labels.intake import pending_rows
from collector_processor.monitors.divergence import DIVERGENCE, ERROR, DivergenceMonitor
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_classes import EstimatedClassesMonitor
from collector_processor.monitors.estimated_performance import share_without, without_estimate
from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.estimates import class_curves, class_probabilities, estimates
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.class_estimates import ClassEstimates
from collector_processor.statistics.parts.reliability import Reliability
from collector_processor.statistics.sample import Arrivals
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import CompactPane
from otel_ml import semconv

MODEL = ModelKey("m", "1")
NAMES = ("ant", "bee", "cat")
EXACT = ("accuracy", "precision", "recall", "f1", "specificity")
RANKED = ("roc_auc", "average_precision")


def texts(codes, names=NAMES):
    return Column(None, np.asarray(codes).astype(np.int32), names)


def rows_of(seed=0, rows=1000, shift=0.0, digits=None):
    """Scores of three classes that are too sure, predictions, and labels."""
    random = np.random.default_rng(seed)
    logits = random.normal([shift, 0.0, -0.5], 1.5, (rows, 3))
    truth, scores = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, 1.8 * logits))
    labels = (random.random((rows, 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)
    predicted = np.where(random.random(rows) < 0.05, random.integers(0, 3, rows), scores.argmax(axis=1))
    return scores if digits is None else scores.round(digits), predicted, labels


def batch(scores, predicted, weights=None, names=NAMES, **columns):
    rows = len(scores)
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), ids, np.ones(rows) if weights is None else weights, np.full(rows, np.nan),
        prediction=texts(predicted), scores=dict(zip(names, np.asarray(scores).T, strict=True)), **columns,
    )  # fmt: skip


def built(scores, predicted, labels, **keys):
    return build_reference("m", batch(scores, predicted), label_classes=texts(labels), **keys)


REFERENCE = built(*rows_of(rows=5000))


def pane_of(schema, *batches):
    pane = Pane.empty(schema)
    for each in batches:
        accumulate(pane, schema, each)
    return pane


def measured(reference, *batches, least=50, pane=None, classes=20):
    pane = pane_of(reference.schema, *batches) if pane is None else pane
    monitor = EstimatedClassesMonitor(
        FurtherPerformanceSettings(classes=classes), LeastLabels(min_labels=least), EstimateSettings()
    )
    return monitor.evaluate(Window(MODEL, 0, 60, reference.schema, pane), reference)


def figures(found, of_class=None, segment=None):
    def wanted(item):
        attributes = dict(item.attributes)
        return (
            semconv.PERFORMANCE_METRIC not in attributes
            and attributes.get(semconv.PERFORMANCE_CLASS) == of_class
            and attributes.get(semconv.SEGMENT_VALUE) == segment
        )

    return {item.name.removeprefix(semconv.PERFORMANCE): item.value for item in found if wanted(item)}


def by_hand(reference, scores, predicted):
    """The estimate of each class, row by row, as NannyML has it: the mean over classes, and each class."""
    fit = class_curves(reference.schema)
    names = [reference.schema.classes.name(slot) for slot in fit.slots]
    order = [NAMES.index(name) for name in names]
    p = np.stack([curve.at(scores[:, at]) for curve, at in zip(fit.curves, order, strict=True)], axis=1)
    total = p.sum(axis=1, keepdims=True)
    p = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / 3)
    each = {}
    for place, at in enumerate(order):
        chosen, mine = predicted == at, p[:, place]
        hit, false = mine[chosen].sum(), (1 - mine[chosen]).sum()
        missed, rest = mine[~chosen].sum(), (1 - mine[~chosen]).sum()
        down = np.argsort(-scores[:, at], kind="stable")
        found, passed = np.cumsum(np.append(0, mine[down])), np.cumsum(np.append(0, 1 - mine[down]))
        each[NAMES[at]] = {
            "precision": hit / (hit + false) if chosen.any() else 0.0,
            "recall": hit / (hit + missed),
            "f1": 2 * hit / (2 * hit + false + missed),
            "specificity": rest / (rest + false),
            "average_precision": float((mine[down] * found[1:] / np.arange(1, len(mine) + 1)).sum() / found[-1]),
            "roc_auc": float((np.diff(passed) * (found[1:] + found[:-1]) / 2).sum() / found[-1] / passed[-1]),
        }
    mean = {name: float(np.mean([of[name] for of in each.values()])) for name in each["ant"]}
    place = np.array([order.index(at) for at in predicted])
    return mean | {"accuracy": p[np.arange(len(p)), place].mean()}, each


@pytest.mark.parametrize("shift", [0.0, 1.5, -2.0])
def test_estimates_are_those_of_rows(shift):
    scores, predicted, _ = rows_of(1, 1000, shift)
    found = measured(REFERENCE, batch(scores, predicted))
    mean, each = by_hand(REFERENCE, scores, predicted)
    assert figures(found) == pytest.approx(mean, abs=1e-4)
    assert figures(found)["roc_auc"] == pytest.approx(mean["roc_auc"], abs=1e-6)
    for name in EXACT:
        assert figures(found)[name] == pytest.approx(mean[name], rel=0, abs=1e-12), name
    for name in NAMES:
        assert figures(found, name) == pytest.approx(each[name], abs=5e-4)
        assert figures(found, name)["roc_auc"] == pytest.approx(each[name]["roc_auc"], abs=2e-6)
    assert {dict(item.attributes)[semconv.PERFORMANCE_SOURCE] for item in found} == {semconv.SOURCE_ESTIMATED}


def test_equal_scores_are_ties():
    scores, predicted, _ = rows_of(1, 1000, digits=1)
    orders = (np.random.default_rng(seed).permutation(1000) for seed in range(40))
    each = [by_hand(REFERENCE, scores[order], predicted[order])[0] for order in orders]
    found = figures(measured(REFERENCE, batch(scores, predicted)))
    for name, error in (("roc_auc", 3e-5), ("average_precision", 3e-4)):
        assert found[name] == pytest.approx(np.mean([one[name] for one in each]), abs=error), name


def test_bands_and_limits_surround_the_figures_of_the_reference():
    found = measured(REFERENCE, batch(*rows_of(2)[:2]))
    ends = {}
    for item in found:
        attributes = dict(item.attributes)
        if semconv.PERFORMANCE_METRIC in attributes:
            average = attributes.get(semconv.PERFORMANCE_AVERAGE)
            ends.setdefault((attributes[semconv.PERFORMANCE_METRIC], average), {})[item.name] = item.value
    assert set(ends) == {("accuracy", None), *((name, "macro") for name in (*EXACT[1:], *RANKED))}
    for (name, _), each in ends.items():
        value = figures(found)[name]
        assert each[semconv.PERFORMANCE_LOWER] < value < each[semconv.PERFORMANCE_UPPER]
        assert value - each[semconv.PERFORMANCE_LOWER] == pytest.approx(each[semconv.PERFORMANCE_UPPER] - value)
        assert each[semconv.PERFORMANCE_LOWER_LIMIT] < value < each[semconv.PERFORMANCE_UPPER_LIMIT]


@given(st.lists(st.integers(0, 900), max_size=8), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_any_split_of_the_rows_gives_the_same_bits(cuts, seed):
    scores, predicted, _ = rows_of(seed, 900)
    whole, ends = batch(scores, predicted), [0, *sorted(cuts), 900]
    split = Pane.empty(REFERENCE.schema)
    for start, end in pairwise(ends):
        split.add(pane_of(REFERENCE.schema, whole.take(slice(start, end))))
    one, many = (pane.further[ClassEstimates] for pane in (pane_of(REFERENCE.schema, whole), split))
    assert (one.by_class == many.by_class).all()
    assert one.by_score == pytest.approx(many.by_score, abs=1e-9)


def test_a_profile_and_a_compact_pane_keep_everything():
    again = parse_reference(reference_text(REFERENCE), "m.json")
    rows = batch(*rows_of(3)[:2])
    assert figures(measured(again, rows)) == pytest.approx(figures(measured(REFERENCE, rows)), abs=1e-9)
    pane = pane_of(REFERENCE.schema, rows)
    assert measured(REFERENCE, pane=CompactPane.of(pane).expanded(REFERENCE.schema)) == measured(REFERENCE, pane=pane)


def test_weighted_rows_count_as_that_many():
    scores, predicted, _ = rows_of(4, 300)
    weights = np.tile([1.0, 3.0], 150)
    repeat = weights.astype(int)
    found = figures(measured(REFERENCE, batch(scores, predicted, weights)))
    expected = by_hand(REFERENCE, np.repeat(scores, repeat, 0), np.repeat(predicted, repeat))[0]
    assert {name: found[name] for name in EXACT} == pytest.approx({name: expected[name] for name in EXACT}, abs=1e-12)


def test_of_a_busy_minute_a_part_stands_for_all_rows():
    scores, predicted, _ = rows_of(5, 20_000)
    busy, arrivals = batch(scores, predicted), Arrivals()
    arrivals.numbers(np.zeros(64 * REFERENCE.schema.fit(ClassCurves).whole, np.int64), 0)
    arrivals.number(busy, 0)
    pane = pane_of(REFERENCE.schema, busy)
    sums = pane.further[ClassEstimates]
    assert sums.by_class[0, :, 0].sum() == pytest.approx(20_000.0, rel=0.2)
    assert 100 < sums.calibrated[0] < 250
    found = measured(REFERENCE, pane=pane)
    upper = {dict(i.attributes)[semconv.PERFORMANCE_METRIC]: i for i in found if i.name == semconv.PERFORMANCE_UPPER}
    value, expected = figures(found)["accuracy"], by_hand(REFERENCE, scores, predicted)[0]["accuracy"]
    assert abs(value - expected) < upper["accuracy"].value - value  # the band is that of the rows that were looked at


def test_segments_have_estimates():
    scores, predicted, labels = rows_of(6, 1000)
    region = Column(None, (np.arange(1000) % 2).astype(np.int32), ("north", "south"))
    reference = build_reference(
        "m", batch(scores, predicted, segments={"region": region}), label_classes=texts(labels), segments=["region"]
    )
    found = measured(reference, batch(scores, predicted, segments={"region": region}))
    for place, name in enumerate(("north", "south")):
        part = slice(place, None, 2)
        expected = by_hand(reference, scores[part], predicted[part])[0]
        expected = {name: expected[name] for name in EXACT}
        assert figures(found, segment=name) == pytest.approx(expected, abs=1e-12)


class TestLeftOut:
    def test_few_rows(self):
        assert measured(REFERENCE, batch(*rows_of(1, 49)[:2])) == []

    def test_rows_without_a_score(self):
        scores, predicted, _ = rows_of(1, 1000)
        scores[:11, 1] = np.nan
        assert measured(REFERENCE, batch(scores, predicted)) == []
        window = Window(MODEL, 0, 60, REFERENCE.schema, pane_of(REFERENCE.schema, batch(scores, predicted)))
        assert share_without(window) == 0.011

    def test_all_missing(self):
        _, predicted, _ = rows_of(1, 100)
        rows = replace(batch(np.full((100, 3), np.nan), predicted), scores={})
        assert pane_of(REFERENCE.schema, rows).further[ClassEstimates].without.tolist() == [100.0]
        assert measured(REFERENCE, rows) == []

    def test_classes_that_the_reference_has_no_curve_of(self):
        scores, predicted, _ = rows_of(1, 100)
        rows = replace(batch(scores, predicted), prediction=texts(np.zeros(100), ("dog",)))
        assert measured(REFERENCE, rows) == []

    def test_failed_calls(self):
        scores, predicted, _ = rows_of(1, 100)
        failed = Column(None, np.where(np.arange(100) < 40, 0, -1).astype(np.int32), ("TimeoutError",))
        sums = pane_of(REFERENCE.schema, replace(batch(scores, predicted), error=failed)).further[ClassEstimates]
        assert (sums.by_class[0, :, 0].sum(), sums.without.sum()) == (60.0, 0.0)

    def test_an_area_whose_order_is_unknown(self):
        scores, predicted, _ = rows_of(1, 1000)
        near = 0.2 + scores * 1e-4  # in one bin or two
        found = figures(measured(REFERENCE, batch(near, predicted)))
        assert set(RANKED).isdisjoint(found)
        assert "accuracy" in found


def test_a_window_of_one_class():
    scores, _, _ = rows_of(1, 200)
    found = measured(REFERENCE, batch(scores, np.zeros(200)))
    expected = by_hand(REFERENCE, scores, np.zeros(200, int))[0]
    assert {name: figures(found)[name] for name in EXACT} == pytest.approx(
        {name: expected[name] for name in EXACT}, abs=1e-12
    )


def test_rows_without_any_probability_are_uniform():
    fit = class_curves(REFERENCE.schema)
    flat = replace(fit, curves=tuple(replace(curve, values=curve.values * 0.0) for curve in fit.curves))
    assert flat.probabilities(np.array([[0.5, 0.3, 0.2], [np.nan, 0.5, 0.5]])) == pytest.approx(
        np.array([[1 / 3] * 3, [np.nan] * 3]), nan_ok=True
    )


def test_a_class_with_few_labels_keeps_its_score():
    scores, predicted, labels = rows_of(7, 1000)
    reference = built(scores, predicted, np.where(labels == 2, 0, labels))
    fit = class_curves(reference.schema)
    place = fit.slots.tolist().index(reference.schema.classes.find(0, "cat"))
    assert fit.curves[place].knots.tolist() == [0.0, 1.0]


class TestReferencesWithout:
    def test_labels(self):
        scores, predicted, _ = rows_of()
        reference = build_reference("m", batch(scores, predicted))
        assert without_estimate(reference).endswith("its reference has no labels")
        assert pane_of(reference.schema, batch(scores, predicted)).further[ClassEstimates].by_class.size == 0
        assert measured(reference, batch(scores, predicted)) == []

    def test_scores_of_a_class(self):
        scores, predicted, labels = rows_of()
        rows = replace(batch(scores, predicted), scores={"ant": scores[:, 0], "bee": scores[:, 1]})
        reference = build_reference("m", rows, label_classes=texts(labels))
        assert semconv.PREDICTION_SCORES in without_estimate(reference)

    def test_probabilities(self):
        scores, predicted, labels = rows_of()
        reference = built(scores * 7.0, predicted, labels)
        assert "not from 0 to 1" in " ".join(reference.notes)
        assert without_estimate(reference)

    def test_a_sense(self):
        scores, predicted, labels = rows_of()
        reference = built(1.0 - scores, predicted, labels)
        assert "is rarer with higher scores" in " ".join(reference.notes)

    def test_nothing(self):
        assert without_estimate(REFERENCE) == ""


def test_joined_labels_show_whether_the_estimate_holds():
    scores, predicted, labels = rows_of(8, 1000)
    schema, rows = REFERENCE.schema, batch(scores, predicted)
    kept = pending_rows(schema, rows)
    p = class_probabilities(schema, rows)
    fit = class_curves(schema)
    assert kept.estimates.tolist() == p[np.arange(1000), fit.places(kept.predicted)].tolist()
    slots = np.array([schema.classes.find(0, name) for name in NAMES], np.int32)
    for truth, moved in ((labels, False), (np.where(np.arange(1000) % 3, labels, (labels + 1) % 3), True)):
        pane = Pane.empty(schema)
        outcomes = OutcomeBatch(
            rows.time_ns, rows.weights, kept.scores, np.full(1000, np.nan), kept.groups, np.ones(1000),
            labels=slots[truth], predicted=kept.predicted, estimates=kept.estimates,
        )  # fmt: skip
        accumulate_outcomes(pane, schema, outcomes)
        found = DivergenceMonitor(LeastLabels()).evaluate(Window(MODEL, 0, 60, schema, pane), REFERENCE)
        value = {item.name: item.value for item in found}
        right = float((truth == predicted).mean() - kept.estimates.mean())
        assert value[DIVERGENCE.name] == pytest.approx(right, abs=1e-12)
        assert (abs(right) > 4.0 * value[ERROR.name]) == moved
        assert pane.further[Reliability].table[0].sum() == 1000.0
    assert estimates(schema, replace(rows, scores={})) is None
