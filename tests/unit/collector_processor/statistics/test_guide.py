from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collector_processor.statistics import guide
from collector_processor.statistics.bins import bin_index, fine_edges
from collector_processor.statistics.guide import Guide, guide_of

MAX = float(np.finfo(np.float64).max)
NUMBERS = st.floats(allow_nan=False, allow_subnormal=True) | st.integers(-5, 5).map(float)


def probes(edges):
    """Every edge, its neighbours, and everything beyond."""
    around = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
    return np.concatenate([*around, [-np.inf, np.inf, 0.0, -0.0, MAX, -MAX, 5e-324, 1.0]])


def assert_exact(edges, cells):
    np.testing.assert_array_equal(Guide(edges[None, :]).index(0, cells[None, :])[0], bin_index(cells, edges))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 400), elements=NUMBERS), hnp.arrays(np.float64, 20, elements=NUMBERS))
def test_a_guide_finds_the_bins_of_a_search(values, others):
    edges = np.unique(values[np.isfinite(values)])
    with np.errstate(over="ignore"):
        cells = np.concatenate((others, probes(edges)))
    assert_exact(edges, cells)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(1e9, 1e-3, 20_000),
        np.random.default_rng(0).pareto(0.3, 20_000),
        -np.random.default_rng(0).pareto(0.3, 20_000),
        np.random.default_rng(0).standard_cauchy(20_000),
        np.random.default_rng(0).integers(0, 2, 20_000).astype(float),
        np.repeat([1e-300, 1.0, 1e300], 100),
        np.full(10, 5e-324),
    ],
)
def test_a_guide_is_exact_on_hard_columns(values):
    edges = fine_edges(values).edges
    cells = np.concatenate((values, probes(edges)))
    assert_exact(edges, cells)


def test_neighbouring_columns_keep_their_bins_apart():
    random = np.random.default_rng(1)
    columns = [random.pareto(0.3, 3000), np.full(3000, 2.0), np.full(3000, np.nan), random.integers(0, 9, 3000) * 1.0]
    found = [fine_edges(column).edges for column in columns]
    edges = np.full((4, max(map(len, found))), np.inf)
    for row, each in enumerate(found):
        edges[row, : len(each)] = each
    cells = np.array([probes(np.resize(each, 1500)) if len(each) else probes(np.zeros(1500)) for each in found])
    made = Guide(edges)
    for first, last in ((0, 4), (1, 3), (3, 4)):
        index = made.index(first, cells[first:last])
        for row in range(last - first):
            expected = bin_index(cells[first + row], edges[first + row]) + row * made.bins
            np.testing.assert_array_equal(index[row], expected)
    assert made.edgeless.tolist() == [False, False, True, False]


def test_missing_cells_stay_within_their_column():
    made = Guide(np.array([[0.0, 1.0], [5.0, 6.0]]))
    assert (made.index(0, np.full((2, 3), np.nan)) // made.bins).tolist() == [[0] * 3, [1] * 3]


def test_grids_shrink_where_columns_are_many():
    assert Guide(np.zeros((5000, 1))).cells * 5000 <= 2 * guide.ALL_CELLS


def test_guides_live_as_long_as_their_edges():
    edges = np.array([[0.0, 1.0, np.inf]])
    gc.collect()
    before = len(guide._GUIDES)
    assert guide_of(edges) is guide_of(edges)
    assert len(guide._GUIDES) == before + 1
    del edges
    gc.collect()
    assert len(guide._GUIDES) == before
