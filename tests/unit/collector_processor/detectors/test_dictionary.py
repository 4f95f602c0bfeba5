"""Evidence of counts: e-values for every distribution that is within doubt and tolerance, and equal to row by row."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import norm

from collector_processor.detectors.dependence import Tempering, alike_share, design_effect, tempering
from collector_processor.detectors.dictionary import dictionary

REAL = np.ones((1, 2), np.bool_)


def mean_of_e(share: float, rows: int, tolerance: float, reference: np.ndarray) -> np.ndarray:
    """The mean of every e-value of a pane of two cells, by all its outcomes."""
    alternatives = dictionary(reference[None, :], REAL, 2, tolerance, 0.01)
    ones = np.arange(rows + 1.0)
    probability = np.array([comb(rows, int(k)) for k in ones]) * share**ones * (1 - share) ** (rows - ones)
    total = np.zeros(alternatives.size)
    for k, weight in zip(ones, probability, strict=True):
        e = np.exp(alternatives.increments(np.array([[rows - k, k]]), Tempering())[0])
        total += weight * np.where(alternatives.valid[0], e, 0.0)
    return total


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
@pytest.mark.parametrize("size", [200.0, 50_000.0])
@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1])
def test_e_values_of_all_outcomes_of_two_cells_have_mean_of_at_most_one(
    share: float, size: float, tolerance: float
) -> None:
    reference = size * np.array([1.0 - share, share])
    for moved in (-tolerance, 0.0, tolerance):
        for rows in (1, 7, 30):
            assert (mean_of_e(np.clip(share + moved, 0.0, 1.0), rows, tolerance, reference) <= 1.0 + 1e-9).all()


def test_an_unlucky_reference_raises_no_alarm() -> None:
    # 3 standard errors of the reference away, which its doubt of one in a hundred allows
    size, share = 2000.0, 0.3
    error = 3.0 * np.sqrt(share * (1 - share) / size)
    for moved in (-error, error):
        reference = size * np.array([1.0 - share - moved, share + moved])
        assert (mean_of_e(share, 30, 0.0, reference) <= 1.0 + 1e-9).all()


def test_e_values_of_several_bins_have_mean_of_at_most_one_wherever_the_tolerance_allows() -> None:
    random = np.random.default_rng(3)
    share = random.dirichlet(np.full(6, 3.0))
    alternatives = dictionary(20_000 * share[None, :], np.ones((1, 6), np.bool_), 5, 0.03, 0.01)
    of_row = np.array([np.exp(alternatives.increments(np.eye(6)[[cell]], Tempering())[0]) for cell in range(6)])
    for source, target in product(range(6), repeat=2):
        moved = share.copy()
        step = min(0.03, moved[source])
        moved[source] -= step
        moved[target] += step
        assert ((moved @ of_row)[alternatives.valid[0]] <= 1.0 + 1e-9).all()


def test_increments_of_a_pane_are_the_sum_over_its_rows_and_add_up() -> None:
    random = np.random.default_rng(1)
    reference = random.integers(500, 3000, (4, 7)).astype(float)
    alternatives = dictionary(reference, np.ones((4, 7), np.bool_), 6, 0.01, 0.01)
    rows = random.integers(0, 7, (4, 50))
    counts = np.array([np.bincount(row, minlength=7) for row in rows]).astype(float)
    by_row = sum(alternatives.increments(np.eye(7)[rows[:, place]], Tempering()) for place in range(rows.shape[1]))
    np.testing.assert_allclose(alternatives.increments(counts, Tempering()), by_row, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("change", ["mean_up", "mean_down", "spread_up", "spread_down"])
def test_the_alternative_that_grows_most_is_the_change(change: str) -> None:
    edges = norm.ppf(np.arange(1, 10) / 10)
    mean, spread = {"mean_up": (0.3, 1), "mean_down": (-0.3, 1), "spread_up": (0, 1.3), "spread_down": (0, 0.8)}[change]
    moved = np.diff(np.concatenate(([0.0], norm.cdf((edges - mean) / spread), [1.0])))
    alternatives = dictionary(np.full((1, 10), 5000.0), np.ones((1, 10), np.bool_), 10, 0.01, 0.01)
    growth = alternatives.increments(1000 * moved[None, :], Tempering())[0]
    assert alternatives.shape_of(int(np.where(alternatives.valid[0], growth, -np.inf).argmax())) == (change, None)


def test_cells_without_rows_in_the_reference_can_gain_and_padding_cannot() -> None:
    reference = np.array([[5000.0, 5000.0, 0.0, 0.0]])
    alternatives = dictionary(reference, np.array([[True, True, True, False]]), 0, 0.0, 0.01)
    kinds = {alternatives.shape_of(place) for place in np.flatnonzero(alternatives.valid[0])}
    assert {("gain", 2), ("loss", 0)} <= kinds
    assert not {("loss", 2), ("gain", 3), ("loss", 3)} & kinds
    growth = alternatives.increments(np.array([[500.0, 490.0, 10.0, 0.0]]), Tempering())[0]
    assert alternatives.shape_of(int(np.where(alternatives.valid[0], growth, -np.inf).argmax())) == ("gain", 2)


def test_a_reference_without_rows_has_finite_evidence() -> None:
    for cells in (np.zeros((1, 3)), np.array([[300.0, 0.0, 0.0]])):
        alternatives = dictionary(cells, np.ones((1, 3), np.bool_), 2, 0.01, 0.01)
        assert np.isfinite(alternatives.increments(np.array([[5.0, 3.0, 1.0]]), Tempering())).all()


# --- rows that depend on each other -----------------------------------------------------------------------------------
@pytest.mark.parametrize("sizes", [(10,), (1, 1, 10), (3, 7, 50)])
def test_e_values_of_blocks_of_equal_rows_have_mean_of_at_most_one(sizes: tuple[int, ...]) -> None:
    share, reference = np.array([0.6, 0.3, 0.1]), np.array([[30_000.0, 15_000.0, 5000.0]])
    alternatives = dictionary(reference, np.ones((1, 3), np.bool_), 3, 0.0, 0.01)
    known = np.array(sorted(set(sizes)), np.float64)
    weights = np.array([sum(size for size in sizes if size == one) for one in known], np.float64)
    tempered = tempering(weights, known)
    total = np.zeros(alternatives.size)
    for cells in product(range(3), repeat=len(sizes)):
        counts = np.zeros((1, 3))
        for size, cell in zip(sizes, cells, strict=True):
            counts[0, cell] += size
        total += share[list(cells)].prod() * np.exp(alternatives.increments(counts, tempered)[0])
    assert (total[alternatives.valid[0]] <= 1.0 + 1e-9).all()


def test_a_few_large_blocks_cost_less_than_a_division_by_their_size() -> None:
    found = tempering(np.array([10_000.0, 100.0]), np.array([1.0, 100.0]))
    assert (found.divisor, found.excess) == (1.0, 99.0)


def test_rows_of_several_calls_count_as_a_block_if_the_user_says_so() -> None:
    found = tempering(np.array([1000.0]), np.array([1.0]), least=5.0)
    assert (found.divisor, found.excess) == (5.0, 0.0)


def test_no_rows_need_no_tempering() -> None:
    none = np.zeros(2)
    assert tempering(none, np.array([1.0, 2.0])) == Tempering()
    assert design_effect(none, np.array([1.0, 2.0])) == 1.0


def test_rows_without_a_hint_are_taken_to_be_alike() -> None:
    assert alike_share(np.zeros(2), np.zeros(2), np.array([0.1, 1.0])).tolist() == [1.0, 1.0]
