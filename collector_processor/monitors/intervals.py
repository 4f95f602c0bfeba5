"""Intervals of shares, means and ratios, from sums: how far from the truth a figure may be by chance."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtr

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.monitors.performance import ROUNDING
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.label_moments import LabelMoments
from collector_processor.statistics.vectors import grown

FEW: Final = 10.0
"""A share of fewer hits or misses has the exact interval, which is wider; a mean in which fewer rows than this have all
of the weight has none."""


class Interval(NamedTuple):
    """One figure of all groups ``[G]``, and how far below and above it the truth may be."""

    value: F64
    down: F64
    up: F64

    def of(self, groups: int) -> Interval:
        """Return the first groups."""
        return Interval(self.value[:groups], self.down[:groups], self.up[:groups])

    def where(self, kept: Mask) -> Interval:
        """Return the interval with NaN ends in other groups."""
        return Interval(self.value, np.where(kept, self.down, np.nan), np.where(kept, self.up, np.nan))


class Level(NamedTuple):
    """What an interval is for: ``z`` standard errors to either side, and whether it is to be *covered* that often.

    If so, the interval of a share of few hits is exact, that of a mean knows the skewness, and one that would be wrong
    is left out. Else it is the plain one, of which a single row does not move the figure further than the interval
    reaches: what is to judge a change.
    """

    z: float
    covered: bool = True


BAND: Final = Level(1.959963984540054)
"""95 %."""


def between(value: F64, lower: F64, upper: F64) -> Interval:
    """Return the interval between two ends, which the value never leaves."""
    return Interval(value, np.maximum(value - lower, 0.0), np.maximum(upper - value, 0.0))


def wilson(value: F64, count: F64, z: float | F64) -> Interval:
    """Return Wilson's interval of a share of ``count`` cells; NaN without any.

    >>> [float(part[0].round(3)) for part in wilson(np.array([0.0]), np.array([3.0]), 3.719)]
    [0.0, 0.0, 0.822]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (value + z**2 / (2.0 * count)) / (1.0 + z**2 / count)
        half = z * np.sqrt(value * (1.0 - value) / count + z**2 / (4.0 * count**2)) / (1.0 + z**2 / count)
    return between(value, middle - half, middle + half)


def of_share(value: F64, count: F64, level: Level) -> Interval:
    """Return the interval of a share of ``count`` independent cells: Wilson's, or Clopper and Pearson's of few.

    >>> [float(part[0].round(3)) for part in of_share(np.array([1.0]), np.array([10.0]), BAND)]
    [1.0, 0.308, 0.0]
    """
    interval = wilson(value, count, level.z)
    if not level.covered:
        return interval
    tail, hits, misses = float(ndtr(-level.z)), value * count, (1.0 - value) * count
    some_hit, some_miss = hits > ROUNDING * count, misses > ROUNDING * count
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = np.where(some_hit, betaincinv(np.where(some_hit, hits, 1.0), misses + 1.0, tail), 0.0)
        upper = np.where(some_miss, betaincinv(hits + 1.0, np.where(some_miss, misses, 1.0), 1.0 - tail), 1.0)
    exact, few = between(value, lower, upper), np.minimum(hits, misses) < FEW
    return Interval(value, np.where(few, exact.down, interval.down), np.where(few, exact.up, interval.up))


def effective(value: F64, variance: F64, most: F64) -> F64:
    """Return of how many independent cells a share with this variance is: ``most`` where nothing varies.

    >>> effective(np.array([0.5, 1.0]), np.array([0.01, 0.0]), np.array([30.0, 30.0])).tolist()
    [25.0, 30.0]
    """
    varies = variance > ROUNDING**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varies, value * (1.0 - value) / np.where(varies, variance, 1.0), most)


def of_ratio(value: F64, sizes: F64, hits_2: F64, sizes_2: F64, level: Level) -> Interval:
    """Return the interval of a share Σ hits / Σ sizes of rows with weights; ``…_2`` are sums of squared weights."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = ((1.0 - value) ** 2 * hits_2 + value**2 * np.maximum(sizes_2 - hits_2, 0.0)) / sizes**2
        return of_share(value, effective(value, variance, sizes**2 / sizes_2), level)


def student(count: F64, level: Level) -> F64:
    """Return Student's quantile with about ``count`` degrees of freedom, per standard normal one.

    >>> student(np.array([10.0, 1000.0]), BAND).round(3).tolist()
    [1.121, 1.001]
    """
    return 1.0 + (level.z**2 + 1.0) / (4.0 * count)


def of_mean(value: F64, second: F64, third: F64, count: F64, level: Level) -> Interval:
    """Return the interval of a mean of ``count`` independent values that are never negative, from their mean powers.

    Hall's, which inverts a cubic of the studentized mean, so that the skewness is taken into account. NaN if nothing
    varies, or if few values have all of the weight.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        variance = second - value**2
        wrong = (variance < -ROUNDING * second) | ~np.isfinite(second)
        error = np.where(wrong, np.nan, np.sqrt(np.maximum(variance, 0.0) / count))
        if not level.covered:
            return Interval(value, level.z * error, level.z * error)
        error = error * np.sqrt(count / (count - 1.0))
        skewness = (third - 3.0 * value * second + 2.0 * value**3) / np.maximum(variance, 0.0) ** 1.5
        z = level.z * student(count, level)
        lower = value - error * _inverse(z, skewness / np.sqrt(count))
        upper = value - error * _inverse(-z, skewness / np.sqrt(count))
        known = (variance > ROUNDING * second) & (error**2 * FEW <= value**2)
    return between(value, np.maximum(lower, 0.0), upper).where(known)


def _inverse(quantile: float | F64, skewness: F64) -> F64:
    """Return the studentized mean at a quantile of Hall's cubic transformation t + s t² / 3 + s² t³ / 27 + s / 6."""
    third, shifted = skewness / 3.0, quantile - skewness / 6.0
    flat = np.abs(third) < 1e-6
    return np.where(flat, shifted, (np.cbrt(1.0 + 3.0 * third * shifted) - 1.0) / np.where(flat, 1.0, third))


def root(interval: Interval) -> Interval:
    """Return the interval of the square root of what is never negative."""
    with np.errstate(invalid="ignore"):
        lower = np.sqrt(np.maximum(interval.value - interval.down, 0.0))
        return between(np.sqrt(interval.value), lower, np.sqrt(interval.value + interval.up))


def added(margins: F64, few: Mask) -> F64:
    """Return the margin of a sum ``[G]`` from those of its terms ``[G, K]``: independent, except those of few cells.

    The latter are so skewed that their squares do not add up: they are taken at their worst together.
    """
    return np.sqrt((np.where(few, 0.0, margins) ** 2).sum(axis=1)) + np.where(few, margins, 0.0).sum(axis=1)


def complete(pane: Pane) -> Mask:
    """Return the groups of which every label is in the pane's moments, bool ``[G]``: not so before an upgrade."""
    counted, labels = pane.further[LabelMoments].labels[:, 0], pane.outcomes.labels
    counted = grown(counted, (max(len(counted), len(labels)),))[: len(labels)]
    return np.abs(counted - labels) <= 1e-6 * np.abs(labels)


def independent_labels(pane: Pane) -> F64:
    """Return of how many rows the labels of each group are, (Σ w)² / Σ w² ``[G]``."""
    labels = pane.outcomes.labels
    squares = grown(pane.further[LabelMoments].labels, (len(labels), 2))[: len(labels), 1]
    known = complete(pane) & (squares > 0.0)
    return np.where(known, labels**2 / np.where(known, squares, 1.0), labels * rows_per_weight(pane))


def class_squares(pane: Pane) -> F64:
    """Return Σ w² of the cells of ``by_class`` ``[G, 3, K]``; without moments, as if all rows had one weight."""
    by_class, found = pane.outcomes.by_class, pane.further[LabelMoments].by_class
    shape = tuple(max(sizes) for sizes in zip(found.shape, by_class.shape, strict=True))
    squares = grown(found, shape)[tuple(slice(size) for size in by_class.shape)]
    return np.maximum(np.where(complete(pane)[:, None, None], squares, by_class / rows_per_weight(pane)), 0.0)
