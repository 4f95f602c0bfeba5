"""Limits of gaps, and verdicts that never contradict the figures beside them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collector_processor.fairness.counts import Counts
from collector_processor.fairness.figures import FIGURES, conditional_disparity, generalized_entropy
from collector_processor.fairness.noise import log_delta, newcombe, studentized_range, wilson
from collector_processor.fairness.verdict import SMALL, Limits, compared, judged


@pytest.mark.parametrize(("alpha", "groups"), [(0.05, 2), (0.05, 7), (0.01, 50), (1e-4, 3)])
def test_the_range_of_groups_is_that_of_scipy(alpha, groups):
    assert stats.studentized_range.sf(studentized_range(alpha, groups), groups, np.inf) == pytest.approx(
        alpha, rel=1e-6
    )


def test_the_range_of_two_groups_is_the_two_sided_normal_one():
    assert studentized_range(0.05, 2) == pytest.approx(np.sqrt(2.0) * stats.norm.isf(0.025), rel=1e-9)


def counts_of(**given) -> Counts:
    size = len(next(iter(given.values())))
    known = {name: np.asarray(values, float) for name, values in given.items()}
    ones = {"weight": np.ones(size), "label_weight": np.ones(size), "doubt": np.ones(size)}
    return Counts(**{field.name: (ones | known).get(field.name, np.zeros(size)) for field in fields(Counts)})


def labeled(tp, fp, fn, tn) -> Counts:
    tp, fp, fn, tn = (np.asarray(each, float) for each in (tp, fp, fn, tn))
    rows = tp + fp + fn + tn
    return counts_of(
        tp=tp, fp=fp, fn=fn, tn=tn, right=tp + tn, judged=rows, selected=tp + fp, predicted=rows,
        score_gap=tp / 3.0, score_squares=rows / 5.0, scored=rows, error=fp / 3.0, size=rows / 2.0,
        error_squares=rows, errors=rows,
    )  # fmt: skip


cells = st.lists(st.integers(0, 900), min_size=4, max_size=4)


@pytest.mark.parametrize("name", list(FIGURES))
@given(groups=st.lists(cells, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_breach_is_beyond_threshold_and_noise_and_nothing_else_is(name, groups):
    figure, limits = FIGURES[name], Limits(min_rows=20, min_outcomes=2)
    table = labeled(*np.array(groups, float).T)
    found = compared(figure, table, np.zeros(len(groups), bool), limits)
    assert len(set(found.positions)) == len(found.positions)
    assert found.small <= len(groups)
    verdict = judged(figure, found, limits)
    if verdict is None or verdict.gap is None:
        return
    if figure.form == "ratio":
        beyond = verdict.value < limits.ratio and verdict.value < verdict.noise_limit
        near = abs(verdict.value - limits.ratio) < 1e-9 or abs(verdict.value - verdict.noise_limit) < 1e-9
    else:
        beyond = verdict.value > limits.difference and verdict.value > verdict.noise_limit
        near = abs(verdict.value - limits.difference) < 1e-9 or abs(verdict.value - verdict.noise_limit) < 1e-9
    assert near or verdict.breached == beyond
    assert verdict.breached or verdict.excess <= 1.0 + 1e-9


def test_a_gap_of_two_large_groups_counts_although_a_small_one_is_further_off():
    """The largest gap is noise, the second largest is not."""
    rows = np.array([100.0, 20_000.0, 20_000.0])
    table = counts_of(selected=rows * [0.4, 0.395, 0.29], predicted=rows)
    figure = FIGURES["demographic_parity_difference"]
    verdict = judged(figure, compared(figure, table, np.zeros(3, bool), Limits()), Limits())
    assert verdict is not None
    assert verdict.gap is not None
    assert verdict.breached
    assert verdict.value == pytest.approx(0.11)
    assert (verdict.gap.low, verdict.gap.high) == (2, 1)


def test_a_group_that_is_several_values_is_never_compared_alone():
    rows = np.array([500.0, 500.0, 500.0])
    table = counts_of(selected=rows * 0.5, predicted=rows)
    found = compared(FIGURES["demographic_parity_ratio"], table, np.array([True, False, False]), Limits())
    assert found.positions == (1, 2, SMALL)


def test_intervals_cover_what_they_promise():
    random = np.random.default_rng(0)
    p, q, n, m = 0.3, 0.4, 150, 250
    first = random.binomial(n, p, 4000) / n
    second = random.binomial(m, q, 4000) / m
    sizes = np.full(4000, float(n)), np.full(4000, float(m))
    low, high = newcombe(first, sizes[0], second, sizes[1], 0.05)
    assert np.mean((low <= p - q) & (p - q <= high)) == pytest.approx(0.95, abs=0.015)
    low, high = log_delta(first, sizes[0], second, sizes[1], 0.05)
    assert np.mean((low <= p / q) & (p / q <= high)) == pytest.approx(0.95, abs=0.015)
    low, high = wilson(first, sizes[0], 0.05)
    assert np.mean((low <= p) & (p <= high)) == pytest.approx(0.95, abs=0.015)


def test_entropy_and_disparity_of_nothing_are_not_known():
    assert np.isnan(generalized_entropy(0.0, 0.0, 0.0, 0.0))
    assert np.isnan(generalized_entropy(0.0, 0.0, 5.0, 0.0))
    assert np.isnan(conditional_disparity(np.zeros((2, 0)), np.zeros((2, 0))))
