from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.window.compact_panes import compacted

CELLS = st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, 65535.0, 65536.0, 2.0**24 + 1, -3.5, 1 / 3, 1e300, -1e-310, np.inf])


@given(st.lists(CELLS, min_size=0, max_size=40), st.integers(1, 4))
def test_packing_is_exact(cells: list[float], columns: int) -> None:
    values = np.array(cells[: len(cells) // columns * columns]).reshape(-1, columns)
    total = np.zeros(values.shape)
    compacted(values).add_to(total)
    assert np.array_equal(total, values)


def test_packing_keeps_nan() -> None:
    total = np.zeros(3)
    compacted(np.array([np.nan, 1.0, 0.0])).add_to(total)
    assert np.array_equal(total, [np.nan, 1.0, 0.0], equal_nan=True)


def test_what_is_mostly_empty_is_kept_as_pairs() -> None:
    values = np.zeros((100, 1000))
    values[3, 7] = 2.0
    compact = compacted(values)
    assert compact.index is not None
    assert compact.nbytes < 10


def test_what_is_full_is_kept_whole_in_the_narrowest_exact_type() -> None:
    assert compacted(np.arange(1.0, 9.0)).values.dtype == np.uint16
    assert compacted(np.arange(1.0, 9.0) / 2).values.dtype == np.float32
    assert compacted(np.arange(1.0, 9.0) / 3).values.dtype == np.float64


def test_an_array_adds_to_a_larger_one() -> None:
    for values in (np.ones((2, 2)), np.array([[0.0, 0, 0, 0], [0, 0, 0, 9]])):
        total = np.ones((3, 5))
        compacted(values).add_to(total)
        expected = np.ones((3, 5))
        expected[:2, : values.shape[1]] += values
        assert np.array_equal(total, expected)


def test_the_packed_form_is_independent_of_its_source() -> None:
    for values in (np.arange(1.0, 9.0) / 3, np.arange(1.0, 9.0)):
        compact = compacted(values)
        values[:] = 0
        total = np.zeros(8)
        compact.add_to(total)
        assert total.all()


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0)])
def test_an_array_without_cells_packs(shape: tuple[int, ...]) -> None:
    total = np.zeros(shape)
    compacted(np.zeros(shape)).add_to(total)
    assert total.shape == shape
