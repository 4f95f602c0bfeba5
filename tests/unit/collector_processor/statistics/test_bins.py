from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collector_processor.statistics.bins import (
    EDGES_LIMIT,
    FINE_BINS,
    bin_index,
    coarse,
    fine_edges,
    merge_light,
)

MAX = float(np.finfo(np.float64).max)
TINY = 5e-324


def shares(values, weights=None):
    """The share of the reference in each fine bin, and whether one value alone fills it."""
    edges = fine_edges(values, weights).edges
    index = bin_index(values, edges)
    counts = np.bincount(index, weights, len(edges) + 1)
    single = np.array([len(np.unique(values[index == b])) <= 1 for b in range(len(edges) + 1)])
    return counts / counts.sum(), single


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=100_000),
        np.random.default_rng(0).pareto(0.5, size=50_000),
        np.random.default_rng(0).integers(0, 300, 50_000).astype(float),
        np.random.default_rng(0).zipf(1.3, 50_000).astype(float),
        np.round(np.random.default_rng(0).lognormal(size=50_000), 2),
    ],
)
def test_no_bin_holds_more_than_its_part_unless_one_value_does(values):
    share, single = shares(values)
    assert (share[~single] <= 1.0 / FINE_BINS + 1.0 / len(values) + 1e-12).all()


def test_lumpy_values_cost_no_more_than_a_part_of_a_bin():
    share, single = shares(np.random.default_rng(0).integers(0, 5000, 50_000).astype(float))
    assert (share[~single] <= 1.3 / FINE_BINS).all()


def test_a_heavy_value_has_a_bin_of_its_own():
    values = np.concatenate((np.zeros(500), np.random.default_rng(0).normal(size=100_000), np.full(3000, 1.5)))
    edges = fine_edges(values).edges.tolist()
    for heavy in (0.0, 1.5):
        low, high = edges[np.searchsorted(edges, heavy, "right") - 1], edges[np.searchsorted(edges, heavy, "right")]
        assert low <= heavy < high
        assert high - low <= 2.0**-20 * max(heavy, 1e-300)
        assert ((values >= low) & (values < high)).sum() == (values == heavy).sum()


@pytest.mark.parametrize("distinct", [400, 700, 1000, 1023, 1024, 1025, 3000])
def test_edges_are_bounded_and_bins_stay_small_with_many_heavy_values(distinct):
    values = np.repeat(np.sort(np.random.default_rng(1).normal(size=distinct)), 50)
    found = fine_edges(values)
    assert len(found.edges) <= EDGES_LIMIT
    distinct = np.unique(values)
    above = np.append((distinct[1:] + distinct[:-1]) / 2, 9.0)  # what a bin that reaches to the next value would hide
    between = np.repeat(above, 50)
    counts = [np.bincount(bin_index(x, found.edges), minlength=len(found.edges) + 1) for x in (values, between)]
    distance = np.abs(np.cumsum(counts[0]) - np.cumsum(counts[1])).max() / len(values)
    assert distance == pytest.approx(1.0 / len(distinct), abs=2.0 / FINE_BINS)


def test_alternating_heavy_and_light_values_do_not_break_the_bound():
    values = np.concatenate((np.repeat(np.arange(1000.0), 100), np.arange(1000.0) + 0.5))
    found = fine_edges(values)
    assert len(found.edges) <= EDGES_LIMIT
    share, single = shares(values)
    assert (share[~single] <= 2.0 / FINE_BINS + 1e-3).all()


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 60),
        elements=st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
        | st.sampled_from([0.0, 1.0, -0.0]),
    )
)
@example(np.array([-MAX, MAX]))
@example(np.array([-1e308, 1e308, 0.0]))
@example(np.array([TINY, -TINY, 0.0]))
@example(np.array([1e15, 1e15 + 0.125, 1e15 + 0.25]))
def test_edges_ascend_and_hold_range_and_deciles_for_any_values(values):
    finite = values[np.isfinite(values)]
    found = fine_edges(values)
    assert (np.diff(found.edges) > 0).all()
    assert np.isfinite(found.edges).all()
    if not len(finite):
        assert (len(found.edges), found.drift.tolist()) == (0, [0])
        assert np.isnan([found.low, found.high]).all()
        return
    assert (found.low, found.high) == (finite.min(), finite.max())
    assert found.edges[0] <= finite.min()
    assert found.edges[-1] > finite.max() or finite.max() > MAX / 2
    deciles = found.edges[found.drift]
    assert (np.diff(deciles) > 0).all()
    index = bin_index(finite, found.edges)
    if found.edges[-1] > finite.max():
        assert ((index > 0) & (index < len(found.edges))).all(), "no reference value is out of range"


def test_deciles_are_those_of_numpy():
    values = np.random.default_rng(2).lognormal(size=12_344)
    found = fine_edges(values)
    np.testing.assert_array_equal(found.edges[found.drift], np.quantile(values, np.arange(1, 10) / 10))


def test_equal_weights_change_nothing():
    values = np.random.default_rng(2).normal(size=1000)
    np.testing.assert_array_equal(fine_edges(values, np.full(1000, 3.0)).edges, fine_edges(values).edges)


def test_weights_move_the_quantiles():
    values, weights = np.arange(100.0), np.where(np.arange(100) < 10, 90.0, 1.0)
    found = fine_edges(values, weights)
    assert found.edges[found.drift].tolist()[:9] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]


def test_rows_of_no_weight_are_no_reference():
    found = fine_edges(np.array([1.0, 2.0, 99.0]), np.array([1.0, 1.0, 0.0]))
    assert (found.low, found.high) == (1.0, 2.0)


def test_tails_thin_out_by_halves():
    values = np.random.default_rng(3).pareto(1.0, size=100_000)
    beyond = np.array([np.count_nonzero(values > edge) for edge in fine_edges(values).edges])
    for rows in (3, 6, 12, 24, 48, 96):
        assert ((beyond >= rows / 2) & (beyond <= 2 * rows)).any()


def test_included_edges_are_there_only_within_the_range():
    values = np.random.default_rng(4).random(1000)
    assert 0.5 in fine_edges(values, include=(0.5,)).edges
    assert 0.5 not in fine_edges(values + 1.0, include=(0.5,)).edges


def test_a_mostly_constant_column_has_its_value_as_a_coarse_bin():
    values = np.concatenate((np.zeros(95), np.arange(1.0, 6.0)))
    found = fine_edges(values)
    counts = np.bincount(bin_index(np.array([-1.0, 0.0, 0.0, 2.0]), found.edges), minlength=len(found.edges) + 1)
    assert coarse(counts[None, :].astype(float), found.drift[None, :]).tolist() == [[1.0, 2.0, 1.0]]


def test_coarse_counts_of_a_column_without_edges_are_all_in_the_first_bin():
    assert coarse(np.array([[5.0, 0.0]]), np.zeros((1, 1), np.int32)).tolist() == [[5.0, 0.0]]


def test_padding_adds_empty_coarse_bins():
    drift = np.array([[0, 1, 2], [0, 0, 0]], np.int32)
    assert coarse(np.ones((2, 4)), drift).tolist() == [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 3.0]]


class TestMergeLight:
    def test_a_single_outlier_joins_the_nearest_bin_of_the_reference(self):
        reference, current = merge_light(np.array([[0.0, 0.0, 5.0, 0.0]]), np.array([[1.0, 0.0, 1e6, 2.0]]))
        assert current.tolist() == [[0.0, 0.0, 1e6 + 3.0, 0.0]]
        assert reference.tolist() == [[0.0, 0.0, 5.0, 0.0]]

    def test_a_real_share_stays(self):
        current = np.array([[200.0, 0.0, 1e6]])
        assert merge_light(np.array([[0.0, 0.0, 5.0]]), current)[1].tolist() == current.tolist()

    def test_bins_of_the_reference_stay_however_light(self):
        current = np.array([[1.0, 1e6]])
        assert merge_light(np.array([[1.0, 5.0]]), current)[1].tolist() == current.tolist()

    def test_nothing_is_joined_to_an_empty_reference(self):
        current = np.array([[1.0, 1e6]])
        assert merge_light(np.zeros((1, 2)), current)[1].tolist() == current.tolist()

    def test_no_row_is_lost(self):
        random = np.random.default_rng(6)
        reference = random.integers(0, 2, (50, 11)).astype(float)
        current = np.where(random.random((50, 11)) < 0.5, 1.0, 1e5)
        before = current.copy()
        _, merged = merge_light(reference, current)
        np.testing.assert_array_equal(merged.sum(axis=1), before.sum(axis=1))
        np.testing.assert_array_equal(current, before)
