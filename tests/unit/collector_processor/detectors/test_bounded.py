"""Increments from sums: e-values by exact enumeration, and equal to the row by row form."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from collector_processor.detectors.bounded import (
    BETS,
    STEPS,
    Bets,
    bernoulli_increments,
    bernstein_increments,
    mean_limits,
)
from collector_processor.detectors.dependence import Tempering

MEANS = (0.01, 0.2, 0.5, 0.93)


@pytest.mark.parametrize("mean", MEANS)
def test_increments_of_every_sequence_of_zeros_and_ones_have_mean_of_at_most_one(mean: float) -> None:
    at = np.array([mean])
    bernstein, bernoulli = np.zeros((1, 2 * len(BETS))), np.zeros((1, 2 * len(STEPS)))
    for rows in product((0.0, 1.0), repeat=6):
        n, s = np.array([6.0]), np.array([sum(rows)])
        probability = mean ** sum(rows) * (1.0 - mean) ** (6 - sum(rows))
        bernstein += probability * np.exp(bernstein_increments(n, s, s, at, at))
        bernoulli += probability * np.exp(bernoulli_increments(n, s, at, at))
    assert (bernstein <= 1.0 + 1e-12).all()
    assert (bernoulli <= 1.0 + 1e-12).all()


def test_bernoulli_increments_are_likelihood_ratios_with_mean_one() -> None:
    mean = np.array([0.2])
    ones = np.arange(9.0)
    probability = np.array([np.prod([(8 - i) / (i + 1) for i in range(int(k))]) for k in ones])
    probability *= 0.2**ones * 0.8 ** (8 - ones)
    n = np.full(9, 8.0)
    total = probability @ np.exp(bernoulli_increments(n, ones, np.repeat(mean, 9), np.repeat(mean, 9)))
    np.testing.assert_allclose(total, np.ones(2 * len(STEPS)), rtol=1e-12)


def test_bernstein_increments_equal_the_sum_over_rows() -> None:
    x = np.random.default_rng(0).beta(0.2, 1.8, 500)
    mean = 0.1
    rows = np.zeros(2 * len(BETS))
    for value in x:
        for position, bet in enumerate(BETS):
            cost = -np.log(1.0 - bet) - bet
            rows[position] += bet * (value - mean) - cost * (value - mean) ** 2
            rows[position + len(BETS)] += bet * (mean - value) - cost * (value - mean) ** 2
    at = np.array([mean])
    sums = bernstein_increments(np.array([500.0]), np.array([x.sum()]), np.array([(x**2).sum()]), at, at)
    np.testing.assert_allclose(sums[0], rows, rtol=1e-9, atol=1e-9)


def test_increments_of_two_panes_add_up() -> None:
    x, at = np.random.default_rng(1).random(100), np.array([0.4])

    def of(part: np.ndarray) -> np.ndarray:
        return bernstein_increments(np.array([len(part)]), np.array([part.sum()]), np.array([(part**2).sum()]), at, at)

    np.testing.assert_allclose(of(x[:30]) + of(x[30:]), of(x), rtol=1e-12)


def test_a_mean_within_the_limits_of_the_reference_is_no_evidence() -> None:
    n, low, high = np.array([1e6]), np.array([0.19]), np.array([0.21])
    for share in (0.19, 0.2, 0.21):
        s = n * share
        assert (bernstein_increments(n, s, s, low, high) < 0.0).all()
        assert (bernoulli_increments(n, s, low, high) < 0.0).all()


def test_nothing_and_retracted_sums_are_no_evidence() -> None:
    none, at = np.array([0.0, -2.0]), np.array([0.5, 0.5])
    assert (bernstein_increments(none, none, none, at, at) == 0.0).all()
    assert (bernoulli_increments(none, none, at, at) == 0.0).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_reference_of_one_kind_gives_finite_evidence(share: float) -> None:
    at, n = np.array([share]), np.array([10.0])
    found = bernoulli_increments(n, n * (1.0 - share), at, at)
    assert np.isfinite(found).all()
    assert found.max() > 50.0


def test_bets_on_means_are_e_values_with_weights_and_calls() -> None:
    """Ten equal rows, or one that stands for ten: the exact mean of e over all panes of two such rows."""
    values, chance = np.array([0.0, 0.2, 1.0]), np.array([0.6, 0.3, 0.1])
    mean = np.array([values @ chance])
    bets = Bets.of(mean, mean)
    for tempered, weights in ((Tempering(10.0), (10.0, 10.0)), (Tempering(1.0, 9.0), (1.0, 10.0))):
        total = np.zeros(bets.valid.shape[1])
        for x, p in zip(values, chance, strict=True):
            for y, q in zip(values, chance, strict=True):
                a, b = weights
                sums = np.array([[a + b, a * x + b * y, a * x**2 + b * y**2]])
                total += p * q * np.exp(bets.increments(sums, tempered)[0])
        assert (total <= 1.0 + 1e-12).all()
        assert total.min() > 0.0


def test_limits_of_a_mean_hold_for_skewed_values() -> None:
    random, wrong = np.random.default_rng(5), 0
    for _ in range(2000):
        x = random.beta(0.2, 1.8, 200)
        low, high = mean_limits(200.0, float(x.sum()), float((x**2).sum()), 0.05)
        wrong += not low <= 0.1 <= high
    assert wrong <= 100
    assert mean_limits(1.0, 1.0, 1.0, 0.01) == (0.0, 1.0)
