"""What the bins of a reference take from its order is what is found without it, to the last digit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collector_processor.columns.batch import F64
from collector_processor.statistics import bins
from collector_processor.statistics.bins import FINE_BINS, fine_edges

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 50), elements=FINITE),
    hnp.arrays(np.float64, 9, elements=st.floats(0.0, 1.0)),
)
def test_interpolation_is_that_of_numpy(values: F64, levels: F64) -> None:
    ordered = np.sort(values)
    np.testing.assert_array_equal(bins._interpolated(ordered, levels), np.quantile(ordered, levels))


@pytest.mark.parametrize("cells", [1, 2, 3, 7, 512, FINE_BINS])
def test_every_cell_of_even_values_starts_where_the_mass_says(cells: int) -> None:
    for rows in [*range(cells, cells + 100), 10 * cells, 99_991, 100_000, 131_072]:
        cell = bins._cell(np.arange(rows, dtype=np.float64), rows / cells)
        starts = np.flatnonzero(np.diff(cell, prepend=-1.0))
        np.testing.assert_array_equal(bins._even_starts(rows, cells), starts)


@pytest.mark.parametrize("weights", [None, 1.0, 0.3])
def test_cells_that_are_no_finite_numbers_make_no_difference(weights: float | None) -> None:
    values = np.random.default_rng(3).normal(size=5000)
    mixed = np.insert(values, [0, 17, 17, 4000, 5000], [np.nan, np.inf, -np.inf, np.inf, np.nan])
    given_weights = None if weights is None else np.full(len(mixed), weights)
    for mine, wanted in zip(fine_edges(mixed, given_weights), fine_edges(values), strict=True):
        np.testing.assert_array_equal(mine, wanted)
