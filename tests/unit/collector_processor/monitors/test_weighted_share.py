"""Drift by importance: the share of features that have drifted, each weighted by its attributions in the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.alerts.rules import OPTIONAL_RULES
from collector_processor.alerts.settings import Alerts
from collector_processor.monitors.base import LeavesOut
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.service.unable import unable
from otel_ml import semconv
from tests.support.scored_rows import rows_of, window_of

MONITOR = DriftMonitor(DriftSettings(), LeastRows())
NAMES = ("age", "income", "debt", "size")
PHI = {"age": 6.0, "income": 3.0, "debt": 1.0, "size": 0.0}


def features(count: int = 3000, seed: int = 1, moved: tuple[str, ...] = (), names: tuple[str, ...] = NAMES):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(count) + (name in moved) for name in names}


def reference_of(phi, count: int = 3000, weights=None, **further):
    """A reference whose features have attributions of these absolute sizes, with both signs."""
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    return build_reference(
        "loans",
        rows_of(
            {**features(count), **further}, weights, attributions={name: size * signs for name, size in phi.items()}
        ),
    )


REFERENCE = reference_of(PHI)


def shares(reference, columns, weights=None) -> dict[str, float]:
    found = MONITOR.evaluate(window_of(reference, [rows_of(columns, weights)]), reference)
    return {each.name: each.value for each in found if each.name.endswith("share")}


def weighted(reference, columns, weights=None) -> float | None:
    return shares(reference, columns, weights).get(semconv.DRIFT_WEIGHTED_SHARE)


def notes(reference) -> list[str]:
    assert isinstance(MONITOR, LeavesOut)
    return list(MONITOR.left_out(reference))


@pytest.mark.parametrize(
    ("moved", "expected"),
    [((), 0.0), (("age",), 0.6), (("income", "debt"), 0.4), (("size",), 0.0), (NAMES, 1.0)],
)
def test_each_drifted_feature_counts_as_much_as_the_model_relies_on_it(moved, expected):
    found = shares(REFERENCE, features(seed=2, moved=moved))
    assert found[semconv.DRIFT_WEIGHTED_SHARE] == pytest.approx(expected, abs=1e-12)
    assert found[semconv.DRIFT_SHARE] == len(moved) / 4


@given(st.lists(st.floats(0.0, 1e6), min_size=4, max_size=4).filter(any), st.sets(st.sampled_from(NAMES)))
@settings(max_examples=30, deadline=None)
def test_it_is_the_sum_of_the_shares_of_what_has_drifted(sizes, moved):
    reference = reference_of(dict(zip(NAMES, sizes, strict=True)), 600)
    columns = features(600, seed=3, moved=tuple(moved))
    measured = MONITOR.evaluate(window_of(reference, [rows_of(columns)]), reference)
    drifted = {
        dict(each.attributes)[semconv.FEATURE_NAME]
        for each in measured
        if each.name == semconv.DRIFT_DRIFTED and each.value
    }
    expected = sum(size for name, size in zip(NAMES, sizes, strict=True) if name in drifted) / sum(sizes)
    assert weighted(reference, columns) == pytest.approx(expected, abs=1e-12)


def test_words_name_the_features_that_the_model_relies_on_most():
    window = window_of(REFERENCE, [rows_of(features(seed=2, moved=("debt", "age", "size")))])
    words = {each.name: each.words for each in MONITOR.evaluate(window, REFERENCE)}[semconv.DRIFT_WEIGHTED_SHARE]
    assert words.startswith("features with 70 % of the importance drifted: age (60 %, js ")
    assert "debt (10 %, js " in words
    assert "size" not in words


def test_without_attributions_in_the_reference_it_is_left_out_and_the_rule_says_so():
    reference = build_reference("loans", rows_of(features()))
    found = shares(reference, features(seed=2, moved=NAMES))
    assert found == {semconv.DRIFT_SHARE: 1.0}
    assert notes(reference) == []  # most models have none: that is no news
    (rule,) = (each for each in OPTIONAL_RULES if each.name == "weighted_drift")
    assert unable(rule, "loans", MlMonitor(), reference) == "its reference has no attributions"
    assert unable(rule, "loans", MlMonitor(), REFERENCE) == ""


def test_attributions_that_are_all_zero_are_no_weights_and_said():
    reference = reference_of(dict.fromkeys(NAMES, 0.0))
    assert weighted(reference, features(seed=2, moved=NAMES)) is None
    assert notes(reference) == ["the attributions of its reference are all 0: ml.drift.weighted_share is not measured"]


def test_impossible_attributions_are_left_out_and_said():
    reference = reference_of({**PHI, "age": 1e308})
    assert "attributions of age beyond ±1e+140 are left out" in reference.notes
    assert weighted(reference, features(seed=2, moved=("income",))) == pytest.approx(0.75)


def test_a_feature_without_attributions_counts_nothing_and_is_named():
    reference = reference_of({"age": 3.0, "income": 1.0})
    assert weighted(reference, features(seed=2, moved=("age", "debt"))) == pytest.approx(0.75)
    assert notes(reference) == [
        "features without attributions in its reference do not count in ml.drift.weighted_share: debt, size"
    ]


def test_names_of_one_hot_columns_count_for_their_feature():
    carriers = np.array(["UA", "AA", "B6"])[np.arange(3000) % 3]
    reference = reference_of({"age": 1.0, "carrier=UA": 2.0, "carrier=AA": 1.0}, carrier=carriers)
    columns = {**features(seed=2), "carrier": np.full(3000, "UA")}
    assert weighted(reference, columns) == pytest.approx(0.75)


def test_attributions_of_other_names_alone_are_no_weights():
    reference = reference_of({"pca_1": 5.0, "pca_2": 4.0, "age": 1.0})
    assert weighted(reference, features(seed=2, moved=NAMES)) is None
    assert notes(reference) == [
        "only 10 % of the attributions of its reference are those of features: ml.drift.weighted_share is not measured"
    ]


def test_features_that_cannot_be_evaluated_do_not_count_and_the_most_important_must_be_there():
    columns = features(seed=2, moved=("age",))
    few = {name: cells for name, cells in columns.items() if name != "income"}
    assert weighted(REFERENCE, few) == pytest.approx(6 / 7)  # of age and debt
    without_age = {name: cells for name, cells in columns.items() if name != "age"}
    assert weighted(REFERENCE, without_age) is None
    missing = {**columns, "age": np.full(3000, np.nan)}
    assert weighted(REFERENCE, missing) is None


def test_a_feature_that_the_reference_lacks_changes_nothing():
    columns = features(seed=2, moved=("income",))
    assert weighted(REFERENCE, {**columns, "new": np.arange(3000.0)}) == weighted(REFERENCE, columns)


def test_a_constant_feature_is_evaluated_like_any_other():
    constant = {**features(seed=2), "age": np.zeros(3000)}
    assert weighted(REFERENCE, constant) == pytest.approx(0.6)


def test_a_tiny_window_has_none():
    assert weighted(REFERENCE, features(400, seed=2)) is None


def test_weights_of_sampled_rows_count_in_the_reference():
    count = 3000
    heavy = np.where(np.arange(count) % 2, 9.0, 1.0)
    phi = {"age": np.where(heavy > 1, 1.0, 0.0), "income": np.where(heavy > 1, 0.0, 1.0)}
    reference = build_reference("loans", rows_of(features(), heavy, attributions=phi))
    assert weighted(reference, features(seed=2, moved=("age",))) == pytest.approx(0.9)
    assert weighted(reference, features(seed=2, moved=("age",)), np.full(count, 5.0)) == pytest.approx(0.9)


def test_the_rule_is_off_until_it_is_named():
    names = {rule.name for rule in Alerts().resolved()}
    assert "weighted_drift" not in names
    for settings_ in (None, {}, {"above": 0.5}):
        found = Alerts.model_validate({"rules": {"weighted_drift": settings_}}).resolved()
        (rule,) = (each for each in found if each.name == "weighted_drift")
        assert rule.threshold == (0.5 if settings_ else 0.3)
    assert len(Alerts.model_validate({"rules": {"weighted_drift": {"enabled": False}}}).resolved()) == len(names)
