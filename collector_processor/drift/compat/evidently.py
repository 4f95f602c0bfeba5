"""Figures of Evidently (0.7), from counts. Sources: its documentation, and its results (``make verify``).

Up to 1,000 rows in the reference it tests: Kolmogorov–Smirnov for numbers, χ² against the reference's shares for
categories, a z-test for two of them. Above, it measures: the Wasserstein distance of numbers, the Jensen–Shannon
distance of categories (base e). PSI is by name only. A numeric column of up to 20 values is binned by value; any other
has bins of even width over *both* sides, ``numpy.histogram_bin_edges(both, "sturges")``. They are known before the
window comes only if nothing in it is outside the reference's range; else the figure is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, log, log2, sqrt
from typing import Final

import numpy as np
from scipy.special import chdtrc, ndtr
from scipy.stats import kstwo

from collector_processor.columns.batch import F64
from collector_processor.drift.compat.sides import EACH_VALUE, Figure, NumericSides
from collector_processor.drift.js import jensen_shannon_distance
from collector_processor.drift.ks import kolmogorov_smirnov
from collector_processor.drift.proportions import proportions
from collector_processor.drift.wasserstein import wasserstein_distance

DISTANCE: Final = 0.1
"""It calls a distance from here on drift."""
ALPHA: Final = 0.05
FEW_ROWS: Final = 1000
FEW_VALUES: Final = 20
"""A numeric column with up to this many values is binned by value."""
TESTED_VALUES: Final = 5
"""A numeric column with up to this many values is judged like a category."""
GRIDS: Final = 5
"""Numbers of bins that a profile has, from that of its rows alone on: enough for windows of 15 times its rows."""
LEAST_SPREAD: Final = 0.001


def sturges(rows: float) -> int:
    """Return the number of bins for that many rows of both sides.

    >>> sturges(1000.0), sturges(1024.0), sturges(1025.0)
    (11, 11, 12)
    """
    return ceil(log2(rows) + 1.0)


def edges(values: F64) -> Mapping[int, F64]:
    """Return its bins of a numeric column: between the values if they are few, else of even width."""
    distinct = np.unique(values)
    if len(distinct) <= FEW_VALUES:
        return {EACH_VALUE: np.concatenate((distinct[:1], (distinct[1:] + distinct[:-1]) / 2.0, distinct[-1:]))}
    least = sturges(len(values) + 1.0)
    return {bins: np.linspace(distinct[0], distinct[-1], bins + 1) for bins in range(least, least + GRIDS)}


def numeric(sides: NumericSides) -> Iterator[Figure]:
    """Return its figures of a numeric column."""
    by_value = EACH_VALUE in sides.grids
    both = sides.binned(EACH_VALUE if by_value else sturges(sides.reference_rows + sides.current_rows))
    known = both is not None and (by_value or not both[1][[0, -1]].any())
    values = len(sides.grids[EACH_VALUE]) - 1 if by_value else FEW_VALUES + 1
    if values > TESTED_VALUES and sides.reference_rows > FEW_ROWS:
        distance = float(wasserstein_distance(sides.fine)[0]) / max(float(sides.fine.spread[0]), LEAST_SPREAD)
        yield _distance("wasserstein", distance)
    elif values > TESTED_VALUES:
        yield _kolmogorov(sides)
    elif both is not None:
        yield from _shares(*both)
    if both is not None and known:
        # Bins that are empty on both sides count, because each side fills them with another share.
        kept = (both[0] > 0.0) | (both[1] > 0.0) if by_value else slice(1, -1)
        yield _distance("psi", psi(both[0][kept], both[1][kept]))


def categorical(reference: F64, current: F64) -> Iterator[Figure]:
    """Return its figures of a categorical column, from counts ``[K]``."""
    yield from _shares(reference, current)
    used = (reference > 0.0) | (current > 0.0)
    yield _distance("psi", psi(reference[used], current[used]))
    overlap = float(np.sqrt(proportions(reference[None]) * proportions(current[None])).sum())
    yield _distance("hellinger", sqrt(1.0 - min(overlap, 1.0)))


def _shares(reference: F64, current: F64) -> Iterator[Figure]:
    """Return what it judges categories by."""
    used = (reference > 0.0) | (current > 0.0)
    reference, current = reference[used], current[used]
    if reference.sum() > FEW_ROWS:
        distance = float(jensen_shannon_distance(reference[None], current[None])[0])
        yield _distance("jensenshannon", distance * sqrt(log(2.0)))
    elif len(reference) > 2:
        with np.errstate(divide="ignore"):
            expected = reference * (current.sum() / reference.sum())
            statistic = float(((current - expected) ** 2 / expected).sum())
        yield _test("chisquare", statistic, float(chdtrc(len(reference) - 1.0, statistic)))
    else:
        yield _z_test(reference, current)


def _z_test(reference: F64, current: F64) -> Figure:
    n, m = reference.sum(), current.sum()
    shares, pooled = (reference[0] / n, current[0] / m), (reference[0] + current[0]) / (n + m)
    variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)
    z = abs(float(shares[0] - shares[1])) / sqrt(variance) if variance > 0.0 else 0.0
    return _test("z", z, 2.0 * float(1.0 - ndtr(z)))


def _kolmogorov(sides: NumericSides) -> Figure:
    statistic = float(kolmogorov_smirnov(sides.fine.gap)[0])
    n, m = sides.reference_rows, sides.current_rows
    return _test("ks", statistic, float(np.clip(kstwo.sf(statistic, round(n * m / (n + m))), 0.0, 1.0)))


def psi(reference: F64, current: F64) -> float:
    """Return Σ (p − q) ln(p / q) of counts ``[K]``; a share of 0 becomes .0001, or a millionth of a lower least one.

    >>> round(psi(np.array([50.0, 50.0, 0.0]), np.array([80.0, 15.0, 5.0])), 4)
    0.8725
    """
    p, q = (_filled(side / side.sum()) for side in (reference, current))
    return float(((p - q) * np.log(p / q)).sum())


def _filled(shares: F64) -> F64:
    least = float(shares[shares > 0.0].min())
    return np.where(shares == 0.0, least / 1e6 if least <= 1e-4 else 1e-4, shares)


def _distance(method: str, value: float) -> Figure:
    return Figure(method, value, threshold=DISTANCE, breached=value >= DISTANCE)


def _test(method: str, statistic: float, p_value: float) -> Figure:
    return Figure(method, statistic, p_value, breached=p_value < ALPHA)
