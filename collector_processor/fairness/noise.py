"""What chance explains of a gap between equal groups, whatever their number and sizes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from collector_processor.columns.batch import F64

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)
_REACH: Final = 9.0
"""Standard deviations beyond which a normal density adds nothing to an integral."""
_STEPS: Final = 60
_CACHED: Final = 4096


@lru_cache(_CACHED)
def studentized_range(alpha: float, groups: int) -> float:
    """Return what the range of ``groups`` standard normal variables exceeds with probability ``alpha``.

    It is the quantile of Tukey's studentized range with a known variance, found by bisection of

        P(range ≤ q) = groups · ∫ φ(z) · (Φ(z) − Φ(z − q))^(groups − 1) dz.

    Source: J. W. Tukey, "The problem of multiple comparisons", 1953; equals ``scipy.stats.studentized_range.isf`` with
    infinite degrees of freedom.

    >>> round(studentized_range(0.05, 2), 4), round(studentized_range(0.05, 10), 4)
    (2.7718, 4.4741)
    """
    z = _REACH * _NODES
    density = _REACH * _WEIGHTS * np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi) * groups

    def beyond(q: float) -> float:
        return 1.0 - float(density @ (ndtr(z) - ndtr(z - q)) ** (groups - 1))

    low, high = 0.0, 2.0 * _REACH
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if beyond(middle) > alpha else (low, middle)
    return (low + high) / 2.0


def pair_limits(variance: float, rows: F64, alpha: float, *, counted: bool = False) -> F64:
    """Return what chance explains of the gap between each two of ``G`` equal groups, ``[G, G]``.

    ``variance`` is that of one row, ``rows`` ``[G]`` are the independent rows of each group. With probability ``alpha``
    or less any pair is further apart: the method of Tukey and Kramer, q/√2 · √(variance · (1/nᵢ + 1/nⱼ)). Source: C. Y.
    Kramer, Biometrics 12, 1956; A. J. Hayter, Annals of Statistics 12, 1984 (that it is conservative).

    Shares are ``counted``: they move in steps of 1/n, so half a step of both is added (Yates), without which small
    groups are beyond the limit too often.

    >>> pair_limits(0.25, np.array([100.0, 100.0]), 0.05).round(4)[0].tolist()
    [0.1386, 0.1386]
    """
    q = studentized_range(alpha, max(len(rows), 2))
    both = 1.0 / rows[:, None] + 1.0 / rows[None, :]
    return q / math.sqrt(2.0) * np.sqrt(variance * both) + (both / 2.0 if counted else 0.0)


def wilson(share: F64, rows: F64, alpha: float) -> tuple[F64, F64]:
    """Return Wilson's interval of a share: what is below it and above it with probability ``alpha`` / 2 each.

    Source: E. B. Wilson, JASA 22, 1927.

    >>> [float(end[0].round(4)) for end in wilson(np.array([0.3]), np.array([100.0]), 0.05)]
    [0.2189, 0.3958]
    """
    z = -float(ndtri(alpha / 2.0))
    middle = (share + z**2 / (2.0 * rows)) / (1.0 + z**2 / rows)
    half = z * np.sqrt(share * (1.0 - share) / rows + z**2 / (4.0 * rows**2)) / (1.0 + z**2 / rows)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def newcombe(share: F64, rows: F64, other: F64, other_rows: F64, alpha: float) -> tuple[F64, F64]:
    """Return the interval of ``share − other``, from Wilson's intervals of both.

    Source: R. G. Newcombe, Statistics in Medicine 17, 1998, method 10.

    >>> ends = newcombe(np.array([56 / 70]), np.array([70.0]), np.array([48 / 80]), np.array([80.0]), 0.05)
    >>> [float(end[0].round(4)) for end in ends]
    [0.0524, 0.3339]
    """
    low, high = wilson(share, rows, alpha)
    other_low, other_high = wilson(other, other_rows, alpha)
    gap = share - other
    return gap - np.hypot(share - low, other_high - other), gap + np.hypot(high - share, other - other_low)


def log_delta(share: F64, rows: F64, other: F64, other_rows: F64, alpha: float) -> tuple[F64, F64]:
    """Return the interval of ``share / other`` by the delta method on its logarithm; NaN where a share is 0.

    Source: D. Katz et al., Biometrics 34, 1978.

    >>> ends = log_delta(np.array([0.3]), np.array([200.0]), np.array([0.4]), np.array([200.0]), 0.05)
    >>> [float(end[0].round(4)) for end in ends]
    [0.5718, 0.9838]
    """
    z = -float(ndtri(alpha / 2.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (share > 0.0) & (other > 0.0)
        ratio = np.where(known, share / other, np.nan)
        error = np.sqrt((1.0 - share) / (share * rows) + (1.0 - other) / (other * other_rows))
        return ratio * np.exp(-z * error), ratio * np.exp(z * error)
