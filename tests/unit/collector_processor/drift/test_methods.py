"""Each drift method against scipy or its plain formula, on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from collector_processor.drift import DRIFT_METHODS, drift_method
from collector_processor.drift.chi2 import chi_square
from collector_processor.drift.hellinger import hellinger_distance
from collector_processor.drift.js import jensen_shannon_distance
from collector_processor.drift.l_infinity import l_infinity_distance
from collector_processor.drift.method import Comparison, Fine
from collector_processor.drift.psi import population_stability_index
from collector_processor.drift.tvd import total_variation_distance
from collector_processor.drift.wasserstein import LARGEST, bin_widths, wasserstein_distance


def tables(seed: int = 0, columns: int = 50, bins: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rates = random.gamma(0.7, 60.0, (2, columns, bins))
    reference, current = random.poisson(rates).astype(float)
    reference[:, 0] += 1.0
    current[:, 1] += 1.0
    return reference, current


def shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)


def categorical(reference, current) -> Comparison:
    return Comparison("categorical", np.array(reference, float, ndmin=2), np.array(current, float, ndmin=2))


def binned(reference: np.ndarray, current: np.ndarray, edges: np.ndarray) -> Comparison:
    """One numeric column from raw values, every bin fine and coarse at once."""
    anchors = np.concatenate((edges[:1], edges))
    counts, excess = [], []
    for side in (reference, current):
        bins = np.searchsorted(edges, side, side="right")
        counts.append(np.bincount(bins, minlength=len(anchors)).astype(float)[None])
        distance = np.where(np.isfinite(side), side - anchors[bins], 0.0)
        excess.append(np.bincount(bins, distance, len(anchors))[None])
    finite = reference[np.isfinite(reference)]
    return Comparison("numeric", *counts, Fine(edges[None], *counts, *excess, np.array([finite.std()])))


def test_jensen_shannon_is_scipys_distance_in_base_2():
    reference, current = tables()
    expected = [jensenshannon(p, q, base=2) for p, q in zip(reference, current, strict=True)]
    assert jensen_shannon_distance(reference, current) == pytest.approx(expected, abs=1e-12)


def test_jensen_shannon_and_hellinger_are_1_for_disjoint_sides():
    assert jensen_shannon_distance(np.array([[3.0, 0.0]]), np.array([[0.0, 5.0]])) == pytest.approx(1.0)
    assert hellinger_distance(np.array([[3.0, 0.0]]), np.array([[0.0, 5.0]])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("distance", "limit"), [(jensen_shannon_distance, 1.0 / np.sqrt(8.0 * np.log(2.0))), (hellinger_distance, 8**-0.5)]
)
def test_tiny_distances_keep_their_digits(distance, limit):
    # With p = ½ ± ε and q = ½ ∓ ε the distance is 4ε · limit; 1 − Σ√pq or KL sums would give rounding errors here.
    step = 1e-9
    found = distance(np.array([[0.5 + step, 0.5 - step]]), np.array([[0.5 - step, 0.5 + step]]))
    assert found == pytest.approx(4.0 * step * limit, rel=1e-6)


def test_hellinger_is_its_plain_formula():
    reference, current = tables()
    expected = np.sqrt(1.0 - np.sqrt(shares(reference) * shares(current)).sum(axis=1))
    assert hellinger_distance(reference, current) == pytest.approx(expected, abs=1e-7)


def test_psi_is_its_plain_formula_where_no_bin_is_empty():
    reference, current = (side + 5.0 for side in tables())
    p, q = shares(reference), shares(current)
    assert population_stability_index(reference, current) == pytest.approx(((p - q) * np.log(p / q)).sum(axis=1))


def test_psi_counts_an_empty_bin_as_one_cell_in_ten_thousand():
    found = population_stability_index(np.array([[99.0, 1.0]]), np.array([[100.0, 0.0]]))
    assert found == pytest.approx((0.01 - 1e-4) * np.log(0.01 / 1e-4) + (0.99 - 1.0) * np.log(0.99))


def test_l_infinity_and_total_variation_are_their_plain_formulas():
    reference, current = tables()
    gap = np.abs(shares(reference) - shares(current))
    assert l_infinity_distance(reference, current) == pytest.approx(gap.max(axis=1), rel=1e-14)
    assert total_variation_distance(reference, current) == pytest.approx(gap.sum(axis=1) / 2.0, rel=1e-14)


def test_chi2_and_its_p_value_are_scipys():
    reference, current = (1000.0 * side for side in tables(bins=6))
    found = Comparison("categorical", reference, current)
    for column, (r, c) in enumerate(zip(reference, current, strict=True)):
        used = (r + c) > 0
        expected = stats.chi2_contingency([r[used], c[used]], correction=False)
        assert drift_method("chi2").score(found)[column] == pytest.approx(expected.statistic, rel=1e-10)
        assert drift_method("chi2").p_value(found)[column] == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)


def test_chi2_has_no_yates_correction():
    assert chi_square(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])) == pytest.approx(
        stats.chi2_contingency([[50, 50], [80, 20]], correction=False).statistic
    )


def test_chi2_is_in_breach_where_p_is_below_alpha():
    reference, current = tables(seed=5, columns=400, bins=4)
    current = np.random.default_rng(1).poisson(reference * 1.0).astype(float) + 1.0
    found, method, alpha = Comparison("categorical", reference, current), drift_method("chi2"), 0.2
    breached = method.score(found) > np.maximum(method.threshold, method.noise(found, alpha))
    assert 0 < breached.sum() < len(breached)
    assert breached.tolist() == (method.p_value(found) < alpha).tolist()


def test_one_category_alone_does_not_drift():
    found = categorical([[70.0, 0.0]], [[9.0, 0.0]])
    for method in DRIFT_METHODS:
        if "categorical" in method.kinds:
            assert method.score(found) == pytest.approx(0.0, abs=1e-15)
            assert method.noise(found, 0.001) == pytest.approx(0.0, abs=1e-15)
    assert drift_method("chi2").p_value(found).tolist() == [1.0]


def test_ks_is_scipys_where_bins_are_fine():
    random = np.random.default_rng(2)
    reference, current = random.normal(size=5000), random.normal(0.1, 1.1, 3000)
    found = binned(reference, current, np.sort(reference))
    expected = stats.ks_2samp(reference, current, method="asymp")
    assert drift_method("ks").score(found) == pytest.approx(expected.statistic, abs=2.0 / 5000)


def test_ks_p_value_is_kolmogorovs_limit():
    random = np.random.default_rng(2)
    found = binned(random.normal(size=800), random.normal(0.1, 1.0, 500), np.linspace(-5, 5, 400))
    method = drift_method("ks")
    expected = stats.kstwobign.sf(method.score(found) * np.sqrt(800 * 500 / 1300))
    assert method.p_value(found) == pytest.approx(expected, rel=1e-9)


def test_ks_noise_is_where_its_p_value_is_alpha():
    found = binned(np.arange(1000.0), np.arange(500.0), np.arange(0.0, 1000.0, 10.0))
    method = drift_method("ks")
    for alpha in (0.05, 0.001):
        assert method.p_value(found, method.noise(found, alpha)) == pytest.approx(alpha, rel=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.3, 4.0, 1e4, -1e4])
def test_wasserstein_is_scipys_for_cells_anywhere(shift):
    random = np.random.default_rng(4)
    reference, current = random.normal(size=4000), random.normal(shift, 1.3, 3000)
    edges = np.concatenate((np.quantile(reference, np.linspace(0, 1, 500)), [reference.max() + 1e-9]))
    found = binned(reference, current, np.unique(edges))
    expected = stats.wasserstein_distance(reference, current)
    assert wasserstein_distance(found.fine) == pytest.approx(expected, rel=0.01)
    assert drift_method("wasserstein").score(found) == pytest.approx(expected / reference.std(), rel=0.01)


def test_wasserstein_is_exact_for_a_shift_that_crosses_no_bin():
    values = np.array([0.25, 1.75, 1.75, 2.5])
    found = binned(values, values + 0.125, np.array([0.0, 1.0, 2.0, 3.0]))
    assert wasserstein_distance(found.fine) == pytest.approx(0.125, rel=1e-14)


def test_wasserstein_from_a_constant_is_told_in_thousandths_of_it():
    constant = np.full(100, 50.0)
    found = binned(constant, constant + 1.0, np.array([50.0, np.nextafter(50.0, 51.0)]))
    assert drift_method("wasserstein").score(found) == pytest.approx(1.0 / 0.05)
    assert drift_method("wasserstein").noise(found, 0.001).tolist() == [0.0]


def test_wasserstein_of_a_small_unit_is_that_of_a_large_one():
    random = np.random.default_rng(4)
    reference, current = random.normal(size=1000), random.normal(0.5, 1.0, 1000)
    edges = np.linspace(-4, 4, 200)
    large = drift_method("wasserstein").score(binned(reference, current, edges))
    small = drift_method("wasserstein").score(binned(reference * 1e-12, current * 1e-12, edges * 1e-12))
    assert small == pytest.approx(large, rel=1e-6)


def test_infinite_cells_keep_every_score_finite():
    random = np.random.default_rng(6)
    reference = random.normal(size=1000)
    current = random.normal(size=1000)
    current[:30], current[30:50] = np.inf, -np.inf
    found = binned(reference, current, np.sort(reference))
    for method in DRIFT_METHODS:
        if "numeric" in method.kinds:
            assert np.isfinite(method.score(found)).all()
            assert np.isfinite(method.noise(found, 0.001)).all()


def test_edges_of_the_whole_float_range_keep_wasserstein_finite():
    huge = np.finfo(float).max
    edges = np.array([[-huge, 0.0, huge / 2]])
    assert bin_widths(edges).max() <= LARGEST
    none, spread = np.zeros((1, 4)), np.array([np.inf])
    same = Fine(edges, *[np.array([[0.0, 1.0, 1.0, 1.0]])] * 2, none, none, spread)
    first, last = np.array([[0.0, 3.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0, 3.0]])
    moved = Fine(edges, first, last, none, none, np.array([1e300]))
    for sides, expected in ((same, 0.0), (moved, LARGEST / 1e300)):
        method = drift_method("wasserstein")
        found = Comparison("numeric", sides.reference_counts, sides.current_counts, sides)
        assert method.score(found).tolist() == [expected]
        assert not np.isnan(method.noise(found, 0.001)).any()


def test_a_column_without_edges_has_nothing_to_say():
    edges = np.full((1, 3), np.inf)
    none, some = np.zeros((1, 4)), np.array([[5.0, 0.0, 0.0, 0.0]])
    found = Comparison("numeric", none, some, Fine(edges, none, some, none, none, np.zeros(1)))
    for name in ("ks", "wasserstein"):
        assert np.isnan(drift_method(name).score(found)).all()


@pytest.mark.parametrize("name", ["ks", "wasserstein"])
def test_numeric_methods_refuse_categories_by_name(name):
    with pytest.raises(ValueError, match=f"drift method '{name}' works on numeric columns with fine bins"):
        drift_method(name).score(categorical([[1.0, 2.0]], [[2.0, 1.0]]))
