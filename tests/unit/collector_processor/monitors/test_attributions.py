"""Figures of attributions: equal to those of the rows and of scikit-learn, and a changed order is seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from collector_processor.monitors.attributions import AttributionMonitor, AttributionSettings
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.ndcg import ndcg
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, reference_text, save_reference
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.parts.attribution_sums import AttributionSums
from otel_ml import semconv
from tests.support.scored_rows import rows_of, window_of

MONITOR = AttributionMonitor(AttributionSettings(), LeastRows())
SCALES = {"age": 2.0, "income": 1.0, "debt": 0.5, "size": 0.1}


def rows(count: int, scales=SCALES, seed: int = 1, shift: float = 0.5, weights=None):
    rng = np.random.default_rng(seed)
    features = {name: rng.standard_normal(count) for name in SCALES}
    phi = {name: scale * (rng.standard_normal(count) + shift) for name, scale in scales.items()}
    return rows_of(features, weights, attributions=phi)


REFERENCE = build_reference("loans", rows(5000))


def measured(window, reference=REFERENCE) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for each in MONITOR.evaluate(window, reference):
        assert np.isfinite(each.value)
        found.setdefault(each.name, {})[dict(each.attributes).get(semconv.FEATURE_NAME, "")] = each.value
    return found


def test_figures_are_those_of_the_rows():
    batch = rows(3000, seed=2)
    found = measured(window_of(REFERENCE, [batch]))
    means = {name: float(np.abs(phi).mean()) for name, phi in batch.attributions.items()}
    assert found[semconv.ATTRIBUTION_MEAN_ABS] == pytest.approx(means, rel=1e-12)
    total = sum(means.values())
    assert found[semconv.ATTRIBUTION_SHARE] == pytest.approx({name: each / total for name, each in means.items()})
    assert found[semconv.ATTRIBUTION_RANK] == {"age": 1, "income": 2, "debt": 3, "size": 4}
    assert set(found[semconv.ATTRIBUTION_SIGN_CHANGED].values()) == {0.0}
    assert max(found[semconv.ATTRIBUTION_DISTANCE].values()) < 0.1
    assert found[semconv.ATTRIBUTION_NDCG][""] == 1.0


def test_another_order_is_below_the_limit_and_says_so():
    other = {"age": 0.1, "income": 0.5, "debt": 1.0, "size": 2.0}
    window = window_of(REFERENCE, [rows(3000, other)])
    found = measured(window)
    assert found[semconv.ATTRIBUTION_NDCG][""] < found[semconv.ATTRIBUTION_NDCG_LIMIT][""] <= 0.9
    words = [each.words for each in MONITOR.evaluate(window, REFERENCE) if each.name == semconv.ATTRIBUTION_NDCG]
    assert words == ["most important: age, income, debt → size, debt, income"]
    assert min(found[semconv.ATTRIBUTION_DISTANCE].values()) > 0.1


def test_a_changed_sign_is_seen_beyond_chance_alone():
    found = measured(window_of(REFERENCE, [rows(3000, shift=-0.5)]))
    assert set(found[semconv.ATTRIBUTION_SIGN_CHANGED].values()) == {1.0}
    found = measured(window_of(REFERENCE, [rows(3000, shift=-0.01)]))
    assert set(found[semconv.ATTRIBUTION_SIGN_CHANGED].values()) == {0.0}


@given(
    st.lists(st.tuples(st.floats(0.01, 100.0), st.integers(0, 5).map(float)), min_size=2, max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_ndcg_equals_scikit_learn(pairs):
    baseline, current = (np.array(side) for side in zip(*pairs, strict=True))
    assert ndcg(baseline, current) == pytest.approx(ndcg_score([baseline], [current]), abs=1e-12)


def test_an_order_by_chance_is_no_change():
    """Features that matter equally change places in every window; the limit allows for it."""
    equal = dict.fromkeys(SCALES, 1.0)
    reference = build_reference("loans", rows(2000, equal))
    for seed in range(20):
        found = measured(window_of(reference, [rows(500, equal, seed=seed + 5)]), reference)
        assert found[semconv.ATTRIBUTION_NDCG][""] >= found[semconv.ATTRIBUTION_NDCG_LIMIT][""]


def test_panes_add_up_whatever_the_split():
    batch = rows(3000, seed=6, weights=np.random.default_rng(1).integers(1, 5, 3000) * 1.0)
    whole = window_of(REFERENCE, [batch]).pane.further[AttributionSums]
    first, second = (window_of(REFERENCE, [batch.take(part)]).pane for part in (slice(0, 800), slice(800, None)))
    first.add(second)
    for name, values in first.further[AttributionSums].arrays().items():
        np.testing.assert_allclose(values, whole.arrays()[name], rtol=1e-12)
    assert whole.bins.sum(axis=1) == pytest.approx(np.full(4, batch.weights.sum()))


def test_weights_count_but_make_no_rows():
    batch = rows(400, weights=np.full(400, 10.0))
    assert measured(window_of(REFERENCE, [batch])) == {}
    heavy, light = (measured(window_of(REFERENCE, [rows(600, weights=np.full(600, w))])) for w in (10.0, 1.0))
    assert heavy[semconv.ATTRIBUTION_MEAN_ABS] == pytest.approx(light[semconv.ATTRIBUTION_MEAN_ABS])
    assert heavy[semconv.ATTRIBUTION_NDCG_LIMIT] == light[semconv.ATTRIBUTION_NDCG_LIMIT]


def test_rows_without_attributions_are_left_out():
    batch = rows(2000, seed=3)
    some = {name: np.where(np.arange(2000) % 2, phi, np.nan) for name, phi in batch.attributions.items()}
    some["age"] = np.where(np.arange(2000) == 1, np.inf, some["age"])
    found = measured(window_of(REFERENCE, [rows_of({"age": np.zeros(2000)}, attributions=some)]))
    expected = np.abs(batch.attributions["income"][1::2]).mean()
    assert found[semconv.ATTRIBUTION_MEAN_ABS]["income"] == pytest.approx(expected)
    without = rows_of({"age": np.zeros(2000)})
    assert measured(window_of(REFERENCE, [without])) == {}
    assert measured(window_of(REFERENCE, [rows(100)])) == {}


def test_constant_attributions_and_a_feature_that_lacks_them():
    found = measured(window_of(REFERENCE, [rows_of({"age": np.zeros(900)}, attributions={"age": np.zeros(900)})]))
    assert found[semconv.ATTRIBUTION_MEAN_ABS] == {"age": 0.0}
    assert semconv.ATTRIBUTION_NDCG not in found  # the order of one of four features says nothing


def test_a_reference_without_attributions_still_gives_means_of_its_features():
    batch = rows(1000)
    reference = build_reference("loans", rows_of({name: column.numbers for name, column in batch.features.items()}))
    assert reference.schema.fit(AttributionBaseline) is None
    found = measured(window_of(reference, [batch]), reference)
    assert set(found) == {semconv.ATTRIBUTION_MEAN_ABS, semconv.ATTRIBUTION_SHARE, semconv.ATTRIBUTION_RANK}
    assert set(found[semconv.ATTRIBUTION_RANK]) == set(SCALES)


def test_attributions_need_not_have_the_names_of_features():
    phi = {"carrier=UA": np.linspace(-1, 1, 1000), "carrier=AA": np.linspace(0, 1, 1000)}
    batch = rows_of({"age": np.arange(1000.0)}, attributions=phi)
    reference = build_reference("loans", batch)
    assert set(measured(window_of(reference, [batch]), reference)[semconv.ATTRIBUTION_MEAN_ABS]) == set(phi)


def test_the_profile_keeps_bins_and_sums(tmp_path):
    path = tmp_path / "loans.json"
    save_reference(REFERENCE, path)
    loaded = load_reference(path)
    window = window_of(REFERENCE, [rows(3000, seed=4)])
    assert measured(window, loaded) == measured(window)
    assert reference_text(loaded) == reference_text(REFERENCE)


@pytest.mark.parametrize("edges", [{}, {"age": [1.0]}, {"age": [*range(31, 0, -1)]}])
def test_damaged_bins_are_refused(tmp_path, edges):
    document = json.loads(reference_text(REFERENCE))
    document["estimator"]["attributions"]["edges"] = edges
    path = tmp_path / "loans.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"loans.json: estimator.attributions.edges"):
        load_reference(path)


def test_explanations_of_a_sample_count_as_the_predictions_they_stand_for():
    few, all_ = rows(1000, seed=3), rows(1000, {"age": 1.0, "income": 1.0, "debt": 1.0, "size": 1.0}, seed=4)
    sampled = replace(few, attribution_weights=np.full(1000, 100.0))
    found = measured(window_of(REFERENCE, [sampled, all_]))[semconv.ATTRIBUTION_MEAN_ABS]
    for name, phi in few.attributions.items():
        total = 100 * np.abs(phi).sum() + np.abs(all_.attributions[name]).sum()
        assert found[name] == pytest.approx(total / (100 * 1000 + 1000), rel=1e-12)


@pytest.mark.parametrize("nonsense", [np.nan, 0.0, -5.0, np.inf, 1e300])
def test_a_weight_that_is_none_counts_as_one(nonsense):
    batch = rows(300)
    plain = measured(window_of(REFERENCE, [batch]))
    assert measured(window_of(REFERENCE, [replace(batch, attribution_weights=np.full(300, nonsense))])) == plain
