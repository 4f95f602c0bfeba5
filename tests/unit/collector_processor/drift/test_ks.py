"""The p-value of Kolmogorov and Smirnov from bins, against scipy's exact one from rows: safe, and bounded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from collector_processor.columns.batch import F64
from collector_processor.drift.ks import KolmogorovSmirnov
from collector_processor.drift.method import Comparison, Fine
from collector_processor.statistics.bins import bin_index, fine_edges


def p_value(reference: F64, current: F64) -> float:
    edges = fine_edges(reference).edges
    before, now = (
        np.bincount(bin_index(side, edges), minlength=len(edges) + 1).astype(float)[None]
        for side in (reference, current)
    )
    fine = Fine(edges[None], before, now, before, now, np.ones(1))
    return float(KolmogorovSmirnov().p_value(Comparison("numeric", before, now, fine))[0])


@pytest.mark.parametrize(("n", "m"), [(5000, 5000), (5000, 500), (500, 500), (3000, 2000)])
@pytest.mark.parametrize("digits", [1, 15], ids=["few values", "continuous"])
def test_the_p_value_is_on_the_safe_side_and_bounded(n: int, m: int, digits: int) -> None:
    random = np.random.default_rng([n, m, digits])
    for _ in range(40):
        shift = random.choice([0.0, 0.03, 0.08])
        before, now = random.normal(size=n).round(digits), random.normal(shift, 1.0, m).round(digits)
        exact: float = tuple(stats.ks_2samp(before, now, method="exact"))[1]
        hidden = 0.0 if digits == 1 else max(1.0 / 1024, 1.0 / n)
        above = p_value(before, now) - exact
        assert -0.002 <= above <= 0.02 + 1.7 * np.sqrt(n * m / (n + m)) * hidden
        if exact < 0.01:
            assert above <= 0.002
