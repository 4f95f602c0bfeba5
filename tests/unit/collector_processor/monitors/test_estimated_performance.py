from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.labels.intake import pending_rows
from collector_processor.monitors.divergence import DIVERGENCE, ERROR, DivergenceMonitor
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import (
    ESTIMATED_METRICS,
    EstimatedPerformanceMonitor,
    share_without,
    without_estimate,
)
from collector_processor.monitors.expected_ranking import ExpectedBins
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.estimates import estimates, positive_curve
from collector_processor.statistics.fits.baseline import Baseline
from collector_processor.statistics.fits.calibration import Curve
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import SCORE_SUMS, accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.statistics.parts.group_scores import GroupScores
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import CompactPane
from otel_ml import semconv
from support import cbpe

MODEL = ModelKey("m", "1")
EXACT = ("accuracy", "precision", "recall", "f1", "specificity", *cbpe.SHARES)


def classes(positive):
    return Column(None, np.asarray(positive).astype(np.int32), ("no", "yes"))


def rows_of(seed=0, rows=4000, shift=0.0, bend=2.0, digits=None):
    """Scores, predictions that differ from a threshold in some rows, and labels."""
    random = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-random.normal(shift, 1.5, rows)))
    score = score if digits is None else score.round(digits)
    return score, (score >= 0.4) ^ (random.random(rows) < 0.02), random.random(rows) < score**bend


def batch(score, predicted=None, weights=None, **columns):
    rows = len(score)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else weights, np.full(rows, np.nan), score=score,
        prediction=None if predicted is None else classes(predicted), **columns,
    )  # fmt: skip


def built(score, predicted, truth, weights=None, **keys):
    rows = batch(score, predicted, weights)
    return build_reference("m", rows, label_classes=classes(truth), positive_class="yes", **keys)


REFERENCE = built(*rows_of())


def pane_of(schema, *batches):
    pane = Pane.empty(schema)
    for each in batches:
        accumulate(pane, schema, each)
    return pane


def measured(reference, *batches, least=50, pane=None, schema=None, band="95%"):
    schema = schema or reference.schema
    pane = pane_of(schema, *batches) if pane is None else pane
    return EstimatedPerformanceMonitor(LeastLabels(min_labels=least), EstimateSettings(band=band)).evaluate(
        Window(MODEL, 0, 60, schema, pane), reference
    )


def said(reference, pane):
    monitor = EstimatedPerformanceMonitor(LeastLabels(min_labels=50), EstimateSettings())
    window = Window(MODEL, 0, 60, reference.schema, pane)
    return [*monitor.left_out_of(window, reference, monitor.evaluate(window, reference))]


def figures(found, **wanted):
    """Values by the name of the figure, of all rows unless a segment is wanted."""
    wanted = {key.replace("_", "."): value for key, value in wanted.items()}
    names = {metric.name: name for name, metric in ESTIMATED_METRICS.items()}
    return {
        names[item.name]: item.value
        for item in found
        if item.name in names and dict(item.attributes).get(semconv.SEGMENT_VALUE) == wanted.get("segment")
    }


def ends(found, name):
    return {dict(item.attributes)[semconv.PERFORMANCE_METRIC]: item.value for item in found if item.name == name}


def agree(found, score, predicted, reference=REFERENCE, weights=None, ranking=1e-7):
    p = positive_curve(reference.schema).at(score)
    repeat = np.ones(len(score), np.int64) if weights is None else weights.astype(np.int64)
    expected = cbpe.estimated(*(np.repeat(x, repeat) for x in (p, predicted.astype(int), score)))
    for name in EXACT:
        assert found[name] == pytest.approx(expected[name], rel=0, abs=1e-12), name
    for name in ("roc_auc", "average_precision"):
        assert found[name] == pytest.approx(expected[name], rel=0, abs=ranking), name


@pytest.mark.parametrize("shift", [0.0, 1.5, -2.0])
@pytest.mark.parametrize("digits", [None, 2])
def test_estimates_are_those_of_nannyml(shift, digits):
    reference = built(*rows_of(digits=digits))
    score, predicted, _ = rows_of(1, 3000, shift, digits=digits)
    found = measured(reference, batch(score, predicted))
    agree(figures(found), score, predicted, reference, ranking=1e-7 if digits else 2e-6)
    assert {dict(item.attributes)[semconv.PERFORMANCE_SOURCE] for item in found} == {semconv.SOURCE_ESTIMATED}


def test_scores_that_need_no_calibration_are_taken_as_they_are():
    reference = built(*rows_of(5, bend=1.0))
    assert positive_curve(reference.schema).knots.tolist() == [0.0, 1.0]
    score, predicted, _ = rows_of(1, 3000, 1.0)
    # Where rows lie within bins is not known: that matters for the precision among the first few.
    agree(figures(measured(reference, batch(score, predicted))), score, predicted, reference, ranking=5e-5)


@given(st.lists(st.integers(0, 900), max_size=8), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_any_split_of_the_rows_gives_the_same_bits(cuts, seed):
    score, predicted, _ = rows_of(seed, 900)
    whole = batch(score, predicted)
    parts = [whole.take(slice(*ends)) for ends in zip([0, *sorted(cuts)], [*sorted(cuts), 900], strict=True)]
    split = Pane.empty(REFERENCE.schema)
    for part in reversed(parts):
        split.add(pane_of(REFERENCE.schema, part))
    one, many = (pane.further[EstimatedSums] for pane in (pane_of(REFERENCE.schema, whole), split))
    np.testing.assert_array_equal(one.by_class, many.by_class)
    found, again = (figures(measured(REFERENCE, pane=pane)) for pane in (pane_of(REFERENCE.schema, whole), split))
    assert {name: found[name] for name in EXACT} == {name: again[name] for name in EXACT}
    for name in ("roc_auc", "average_precision"):
        assert found[name] == pytest.approx(again[name], rel=0, abs=1e-14)


def test_bands_and_limits_are_those_of_nannyml():
    score, predicted, truth = rows_of(digits=2)
    reference = built(score, predicted, truth)
    window, decided, _ = rows_of(1, 1000, digits=2)
    found = measured(reference, batch(window, decided), band="nannyml")
    values, lower, upper = (
        figures(found),
        ends(found, semconv.PERFORMANCE_LOWER),
        ends(found, semconv.PERFORMANCE_UPPER),
    )
    rows = tuple(np.asarray(x).astype(float) for x in (truth, predicted, score))
    for name, (deviation, share) in cbpe.sampling(*rows).items():
        margin = 3 * deviation / np.sqrt(1000 * share)
        assert lower[name] == pytest.approx(max(values[name] - margin, 0), rel=0, abs=1e-9), name
        assert upper[name] == pytest.approx(min(values[name] + margin, 1), rel=0, abs=1e-9), name
    chunks = [cbpe.realized(*(x[start : start + 400] for x in rows)) for start in range(0, 4000, 400)]
    low, high = ends(found, semconv.PERFORMANCE_LOWER_LIMIT), ends(found, semconv.PERFORMANCE_UPPER_LIMIT)
    for name in ESTIMATED_METRICS:
        over = np.array([chunk[name] for chunk in chunks])
        assert low[name] == pytest.approx(max(over.mean() - 3 * over.std(), 0), rel=0, abs=1e-9), name
        assert high[name] == pytest.approx(min(over.mean() + 3 * over.std(), 1), rel=0, abs=1e-9), name
    assert 0.0 < upper["average_precision"] - lower["average_precision"] < 0.2


def test_the_band_of_95_percent_has_the_error_of_the_reference_too():
    reference = built(*rows_of(digits=2))
    window, decided, _ = rows_of(1, 1000, digits=2)
    usual, theirs = (measured(reference, batch(window, decided), band=band) for band in ("95%", "nannyml"))
    for name in ("accuracy", "roc_auc"):
        value = figures(usual)[name]
        for end in (semconv.PERFORMANCE_LOWER, semconv.PERFORMANCE_UPPER):
            wide = ends(theirs, end)[name] - value
            assert ends(usual, end)[name] - value == pytest.approx(
                wide * 1.95996 / 3 * (1 + 1000 / 4000) ** 0.5, rel=1e-4
            )


def test_the_baseline_comes_back_from_a_profile():
    again = parse_reference(reference_text(REFERENCE), "m.json")
    assert again.schema.fit(Baseline) == REFERENCE.schema.fit(Baseline)
    text = reference_text(REFERENCE).replace('"deviation": 0', '"deviation": -0', 1)
    with pytest.raises(ValueError, match=r"estimator\.baseline\.\w+\.deviation: must not be negative"):
        parse_reference(text, "m.json")


def test_a_part_of_the_reference_without_one_class_has_no_figures():
    score, predicted, truth = rows_of()
    order = np.argsort(truth, kind="stable")
    baseline = built(score[order], predicted[order], truth[order]).schema.fit(Baseline)
    mixed = [part for part in np.split(truth[order], 10) if part.any() and not part.all()]
    assert len(mixed) == 1
    for name in ("precision", "recall", "f1", "roc_auc"):
        assert baseline.figures[name].low == baseline.figures[name].high
    assert baseline.figures["accuracy"].low < baseline.figures["accuracy"].high


def test_the_limits_count_a_remainder_as_nannyml_does():
    score, predicted, truth = rows_of(rows=4003)
    truth[-3:], predicted[-3:] = True, False
    figures_of = built(score, predicted, truth).schema.fit(Baseline).figures
    chunks = [slice(start, start + 400) for start in range(0, 4003, 400)]
    accuracy = np.array([(truth[rows] == predicted[rows]).mean() for rows in chunks])
    assert figures_of["accuracy"].low == pytest.approx(max(accuracy.mean() - 3 * accuracy.std(), 0), abs=1e-12)
    recall = np.array([predicted[rows][truth[rows]].mean() for rows in chunks[:-1]])
    assert figures_of["recall"].low == pytest.approx(recall.mean() - 3 * recall.std(), abs=1e-12)


class TestRows:
    def test_weights_count(self):
        score, predicted, _ = rows_of(1, 1000)
        weights = np.random.default_rng(0).integers(1, 4, 1000).astype(float)
        found = figures(measured(REFERENCE, batch(score, predicted, weights)))
        agree(found, score, predicted, weights=weights, ranking=1e-3)

    def test_sampled_rows_have_the_band_of_the_rows_that_were_seen(self):
        score, predicted, _ = rows_of(1, 1000)
        one, ten = (measured(REFERENCE, batch(score, predicted, np.full(1000, w))) for w in (1.0, 10.0))
        assert figures(ten)["accuracy"] == pytest.approx(figures(one)["accuracy"], abs=1e-12)
        assert figures(ten)["roc_auc"] == pytest.approx(figures(one)["roc_auc"], abs=1e-12)
        for name in (semconv.PERFORMANCE_LOWER, semconv.PERFORMANCE_UPPER):
            assert ends(ten, name) == pytest.approx(ends(one, name), abs=1e-12)

    def test_without_a_class_the_threshold_decides(self):
        score, _, truth = rows_of()
        reference = built(score, None, truth, threshold=0.3)
        window = rows_of(1, 1000)[0]
        agree(figures(measured(reference, batch(window))), window, window >= 0.3, reference, ranking=2e-6)

    def test_a_threshold_that_changes_counts_from_then_on(self):
        score, _, truth = rows_of()
        reference = built(score, None, truth)
        schema, window = reference.schema.fork(), rows_of(1, 1000)[0]
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch(window[:500]))
        schema.set_threshold(0.8)
        accumulate(pane, schema, batch(window[500:]))
        predicted = window >= np.where(np.arange(1000) < 500, 0.5, 0.8)
        agree(figures(measured(reference, pane=pane, schema=schema)), window, predicted, reference, ranking=2e-6)

    def test_failed_calls_count_in_nothing(self):
        score, predicted, _ = rows_of(1, 1000)
        failed = Column(None, np.where(np.arange(1000) % 2, 0, -1).astype(np.int32), ("Timeout",))
        found = figures(measured(REFERENCE, batch(score, predicted, error=failed)))
        agree(found, score[::2], predicted[::2])

    @pytest.mark.parametrize("wrong", [np.nan, -0.5, 1.5, np.inf])
    def test_more_than_one_row_in_a_hundred_without_an_estimate_leaves_the_figures_out(self, wrong):
        score, predicted, _ = rows_of(1, 1000)
        few, many = (np.where(np.arange(1000) < n, wrong, score) for n in (10, 11))
        assert "accuracy" in figures(measured(REFERENCE, batch(few, predicted)))
        window = batch(many, predicted)
        assert measured(REFERENCE, window) == []
        assert share_without(Window(MODEL, 0, 60, REFERENCE.schema, pane_of(REFERENCE.schema, window))) == 0.011

    def test_all_scores_missing_gives_nothing(self):
        assert measured(REFERENCE, batch(np.full(1000, np.nan), np.ones(1000, bool))) == []
        assert measured(REFERENCE) == []

    def test_rows_without_a_batch_of_scores_are_rows_without_an_estimate(self):
        rows = replace(batch(np.ones(1000), np.ones(1000, bool)), score=None)
        assert pane_of(REFERENCE.schema, rows).further[EstimatedSums].without.tolist() == [1000.0]

    def test_few_rows_give_nothing(self):
        score, predicted, _ = rows_of(1, 49)
        assert measured(REFERENCE, batch(score, predicted)) == []

    def test_one_predicted_class_has_no_precision(self):
        score = rows_of(1, 1000)[0]
        found = figures(measured(REFERENCE, batch(score, np.zeros(1000, bool))))
        assert "precision" not in found
        assert found["recall"] == 0.0

    def test_constant_scores_have_the_roc_auc_of_chance(self):
        reference = built(*rows_of(digits=2))
        found = figures(measured(reference, batch(np.full(1000, 0.7), np.ones(1000, bool))))
        assert found["roc_auc"] == pytest.approx(0.5, abs=1e-12)
        assert found["accuracy"] == pytest.approx(positive_curve(reference.schema).at(np.array([0.7]))[0], abs=1e-12)

    def test_one_bin_that_decides_too_much_leaves_only_the_ranking_out(self):
        reference = built(*rows_of(5, bend=1.0))
        found = figures(measured(reference, batch(np.full(1000, 0.123456), np.zeros(1000, bool))))
        assert "accuracy" in found
        assert {"roc_auc", "average_precision"}.isdisjoint(found)


def segmented(rows, codes, names=("north", "south")):
    return replace(rows, segments={"region": Column(None, np.asarray(codes, np.int32), names)})


def built_with_segments(*rows):
    score, predicted, truth = rows or rows_of()
    each = segmented(batch(score, predicted), np.zeros(len(score)))
    return build_reference("m", each, label_classes=classes(truth), positive_class="yes", segments=["region"])


class TestSegments:
    REFERENCE = built_with_segments()

    def agree(self, found, score, predicted, reference=REFERENCE, ranking=(2e-5, 2e-4)):
        p = positive_curve(reference.schema).at(score)
        expected = cbpe.estimated(p, predicted.astype(int), score)
        assert {name: found[name] for name in EXACT} == pytest.approx({n: expected[n] for n in EXACT}, abs=1e-12)
        for name, error in zip(("roc_auc", "average_precision"), ranking, strict=True):
            assert found[name] == pytest.approx(expected[name], rel=0, abs=error), name

    def test_they_have_their_own_figures(self):
        score, predicted, _ = rows_of(1, 1000)
        codes = np.where(np.arange(1000) < 20, -1, np.arange(1000) % 3 == 0)
        found = measured(self.REFERENCE, segmented(batch(score, predicted), codes))
        for number, value in enumerate(("north", "south")):
            self.agree(figures(found, segment=value), score[codes == number], predicted[codes == number])
        assert figures(found)["roc_auc"] > 0.5

    def test_scores_of_few_values_are_ties(self):
        reference = built_with_segments(*rows_of(digits=2))
        score, predicted, _ = rows_of(1, 1000, digits=2)
        found = measured(reference, segmented(batch(score, predicted), np.zeros(1000)))
        self.agree(figures(found, segment="north"), score, predicted, reference, (1e-12, 1e-12))

    def test_weights_count_and_sampled_rows_do_not_change_the_figures(self):
        score, predicted, _ = rows_of(1, 1000)
        weights = np.random.default_rng(0).integers(1, 4, 1000)
        found = measured(self.REFERENCE, segmented(batch(score, predicted, weights.astype(float)), np.zeros(1000)))
        repeated = (np.repeat(values, weights) for values in (score, predicted))
        self.agree(figures(found, segment="north"), *repeated, ranking=(2e-4, 1e-3))
        one, ten = (
            figures(measured(self.REFERENCE, segmented(batch(score, predicted, np.full(1000, w)), np.zeros(1000))),
                    segment="north")
            for w in (1.0, 10.0)
        )  # fmt: skip
        assert ten == pytest.approx(one, abs=1e-12)

    def test_split_rows_add_up(self):
        score, predicted, _ = rows_of(1, 900)
        rows = segmented(batch(score, predicted), np.arange(900) % 2)
        split = Pane.empty(self.REFERENCE.schema)
        for part in (slice(300, 900), slice(0, 1), slice(1, 300)):
            split.add(pane_of(self.REFERENCE.schema, rows.take(part)))
        one, many = (
            figures(found, segment="south")
            for found in (measured(self.REFERENCE, rows), measured(self.REFERENCE, pane=split))
        )
        assert many == pytest.approx(one, abs=1e-12)

    def test_one_score_has_the_roc_auc_of_chance_and_no_row_has_none(self):
        rows = segmented(batch(np.full(200, 0.7), np.ones(200, bool)), np.zeros(200))
        found = measured(self.REFERENCE, rows)
        assert figures(found, segment="north")["roc_auc"] == pytest.approx(0.5, abs=1e-12)
        missing = segmented(batch(np.full(200, np.nan), np.ones(200, bool)), np.zeros(200))
        assert measured(self.REFERENCE, missing) == []

    def test_few_rows_have_no_figures(self):
        score, predicted, _ = rows_of(1, 149)
        found = measured(self.REFERENCE, segmented(batch(score, predicted), np.arange(149) >= 100))
        assert "roc_auc" in figures(found, segment="north")
        assert figures(found, segment="south") == {}

    def test_scores_within_few_bins_leave_the_ranking_out(self):
        reference = built_with_segments(*rows_of(5, bend=1.0))
        score = np.random.default_rng(0).uniform(0.001, 0.004, 1000)
        pane = pane_of(reference.schema, segmented(batch(score, score > 0.5), np.zeros(1000)))
        found = figures(measured(reference, pane=pane), segment="north")
        assert "accuracy" in found
        assert {"roc_auc", "average_precision"}.isdisjoint(found)
        [undecided] = said(reference, pane)
        assert (undecided.reason, undecided.figures) == ("undecided", 4)
        assert undecided.text == (
            "estimated ROC AUC and average precision are left out of all rows and 1 segment ('region=north'): the bins "
            "of the score do not decide them"
        )

    def test_rows_from_before_an_upgrade_leave_the_ranking_out(self):
        score, predicted, _ = rows_of(1, 1000)
        pane = pane_of(self.REFERENCE.schema, segmented(batch(score, predicted), np.zeros(1000)))
        assert said(self.REFERENCE, pane) == []
        pane.further[GroupScores].by_score[:] *= 0.5
        assert [found[:2] for found in said(self.REFERENCE, pane)] == [("incomplete", 2)]
        found = figures(measured(self.REFERENCE, pane=pane), segment="north")
        assert "accuracy" in found
        assert {"roc_auc", "average_precision"}.isdisjoint(found)

    def test_a_model_without_segments_has_no_sums(self):
        assert pane_of(REFERENCE.schema, batch(*rows_of()[:2])).further[GroupScores].by_score.size == 0


def test_a_pane_comes_back_from_its_compact_form():
    score, predicted, _ = rows_of(1, 1000)
    pane = pane_of(REFERENCE.schema, batch(score, predicted))
    again = CompactPane.of(pane).expanded(REFERENCE.schema)
    assert measured(REFERENCE, pane=again) == measured(REFERENCE, pane=pane)


def test_sums_begin_again_with_another_positive_class():
    assert {f"further.estimated.{name}" for name in ("by_class", "without", "divergence")} <= SCORE_SUMS


class TestWithoutEstimate:
    def test_a_reference_without_labels_has_none_and_says_so(self):
        score, predicted, _ = rows_of()
        reference = build_reference("m", batch(score, predicted), positive_class="yes")
        assert measured(reference, batch(score, predicted)) == []
        assert without_estimate(reference).endswith("its reference has no labels")
        assert pane_of(reference.schema, batch(score, predicted)).further[EstimatedSums].by_class.size == 0

    def test_a_reference_without_scores_says_so(self):
        _, predicted, truth = rows_of()
        rows = replace(batch(np.zeros(4000), predicted), score=None)
        reference = build_reference("m", rows, label_classes=classes(truth), positive_class="yes")
        assert without_estimate(reference).endswith("its reference has no scores")

    def test_a_reference_with_scores_of_the_other_class_says_so(self):
        score, predicted, truth = rows_of()
        assert "rarer with higher scores" in without_estimate(built(1.0 - score, predicted, truth))

    def test_a_model_with_an_estimate_and_one_of_another_task_have_no_reason(self):
        assert without_estimate(REFERENCE) == ""
        rows = replace(batch(np.zeros(50)), score=None, value=np.arange(50.0))
        assert without_estimate(build_reference("m", rows)) == ""


class TestExpectedBins:
    def test_rows_that_lie_evenly_in_a_bin_are_ranked_within_it(self):
        score = (np.arange(200_000) + 0.5) / 200_000
        edges = np.linspace(0.0, 1.0, 257)
        index = np.searchsorted(edges, score, "right")
        counts = np.bincount(index, minlength=258).astype(float)
        excess = np.bincount(index, score - edges[np.maximum(index - 1, 0)], 258)
        bins = ExpectedBins.of(Curve.identity(), edges, counts, excess, counts)
        expected = cbpe.estimated(score, (score > 0.5).astype(int), score)
        assert bins.area() == pytest.approx(expected["roc_auc"], abs=1e-8)
        assert bins.precision() == pytest.approx(expected["average_precision"], abs=1e-5)

    def test_without_one_of_the_classes_there_is_no_ranking(self):
        edges = np.array([0.0, 1.0])
        none = ExpectedBins.of(Curve(np.array([0.0, 1.0]), np.zeros(2), 0.0, 1.0), edges, np.array([0, 9.0, 0]),
                               np.array([0, 4.5, 0]), np.ones(3))  # fmt: skip
        assert np.isnan(none.area())
        assert np.isnan(none.precision())


class TestDivergence:
    def outcomes(self, rows, truth, schema=REFERENCE.schema, weight=1.0):
        kept = pending_rows(schema, rows)
        count = len(truth)
        return OutcomeBatch(
            rows.time_ns, weight * rows.weights, kept.scores, np.full(count, np.nan), kept.groups,
            np.full(count, 60.0), labels=np.where(truth, 2, 1).astype(np.int32), predicted=kept.predicted,
            estimates=None if kept.estimates is None else kept.estimates.astype(np.float32).astype(np.float64),
        )  # fmt: skip

    def found(self, *outcomes, schema=REFERENCE.schema, least=50):
        pane = Pane.empty(schema)
        for each in outcomes:
            accumulate_outcomes(pane, schema, each)
        measured = DivergenceMonitor(LeastLabels(min_labels=least)).evaluate(
            Window(MODEL, 0, 60, schema, pane), REFERENCE
        )
        return {item.name: item.value for item in measured}

    def test_it_is_the_mean_of_what_labels_differ_from_their_estimates(self):
        score, predicted, truth = rows_of(1, 2000)
        rows = batch(score, predicted)
        p = estimates(REFERENCE.schema, rows)
        assert p is not None
        difference = (truth == predicted) - np.where(predicted, p, 1 - p)
        found = self.found(self.outcomes(rows, truth))
        assert found[DIVERGENCE.name] == pytest.approx(difference.mean(), abs=1e-7)
        assert found[ERROR.name] == pytest.approx(difference.std() / np.sqrt(2000), rel=1e-6)

    def test_a_changed_population_does_not_diverge_but_a_changed_world_does(self):
        reference = REFERENCE.schema
        other = rows_of(2, 20_000, shift=-1.5)
        shifted = self.found(self.outcomes(batch(*other[:2]), other[2], reference))
        assert abs(shifted[DIVERGENCE.name]) < 5 * shifted[ERROR.name]
        world = rows_of(3, 20_000, bend=6.0)
        changed = self.found(self.outcomes(batch(*world[:2]), world[2], reference))
        assert changed[DIVERGENCE.name] < -20 * changed[ERROR.name]

    def test_a_retraction_takes_the_row_out(self):
        score, predicted, truth = rows_of(1, 200)
        rows = batch(score, predicted)
        kept = self.outcomes(rows.take(slice(0, 100)), truth[:100])
        rest = (rows.take(slice(100, 200)), truth[100:])
        found = self.found(kept, self.outcomes(*rest), self.outcomes(*rest, weight=-1.0))
        assert found == pytest.approx(self.found(kept), rel=1e-9)
        assert self.found(self.outcomes(*rest), self.outcomes(*rest, weight=-1.0)) == {}

    def test_rows_without_an_estimate_and_few_rows_give_nothing(self):
        score, predicted, truth = rows_of(1, 200)
        assert self.found(self.outcomes(batch(np.full(200, np.nan), predicted), truth)) == {}
        assert self.found(self.outcomes(batch(score[:49], predicted[:49]), truth[:49])) == {}
        assert self.found(replace(self.outcomes(batch(score, predicted), truth), estimates=None)) == {}

    def test_the_reference_itself_does_not_diverge(self):
        sums = REFERENCE.pane.further[EstimatedSums].divergence[0]
        assert sums[0] == 4000.0
        assert abs(sums[1] / 4000) < 0.01
