"""χ² of rare categories rings no more often than it may, and sees them rise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from collector_processor.columns.batch import F64
from collector_processor.drift.chi2 import ChiSquare, chi_square, merge_rare, shape_and_mean
from collector_processor.drift.method import Comparison

ALPHA = 0.001
ZIPF = 1.0 / np.arange(1, 51) ** 2
SHARES = {
    "two, 0.1 %": [0.999, 0.001],
    "two, 0.01 %": [0.9999, 0.0001],
    "three": [0.99, 0.009, 0.001],
    "zipf": ZIPF / ZIPF.sum(),
    "many rare": [0.99, *[0.0005] * 20],
}


def tables(shares: list[float], n: int, m: int, repeats: int) -> Comparison:
    random = np.random.default_rng(0)
    before, now = (random.multinomial(size, shares, repeats).astype(float) for size in (n, m))
    return Comparison("categorical", before, now)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(("n", "m"), [(50_000, 500), (50_000, 2000), (5000, 1000), (2000, 2000)])
def test_rare_categories_without_drift_ring_seldom(name: str, n: int, m: int) -> None:
    comparison, method = tables(SHARES[name], n, m, 50_000), ChiSquare()
    rate = float((method.p_value(comparison) < ALPHA).mean())
    assert rate <= 0.0022
    assert rate == float((method.score(comparison) > method.noise(comparison, ALPHA)).mean())


def test_a_rare_category_that_rises_twenty_times_is_seen() -> None:
    random = np.random.default_rng(1)
    before = random.multinomial(50_000, [0.999, 0.001], 200).astype(float)
    now = random.multinomial(2000, [0.98, 0.02], 200).astype(float)
    assert (ChiSquare().p_value(Comparison("categorical", before, now)) < ALPHA).all()


def test_the_merged_table_is_scipys() -> None:
    before, now = np.array([[500.0, 300.0, 3.0, 2.0, 4.0]]), np.array([[90.0, 80.0, 0.0, 3.0, 1.0]])
    merged: list[F64] = [side[:, [0, 1, 5]] for side in merge_rare(before, now)]
    statistic, *_ = stats.chi2_contingency(np.concatenate(merged), correction=False)
    assert chi_square(*merge_rare(before, now))[0] == pytest.approx(statistic, rel=1e-12)


def test_many_counts_give_scipys_p_value() -> None:
    before, now = np.array([[5000.0, 3000.0, 2000.0]]), np.array([[900.0, 620.0, 400.0]])
    expected = tuple(stats.chi2_contingency(np.concatenate((before, now)), correction=False))[1]
    comparison = Comparison("categorical", before, now)
    assert ChiSquare().p_value(comparison)[0] == pytest.approx(expected, rel=1e-9)


def test_moments_are_those_of_tables_with_these_sums() -> None:
    """The exact moments, before their caution: simulated by dealing the pooled rows out."""
    before, now = np.array([[40.0, 12.0, 8.0]]), np.array([[20.0, 6.0, 4.0]])
    random = np.random.default_rng(0)
    dealt = random.multivariate_hypergeometric((before + now)[0].astype(int), 30, 100_000).astype(float)
    statistic = chi_square((before + now) - dealt, dealt)
    shape, mean = shape_and_mean(before, now)
    assert mean[0] == pytest.approx(statistic.mean(), rel=0.01)
    assert mean[0] ** 2 / shape[0] / 1.15 == pytest.approx(statistic.var(), rel=0.03)
