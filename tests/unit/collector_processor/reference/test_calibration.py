from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedShuffleSplit

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.fits.calibration import draws, needs_calibration
from collector_processor.reference.fits.isotonic import isotonic
from collector_processor.statistics.estimates import estimates, positive_curve
from collector_processor.statistics.fits.calibration import Calibration

ROWS = 4000
RIGHT = 5
"""A seed whose scores need no calibration."""


def batch(score, weights=None, **columns):
    rows = len(score)
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else weights, np.full(rows, np.nan), score=score, **columns,
    )  # fmt: skip


def classes(positive):
    return Column(None, np.asarray(positive).astype(np.int32), ("no", "yes"))


def rows_of(seed=RIGHT, rows=ROWS, bend=1.0, digits=None):
    """Scores and labels: the probability of "yes" is score ** bend."""
    random = np.random.default_rng(seed)
    score = random.random(rows)
    score = score if digits is None else score.round(digits)
    return score, random.random(rows) < score**bend


def built(score, positive, **keys):
    return build_reference("m", batch(score, **keys), label_classes=classes(positive), positive_class="yes")


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3, 10, 300]), st.sampled_from([None, 0, 1, 2]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_isotonic_regression_is_that_of_scikit_learn(seed, rows, digits, weighted):
    random = np.random.default_rng(seed)
    score = random.random(rows) if digits is None else random.random(rows).round(digits)
    truth = (random.random(rows) < score).astype(float)
    weights = random.choice([0.5, 1.0, 3.0], rows) if weighted else np.ones(rows)
    order = np.argsort(score, kind="stable")
    knots, values = isotonic(score[order], truth[order], weights[order])
    theirs = IsotonicRegression(out_of_bounds="clip").fit(score, truth, weights)
    assert set(knots) <= {*theirs.X_thresholds_, *score}
    where = np.linspace(-0.1, 1.1, 1001)
    np.testing.assert_allclose(np.interp(where, knots, values), theirs.predict(where), rtol=0, atol=1e-14)


def test_knots_are_those_of_scikit_learn():
    score, positive = rows_of()
    order = np.argsort(score)
    knots, values = isotonic(score[order], positive[order].astype(float), np.ones(ROWS))
    theirs = IsotonicRegression().fit(score, positive)
    np.testing.assert_array_equal(knots, theirs.X_thresholds_)
    np.testing.assert_allclose(values, theirs.y_thresholds_, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("rows", "share"), [(100, 0.5), (101, 0.1), (999, 0.37), (1000, 0.013)])
def test_the_decision_draws_the_rows_that_scikit_learn_draws(rows, share):
    truth = (np.random.default_rng(rows).permutation(rows) < share * rows).astype(float)
    theirs = StratifiedShuffleSplit(10, test_size=0.1, random_state=42).split(truth, truth)
    for mine, (_, test) in zip(draws(truth), theirs, strict=True):
        np.testing.assert_array_equal(mine, test)


def rule(score, truth):
    """NannyML 0.13.1's rule, with scikit-learn."""
    tests, calibrated = [], []
    for train, test in StratifiedShuffleSplit(10, test_size=0.1, random_state=42).split(score, truth):
        model = IsotonicRegression(out_of_bounds="clip").fit(score[train], truth[train])
        tests.append(test)
        calibrated.append(model.predict(score[test]))
    rows = np.concatenate(tests)

    def error(p):
        order, width = p.argsort(), len(p) // 10
        bins = [order[i * width : (i + 1) * width if i < 9 else len(p)] for i in range(10)]
        return sum(len(bin_) / len(p) * abs(p[bin_].mean() - truth[rows][bin_].mean()) for bin_ in bins)

    return error(score[rows]) > error(np.concatenate(calibrated))


def test_calibration_is_used_where_nannyml_uses_it():
    found = []
    for seed in range(12):
        score, positive = rows_of(seed, rows=1003, bend=1.0 + (seed % 3) / 10)
        found.append(rule(score, positive.astype(float)))
        assert needs_calibration(score, positive.astype(float), np.ones(len(score))) == found[-1]
    assert True in found
    assert False in found


def test_scores_that_are_right_stay_as_they_are():
    score, positive = rows_of(RIGHT)
    assert not rule(score, positive.astype(float))
    assert positive_curve(built(score, positive).schema).knots.tolist() == [0.0, 1.0]
    ordered = np.arange(ROWS) / ROWS
    assert positive_curve(built(ordered, ordered > 0.5).schema).knots.tolist() == [0.0, 1.0]


def test_the_calibration_is_linear_in_each_bin_of_the_score():
    score, positive = rows_of(bend=3.0)
    reference = built(score, positive)
    curve, edges = positive_curve(reference.schema), reference.schema.edges[0]
    edges = edges[np.isfinite(edges)]
    bins = np.searchsorted(edges, score, "right")
    count = np.bincount(bins)
    used = count > 0
    mean = np.bincount(bins, score)[used] / count[used]
    np.testing.assert_allclose(
        curve.at(mean) * count[used], np.bincount(bins, curve.at(score))[used], rtol=0, atol=1e-9
    )
    assert np.diff(edges).max() <= 1 / 256
    assert len(edges) <= 1228 + 256 + 2 * len(curve.knots)


def test_bins_do_not_divide_equal_scores_of_another_precision():
    score, positive = rows_of(bend=3.0, digits=2)
    reference = built(score, positive)
    edges = reference.schema.edges[0]
    single = score.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(np.searchsorted(edges, score, "right"), np.searchsorted(edges, single, "right"))


def test_it_comes_back_from_a_profile():
    reference = built(*rows_of(bend=3.0))
    again = parse_reference(reference_text(reference), "m.json")
    for name in ("knots", "values"):
        np.testing.assert_array_equal(
            getattr(positive_curve(again.schema), name), getattr(positive_curve(reference.schema), name)
        )
    assert reference_text(again) == reference_text(reference)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"knots": [', '"knots": [9,', "must have 1 to"),
        ('"probabilities": 1', '"probabilities": 2', "must be an integer from 0 to 1"),
        ('"2": {', '"3": {', "is not the number of a class"),
        ('"values": [0,1]', '"values": [1,0]', "none below the one before"),
        ('"knots": [0,1]', '"knots": [1,0]', "must ascend"),
    ],
)
def test_a_wrong_calibration_is_refused_with_its_path(before, after, problem):
    text = reference_text(built(*rows_of()))
    head, tail = text[: text.index('"calibration"')], text[text.index('"calibration"') :]
    assert before in tail
    with pytest.raises(ValueError, match=rf"estimator\.calibration.*{problem}"):
        parse_reference(head + tail.replace(before, after), "m.json")


class TestNoCalibration:
    def test_without_labels(self):
        reference = build_reference("m", batch(rows_of()[0]), positive_class="yes")
        assert reference.schema.fit(Calibration) is None
        assert estimates(reference.schema, batch(rows_of()[0])) is None

    def test_with_labels_of_one_class(self):
        rows = batch(rows_of()[0], prediction=classes(rows_of()[1]))
        reference = build_reference("m", rows, label_classes=classes(np.zeros(ROWS)), positive_class="yes")
        assert reference.schema.fit(Calibration) is None

    def test_with_few_labels(self):
        score, positive = rows_of(rows=99)
        assert built(score, positive).schema.fit(Calibration) is None
        score, positive = rows_of()
        assert built(score, np.arange(ROWS) < 9).schema.fit(Calibration) is None

    def test_if_the_scores_are_about_the_other_class(self):
        score, positive = rows_of()
        assert built(1.0 - score, positive).schema.fit(Calibration) is None
        assert built(np.full(ROWS, 0.3), positive).schema.fit(Calibration) is not None

    def test_of_a_model_without_scores(self):
        _, positive = rows_of()
        reference = build_reference(
            "m", replace(batch(np.full(ROWS, np.nan)), prediction=classes(positive)), label_classes=classes(positive)
        )
        assert reference.schema.fit(Calibration) is None


class TestEstimates:
    def test_a_score_that_is_missing_or_no_probability_has_none(self):
        schema = built(*rows_of(bend=3.0)).schema
        found = estimates(schema, batch(np.array([0.5, np.nan, 1.5, -0.1, np.inf, 1.0])))
        assert found is not None
        assert np.isnan(found).tolist() == [False, True, True, True, True, False]

    def test_scores_that_are_no_probabilities_are_calibrated(self):
        score, positive = rows_of()
        margin = np.log(score / (1.0 - score))
        schema = built(margin, positive).schema
        found = estimates(schema, batch(np.array([-1e6, 0.0, 1e6])))
        assert found is not None
        np.testing.assert_allclose(found, [0.0, 0.5, 1.0], rtol=0, atol=0.1)

    def test_failed_calls_have_none(self):
        schema = built(*rows_of()).schema
        rows = batch(np.array([0.5, 0.5]), error=Column(None, np.array([-1, 0], np.int32), ("Timeout",)))
        found = estimates(schema, rows)
        assert found is not None
        assert np.isnan(found).tolist() == [False, True]

    def test_it_belongs_to_the_class_that_was_positive(self):
        reference = built(*rows_of())
        schema = reference.schema.fork()
        schema.decide("no")
        assert estimates(schema, batch(np.array([0.5]))) is None

    def test_it_is_derived_once(self):
        schema = built(*rows_of()).schema
        rows = batch(np.array([0.5, 0.25]))
        assert estimates(schema, rows) is estimates(schema.fork(), rows)
        assert estimates(schema, rows.take(np.array([1]))).tolist() == [0.25]

    def test_weights_of_rows_count(self):
        score, positive = rows_of(bend=3.0)
        weights = np.where(positive, 3.0, 1.0)
        schema = built(score, positive, weights=weights).schema
        p = score**3.0
        near = np.abs(estimates(schema, batch(score)) - 3.0 * p / (1.0 + 2.0 * p))
        assert near.mean() < 0.05
