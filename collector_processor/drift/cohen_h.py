"""Cohen's h of the category that changed most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betainc, xlogy

from collector_processor.columns.batch import F64, Mask
from collector_processor.drift.method import ColumnKind, Comparison
from collector_processor.drift.proportions import whole

ROUNDING: Final = 1e-9
"""The score of the limit itself is not above the limit."""
BISECTIONS: Final = 60
TINY: Final = 1e-9


def changes(reference: F64, current: F64) -> F64:
    """Return |2 arcsin √p − 2 arcsin √q| of each category, for counts ``[F, K]``; ``[F, K]``, NaN for an empty row.

    >>> changes(np.array([[998.0, 2.0]]), np.array([[980.0, 20.0]])).round(3).tolist()  # .2 % to 2 %
    [[0.194, 0.194]]
    """
    return np.abs(_angle(whole(reference)) - _angle(whole(current)))


def _angle(counts: F64) -> F64:
    """Return 2 arcsin √p; the cells of the others are added up without a difference, which is exact for p near 1."""
    others = np.zeros_like(counts)
    others[:, 1:] += np.cumsum(counts[:, :-1], axis=1)
    others[:, :-1] += np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1]
    angle = 2.0 * np.arctan2(np.sqrt(counts), np.sqrt(others))
    return np.where(counts.any(axis=1, keepdims=True), angle, np.nan)


@dataclass(frozen=True, slots=True)
class _Most:
    """The category of each column that changed most, or all others together, ``[F]`` each."""

    reference: F64
    current: F64
    n: F64
    m: F64
    categories: F64
    filled: Mask

    @classmethod
    def of(cls, comparison: Comparison) -> _Most:
        reference, current = whole(comparison.reference), whole(comparison.current)
        n, m = reference.sum(axis=1), current.sum(axis=1)
        change = np.nan_to_num(changes(comparison.reference, comparison.current), nan=-1.0)
        rows, most = np.arange(len(change)), change.argmax(axis=1)
        categories = ((reference + current) > 0).sum(axis=1).astype(np.float64)
        r, c = reference[rows, most], current[rows, most]
        # All others together have the same h; the binomial bound is far from tight for the larger part.
        larger = r + c > (n + m) / 2.0
        r, c = np.where(larger, np.maximum(n - r, 0.0), r), np.where(larger, np.maximum(m - c, 0.0), c)
        return cls(r, c, n, m, categories, (n > 0) & (m > 0))

    @property
    def share(self) -> F64:
        """The probability that a cell is in the window."""
        return np.where(self.filled, self.m / np.maximum(self.n + self.m, 1.0), 0.5)

    def change(self, current: F64) -> F64:
        """Return h if this many of the cells were in the window, and the rest in the reference."""
        rest = self.reference + self.current - current
        sides = np.stack((rest, np.maximum(self.n - rest, 0.0)), 1), np.stack((current, self.m - current), 1)
        return changes(sides[0], np.maximum(sides[1], 0.0))[:, 0]


@dataclass(frozen=True, slots=True)
class CohenH:
    """Cohen's h of the category that changed most, which also sees rare categories.

    A share that goes from p to q has h = |2 arcsin √p − 2 arcsin √q|. Differences of h are equally certain for every p,
    while a difference of shares does not show a class of 0.2 % that becomes ten times as frequent. h is 0.15 for 0.2 %
    to 1.4 %, 1 % to 3 %, 10 % to 15 %, and 50 % to 57.5 %.

    Source: J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 6.
    """

    name: str = "cohen_h"
    kinds: tuple[ColumnKind, ...] = ("categorical",)
    threshold: float = 0.15

    def score(self, comparison: Comparison) -> F64:
        """Return the largest h, ``[F]``."""
        return changes(comparison.reference, comparison.current).max(axis=1, initial=0.0)

    def p_value(self, comparison: Comparison, score: F64 | None = None) -> F64:
        """Return an exact probability for the category that changed most, ``[F]``.

        Without drift, the cells of a category are in the window with the binomial distribution of m / (n + m).
        Two-sided, times the number of categories (Bonferroni): an upper bound.
        """
        most = _Most.of(comparison)
        c, rest = most.current, most.reference
        at_least = np.where(c > 0, betainc(np.maximum(c, TINY), rest + 1.0, most.share), 1.0)
        at_most = np.where(rest > 0, betainc(np.maximum(rest, TINY), c + 1.0, 1.0 - most.share), 1.0)
        tail = np.minimum(at_least, at_most)
        return np.where(most.filled, np.clip(2.0 * most.categories * tail, 0.0, 1.0), np.nan)

    def noise(self, comparison: Comparison, alpha: float) -> F64:
        """Return the h that the category that changed most exceeds by chance with at most ``alpha``, ``[F]``.

        It has Chernoff's bound for the binomial distribution, P ≤ exp(−t · KL(c / t ‖ m / (n + m))) for ``c`` of ``t``
        cells in the window, and Bonferroni's for the categories. So it holds for rare categories, which are far from
        normal. 0 for one category alone, which cannot differ.
        """
        most = _Most.of(comparison)
        total = most.reference + most.current
        middle, needed = total * most.share, np.log(2.0 * np.maximum(most.categories, 1.0) / alpha)
        end = np.where(most.current > middle, np.minimum(total, most.m), np.maximum(total - most.n, 0.0))
        for _ in range(BISECTIONS):
            tried = (middle + end) / 2.0
            enough = _evidence(tried, total, most.share) >= needed
            middle, end = np.where(enough, middle, tried), np.where(enough, tried, end)
        limit = np.where(most.categories > 1, most.change(end) * (1.0 + ROUNDING), 0.0)
        return np.where(most.filled, limit, np.nan)


def _evidence(c: F64, total: F64, share: F64) -> F64:
    """Return total · KL(c / total ‖ share), 0 without cells."""
    rest = total - c
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, rest_ratio = c / (total * share), rest / (total * (1.0 - share))
    return xlogy(c, np.where(c > 0, ratio, 1.0)) + xlogy(rest, np.where(rest > 0, rest_ratio, 1.0))
