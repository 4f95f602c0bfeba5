from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.statistics.latency import DELAY, LATENCY, delay_bins, latency_bins, quantile
from collector_processor.statistics.pane import DELAY_BINS, LATENCY_BINS


def counted(index, bins):
    return np.bincount(index[index >= 0], minlength=bins).astype(np.float64)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 999.0), min_size=1, max_size=50), st.floats(0.0, 1.0))
def test_quantiles_of_latency_are_within_one_per_cent(durations, q):
    values = np.array(durations)
    exact = np.quantile(values, q, method="inverted_cdf")
    near = np.quantile(values, [max(q - 1e-9, 0.0), min(q + 1e-9, 1.0)], method="inverted_cdf")
    found = quantile(counted(latency_bins(values), LATENCY_BINS), q)
    assert any(found == pytest.approx(value, rel=0.01) for value in (exact, *near))


@pytest.mark.parametrize("bins", [LATENCY, DELAY])
def test_the_value_of_a_bin_is_within_one_per_cent_of_both_its_edges(bins):
    lower = bins.low_s * bins.ratio ** np.arange(bins.count - 2)
    centers = bins.centers()[1:-1]
    assert (np.abs(centers / lower - 1.0) <= 0.01).all()
    assert (np.abs(centers / (lower * bins.ratio) - 1.0) <= 0.01).all()


def test_bins_are_as_many_as_the_pane_has():
    assert (LATENCY.count, DELAY.count) == (LATENCY_BINS, DELAY_BINS)
    assert latency_bins(np.array([-1.0, 0.0, 9e-7])).tolist() == [0, 0, 0]
    assert latency_bins(np.array([1e9, np.inf])).tolist() == [LATENCY_BINS - 1] * 2
    assert delay_bins(np.array([-5.0, 1e9, np.nan])).tolist() == [0, DELAY_BINS - 1, -1]


def test_delays_of_a_week_are_told_to_one_per_cent():
    assert quantile(counted(delay_bins(np.full(3, 604_800.0)), DELAY_BINS), 0.5) == pytest.approx(604_800.0, rel=0.01)


def test_quantiles_of_nothing_are_nan():
    assert np.isnan(quantile(np.zeros(LATENCY_BINS), 0.5))
    assert quantile(np.zeros((3, LATENCY_BINS)), [0.5, 0.9]).shape == (3, 2)


def test_quantiles_go_by_weight_and_by_group():
    counts = np.zeros((2, LATENCY_BINS))
    counts[0, latency_bins(np.array([0.001, 1.0]))] = (99.0, 1.0)
    counts[1, latency_bins(np.array([0.001, 1.0]))] = (1.0, 99.0)
    assert quantile(counts, 0.5).tolist() == pytest.approx([0.001, 1.0], rel=0.01)


def test_beyond_the_bins_quantiles_are_the_limits():
    counts = counted(latency_bins(np.array([1e-9, 1e9])), LATENCY_BINS)
    assert quantile(counts, [0.0, 1.0]).tolist() == [1e-6, 1e3]


def test_other_bins_and_other_shares_are_refused():
    with pytest.raises(ValueError, match="counts have 7 bins; allowed: 1042"):
        quantile(np.zeros(7), 0.5)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        quantile(np.zeros(LATENCY_BINS), 1.5)
