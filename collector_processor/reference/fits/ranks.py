"""Figures of ranking from rows, as scikit-learn defines them: rows with equal scores are ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask

DRAWS: Final = 50
"""Samples from which a deviation without a formula is taken, as in NannyML."""
Spread: TypeAlias = tuple[float, float]
"""The deviation of one row's part in a figure, and the share of the rows that have one."""


def roc_auc(scores: F64, truth: Mask, weights: F64) -> float:
    """Return the probability that a positive row scores higher than a negative one; ties count half.

    >>> roc_auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True]), np.ones(4))
    0.875
    """
    positive, negative = _descending(scores, truth, weights)
    below = negative.sum() - np.cumsum(negative) + negative / 2.0
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


def average_precision(scores: F64, truth: Mask, weights: F64) -> float:
    """Return the sum over the distinct scores of precision times the recall that each adds.

    >>> round(average_precision(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True]), np.ones(4)), 4)
    0.8333
    """
    positive, negative = _descending(scores, truth, weights)
    found = np.cumsum(positive)
    return float((positive * found / (found + np.cumsum(negative))).sum() / found[-1])


def _descending(scores: F64, truth: Mask, weights: F64) -> tuple[F64, F64]:
    """Return the weights of positive and of negative rows by distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf) < 0.0)
    positive = np.where(truth, weights, 0.0)[order]
    return np.add.reduceat(positive, starts), np.add.reduceat(weights[order] - positive, starts)


def area_deviation(scores: F64, truth: Mask, weights: F64) -> Spread:
    """Return the deviation of the share of negative rows below each positive one: ROC AUC is its mean.

    The rarer class counts as the positive one. Rows with equal scores have the order that sorting gives them. The other
    number is the share of rows of that class.
    """
    if np.average(truth, weights=weights) > 0.5:
        truth, scores = ~truth, 1.0 - scores
    order = np.argsort(scores)
    positive, ordered = truth[order], weights[order]
    negative = np.where(positive, 0.0, ordered)
    # The row at the bottom counts in none of NannyML's ranks.
    counted = np.flatnonzero(positive & (np.arange(len(positive)) > 0))
    below = np.cumsum(negative)[counted]
    if not (positive.any() and len(counted)) or negative.sum() <= 0.0:
        return np.nan, 0.0
    if positive[0]:
        below = below + ordered[0]
    below = below / negative.sum()
    mean = np.average(below, weights=ordered[counted])
    deviation = np.average((below - mean) ** 2, weights=ordered[counted]) ** 0.5
    return float(deviation), float(ordered[positive].sum() / ordered.sum())


def drawn_deviation(figure: Callable[[I64], float], rows: int, most: int) -> Spread:
    """Return the deviation of a figure over samples with replacement, times the root of their size; NaN without rows.

    The samples are of half of the rows, ``most`` at most, drawn with a fixed seed.
    """
    size = min(rows // 2, most)
    if size < 1:
        return np.nan, 0.0
    random = np.random.default_rng(0)
    values = np.array([figure(random.integers(0, rows, size)) for _ in range(DRAWS)])
    values = values[np.isfinite(values)]
    return (float(np.std(values) * size**0.5), 1.0) if len(values) else (np.nan, 0.0)
