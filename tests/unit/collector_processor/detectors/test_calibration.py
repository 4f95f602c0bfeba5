"""The calibration detector's increments are e-values whatever rows come, and close to those of the single rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.detectors.calibration import ALTERNATIVES, alternatives, calibration_increments
from collector_processor.statistics.parts.reliability import BINS, middles

MIDDLE = middles()
STEP = np.log(MIDDLE[1] / (1.0 - MIDDLE[1])) - np.log(MIDDLE[0] / (1.0 - MIDDLE[0]))


def table(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    edges = 1.0 / (1.0 + np.exp(-(np.log(MIDDLE / (1.0 - MIDDLE))[:-1] + STEP / 2.0)))
    bins = np.searchsorted(edges, p, side="right")
    return np.array([np.bincount(bins, weights, BINS) for weights in (np.ones(len(p)), y, p)])


def of_rows(p: np.ndarray, y: np.ndarray, tolerance: float) -> np.ndarray:
    """The same from single rows, without bins: the ratio to the row's own expected probability."""
    total = np.zeros(ALTERNATIVES)
    for place, q in enumerate(alternatives(p)):
        one, zero = q / p, (1.0 - q) / (1.0 - p)
        reached = np.clip(np.where(one > zero, p + tolerance, p - tolerance), 0.0, 1.0)
        total[place] = np.sum(np.log(np.where(y > 0, one, zero) / (zero + reached * (one - zero))))
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.05))
def test_the_mean_of_e_is_at_most_one_for_any_rows_within_the_tolerance(seed: int, tolerance: float) -> None:
    source = np.random.default_rng(seed)
    left, right = source.uniform(0.3, 4.0, 2)
    p = source.beta(left, right, 5)
    truth = np.clip(p + source.uniform(-tolerance, tolerance, len(p)), 0.0, 1.0)
    usual, reach = np.clip(MIDDLE, 1e-4, 1 - 1e-4), np.full(BINS, tolerance)
    mean = np.zeros(ALTERNATIVES)
    for outcome in range(2 ** len(p)):
        y = (outcome >> np.arange(len(p)) & 1).astype(float)
        chance = np.prod(np.where(y > 0, truth, 1.0 - truth))
        mean += chance * np.exp(calibration_increments(table(p, y), usual, reach, reach))
    assert (mean <= 1.0 + 1e-9).all()


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_bins_cost_little_of_what_single_rows_give(tolerance: float) -> None:
    source = np.random.default_rng(3)
    p = source.beta(1.0, 3.0, 5000)
    y = (source.random(5000) < 1.0 / (1.0 + np.exp(-(np.log(p / (1.0 - p)) + 0.4)))).astype(float)
    reach = np.full(BINS, tolerance)
    binned, exact = calibration_increments(table(p, y), MIDDLE, reach, reach), of_rows(p, y, tolerance)
    best = int(np.argmax(exact))
    assert exact[best] > 20.0
    assert binned[best] == pytest.approx(exact[best], rel=0.05)


def test_tables_add_and_a_retracted_row_leaves_nothing() -> None:
    source = np.random.default_rng(5)
    p, y = source.random(300), (source.random(300) < 0.5).astype(float)
    none = np.full(BINS, 0.01)
    one, other = table(p[:100], y[:100]), table(p[100:], y[100:])
    np.testing.assert_allclose(one + other, table(p, y))
    np.testing.assert_array_equal(calibration_increments(one - one, MIDDLE, none, none), np.zeros(ALTERNATIVES))


def test_no_rows_and_certain_probabilities_are_finite() -> None:
    none = np.full(BINS, 0.01)
    assert (calibration_increments(np.zeros((3, BINS)), MIDDLE, none, none) == 0.0).all()
    certain = table(np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    assert np.isfinite(calibration_increments(certain, np.clip(MIDDLE, 1e-4, 1 - 1e-4), none, none)).all()
