"""Figures of NannyML (0.13), from counts. Sources: its documentation, and its results (``make verify``).

Bins of numbers for Jensen–Shannon and Hellinger: ``numpy.histogram_bin_edges(reference, "doane")``; what is outside is
one bin more, and so are all categories that the reference lacks. Neither distance depends on how that part is divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.special import chdtrc

from collector_processor.columns.batch import F64
from collector_processor.drift.chi2 import chi_square, degrees_of_freedom
from collector_processor.drift.compat.sides import Figure, NumericSides
from collector_processor.drift.hellinger import hellinger_distance
from collector_processor.drift.js import jensen_shannon_distance
from collector_processor.drift.ks import kolmogorov_smirnov
from collector_processor.drift.l_infinity import l_infinity_distance
from collector_processor.drift.wasserstein import wasserstein_distance

ALPHA = 0.05
"""χ² alerts at a p-value below it; all other methods have limits from chunks of the reference."""


def edges(values: F64) -> Mapping[int, F64]:
    """Return its bins of a numeric column; none if all is one value, whose bins would lie outside the range."""
    if values.min() == values.max():
        return {}
    found = np.histogram_bin_edges(values, bins="doane")
    return {len(found) - 1: found}


def numeric(sides: NumericSides) -> Iterator[Figure]:
    """Return its figures of a numeric column: the Kolmogorov–Smirnov statistic and the Wasserstein distance as exact as
    fine bins allow, the others exactly.
    """
    for bins in sides.grids:
        both = sides.binned(bins)
        if both is not None:
            yield Figure("jensen_shannon", float(jensen_shannon_distance(both[0][None], both[1][None])[0]))
            yield Figure("hellinger", float(hellinger_distance(both[0][None], both[1][None])[0]))
    yield Figure("kolmogorov_smirnov", float(kolmogorov_smirnov(sides.fine.gap)[0]))
    yield Figure("wasserstein", float(wasserstein_distance(sides.fine)[0]))


def categorical(reference: F64, current: F64) -> Iterator[Figure]:
    """Return its figures of a categorical column, from counts ``[K]``."""
    before, now = reference[None], current[None]
    yield Figure("jensen_shannon", float(jensen_shannon_distance(before, now)[0]))
    yield Figure("hellinger", float(hellinger_distance(before, now)[0]))
    yield Figure("l_infinity", float(l_infinity_distance(before, now)[0]))
    freedom = degrees_of_freedom(before, now)
    statistic = yates(before, now) if freedom[0] == 1.0 else chi_square(before, now)
    p_value = float(chdtrc(freedom, statistic)[0]) if freedom[0] > 0.0 else 1.0
    yield Figure("chi2", float(statistic[0]), p_value, breached=p_value < ALPHA)


def yates(reference: F64, current: F64) -> F64:
    """Return χ² of tables of two categories with Yates's correction, as ``scipy.stats.chi2_contingency``; ``[F]``.

    >>> yates(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]])).round(4).tolist()
    [18.4835]
    """
    table = np.stack((reference, current), axis=1)
    total = table.sum(axis=(1, 2), keepdims=True)
    expected = table.sum(axis=2, keepdims=True) * table.sum(axis=1, keepdims=True) / total
    filled = expected > 0.0
    gap = np.abs(table - expected)
    gap = np.maximum(gap - np.minimum(0.5, gap), 0.0)
    return np.divide(gap * gap, expected, out=np.zeros_like(gap), where=filled).sum(axis=(1, 2))
