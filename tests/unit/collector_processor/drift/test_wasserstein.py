"""The Wasserstein distance from bins against scipy's from rows: its error is bounded by construction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collector_processor.columns.batch import F64
from collector_processor.drift.method import Fine
from collector_processor.drift.wasserstein import bin_widths, unit_spread, wasserstein_distance
from collector_processor.statistics.bins import bin_index, fine_edges


class Found(NamedTuple):
    score: float
    exact: float
    bound: float


def side(values: F64, edges: F64) -> tuple[F64, F64]:
    index, anchors = bin_index(values, edges), np.concatenate((edges[:1], edges))
    counts = np.bincount(index, minlength=len(edges) + 1).astype(float)
    return counts, np.bincount(index, values - anchors[index], len(edges) + 1).astype(float)


def compared(reference: F64, current: F64) -> Found:
    """Score, exact score, and the bound of the docstring, all in units of the score."""
    edges = fine_edges(reference).edges
    (before, before_excess), (now, now_excess) = side(reference, edges), side(current, edges)
    fine = Fine(
        edges[None], before[None], now[None], before_excess[None], now_excess[None], np.array([reference.std()])
    )
    f, g = np.cumsum(before) / len(reference), np.cumsum(now) / len(current)
    above, below = f - np.append(0.0, g[:-1]), g - np.append(0.0, f[:-1])
    cross = (above > 1e-12) & (below > 1e-12)
    terms = 2.0 * bin_widths(edges[None])[0][cross] * above[cross] * below[cross] / (above[cross] + below[cross])
    unit = unit_spread(fine)[0]
    exact = stats.wasserstein_distance(reference, current) / unit
    return Found(wasserstein_distance(fine)[0] / unit, exact, terms.sum() / unit)


def test_all_of_a_window_between_the_two_values_of_the_reference():
    reference = np.concatenate((np.zeros(280), np.full(320, 100.0)))
    assert compared(reference, np.full(500, 50.0)).score == pytest.approx(1.0022296571715914, rel=1e-9)


@pytest.mark.parametrize("step", [0.5, 1.0, 3.0])
def test_values_near_1e15(step):
    random = np.random.default_rng(0)
    before, now = 1e15 + random.integers(0, 10, 2000), 1e15 + step + random.integers(0, 10, 2000)
    found = compared(before, now)
    assert found.exact > 0.1
    assert found.score == pytest.approx(found.exact, rel=1e-6)


@st.composite
def discrete(draw):
    """A reference of few values, at any scale and with heavy tails."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(2, 12))
    values = draw(st.sampled_from(["normal", "pareto", "whole", "far"]))
    values = {
        "normal": lambda: random.normal(size=size) * 10.0 ** draw(st.integers(-9, 9)),
        "pareto": lambda: random.pareto(0.7, size),
        "whole": lambda: random.integers(0, 100, size).astype(float),
        "far": lambda: 1e9 + random.integers(0, 5, size),
    }[values]()
    return np.repeat(values, random.integers(1, 200, size)), random


@settings(max_examples=300, deadline=None)
@given(discrete(), st.sampled_from(["at edges", "anywhere", "both ends of a bin", "middles", "values"]))
def test_the_error_is_within_the_bound_for_discrete_references(given_, kind):
    reference, random = given_
    edges = fine_edges(reference).edges
    bin_ = random.integers(len(edges) - 1)
    share = random.random()
    current = {
        "at edges": lambda: random.choice(np.concatenate((edges, np.nextafter(edges, -np.inf))), 300),
        "anywhere": lambda: random.uniform(reference.min(), reference.max(), 300),
        "both ends of a bin": lambda: random.choice(
            [edges[bin_], np.nextafter(edges[bin_ + 1], -np.inf)], 300, p=[share, 1.0 - share]
        ),
        "middles": lambda: random.choice((edges[1:] + edges[:-1]) / 2, 50),
        "values": lambda: random.choice(reference, 100),
    }[kind]()
    found = compared(reference, current)
    rounding = 1e-9 * (1.0 + found.exact) + 1e-13 * np.abs(reference).max() / max(reference.std(), 1e-300)
    assert abs(found.score - found.exact) <= found.bound + rounding
    assert abs(found.score - found.exact) <= 1.0 / 64 + rounding
