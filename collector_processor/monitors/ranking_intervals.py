"""Intervals of figures of ranking and calibration, from the bins of the score."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.intervals import Interval, Level, between, effective, of_share, student
from collector_processor.monitors.performance import without_rounding

_MANY: Final = 40.0
"""Rows of the smaller class from which on DeLong's variance is right."""
_HALF_NORMAL: Final = float(np.sqrt(2.0 / np.pi))
"""Mean of the absolute value of a standard normal variable."""


def roc_auc(value: F64, hits: F64, weights: F64, level: Level) -> Interval:
    """Return the interval of the ROC AUC from fine bins ``[G, 2, B]`` of negative and positive rows.

    If it is to be covered, with DeLong's variance; of few rows a quarter is Hanley and McNeil's. A row's placement is
    the share of the other class that it is ranked rightly to, ties by half; rows of a bin have one. ``weights``
    ``[G, 2]`` are Σ w² / Σ w of either class. An area of 1 is a share of as many rows as the smaller class has.
    """
    negative, positive = np.moveaxis(without_rounding(hits), 1, 0)
    negatives, positives = negative.sum(axis=1, keepdims=True), positive.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_positive = (np.cumsum(negative, axis=1) - negative / 2.0) / negatives
        of_negative = 1.0 - (np.cumsum(positive, axis=1) - positive / 2.0) / positives
        spread = np.zeros(len(value))
        for rows, total, placement, weight in (
            (negative, negatives[:, 0], of_negative, weights[:, 0]),
            (positive, positives[:, 0], of_positive, weights[:, 1]),
        ):
            mean = (rows * placement).sum(axis=1) / total
            count = total / weight
            spread += ((rows * placement**2).sum(axis=1) / total - mean**2) / np.maximum(count - 1.0, 1.0)
        negatives, positives = negatives[:, 0] / weights[:, 0], positives[:, 0] / weights[:, 1]
        plain = _hanley(value, negatives, positives)
        if not level.covered:
            margin = level.z * np.sqrt(plain)
            return Interval(value, margin, margin)
        most = np.minimum(negatives, positives)
        # The placements of few rows vary less than those of all, and the other variance is far too large.
        spread = (
            np.maximum(np.where(most < _MANY, 0.75 * spread + 0.25 * plain, spread), 0.0) * student(most, level) ** 2
        )
        return of_share(value, effective(value, spread, most), level)


def _hanley(value: F64, negatives: F64, positives: F64) -> F64:
    """Return Hanley and McNeil's variance, which depends on the area alone: that of a single positive row is not 0."""
    pairs = negatives * positives
    a = (value * pairs + 0.5) / (pairs + 1.0)
    first, second = a / (2.0 - a) - a**2, 2.0 * a**2 / (1.0 + a) - a**2
    variance = a * (1.0 - a) + (positives - 1.0) * first + (negatives - 1.0) * second
    return np.maximum(variance, 0.0) / pairs


def average_precision(value: F64, hits: F64, weights: F64, level: Level) -> Interval:
    """Return the interval of the average precision by the delta method: its gradient by the rows of each bin.

    One more positive row in a bin adds its precision, and raises that of all positive rows below it; one more negative
    row lowers it.
    """
    negative, positive = np.moveaxis(without_rounding(hits)[:, :, ::-1], 1, 0)
    found, passed = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    total, rows = found[:, -1:], found + passed
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(rows > 0.0, found / np.where(rows > 0.0, rows, 1.0), 0.0)
        change = np.where(rows > 0.0, positive / np.where(rows > 0.0, rows, 1.0) ** 2, 0.0)
        below = [np.cumsum((change * other)[:, ::-1], axis=1)[:, ::-1] for other in (passed, found)]
        area = (positive * precision).sum(axis=1, keepdims=True) / total
        of_positive, of_negative = (precision - area + below[0]) / total, -below[1] / total
        variance = (positive * of_positive**2).sum(axis=1) * weights[:, 1]
        variance += (negative * of_negative**2).sum(axis=1) * weights[:, 0]
        most = total[:, 0] / weights[:, 1]
        return of_share(value, effective(value, variance * student(most, level) ** 2, most), level)


def lift(value: F64, hits: F64, weights: F64, share: float, level: Level) -> Interval:
    """Return the interval of a lift: of the recall of the highest scores, divided by their share.

    The score at which the share ends varies, too. What a row more or less changes there depends on the share of
    positive rows near it, which is that from half to one and a half of the share.
    """
    negative, positive = np.moveaxis(without_rounding(hits)[:, :, ::-1], 1, 0)
    rows = negative + positive
    total, positives = rows.sum(axis=1), positive.sum(axis=1)
    above = np.cumsum(rows, axis=1) - rows

    def first(part: float) -> tuple[F64, F64]:
        """Return the negative and positive rows ``[G]`` among the first ``part`` of all."""
        taken = np.clip(part * total[:, None] - above, 0.0, rows) / np.where(rows > 0.0, rows, 1.0)
        return (taken * negative).sum(axis=1), (taken * positive).sum(axis=1)

    with np.errstate(divide="ignore", invalid="ignore"):
        negative_in, positive_in = first(share)
        near = [np.subtract(*pair) for pair in zip(first(min(1.5 * share, 1.0)), first(share / 2.0), strict=True)]
        recall, base = share * value, positives / total
        density = near[1] / (near[0] + near[1]) / base
        shift = density * share
        of_positive = positive_in * ((1.0 - recall) / base - density + shift) ** 2
        of_positive += (positives - positive_in) * (-recall / base + shift) ** 2
        of_negative = negative_in * (shift - density) ** 2 + (total - positives - negative_in) * shift**2
        variance = (of_positive * weights[:, 1] + of_negative * weights[:, 0]) / total**2
        found = of_share(recall, effective(recall, variance, positives / weights[:, 1]), level)
    return Interval(value, found.down / share, found.up / share)


def calibration_error(value: F64, calibration: F64, weights: F64, level: Level) -> Interval:
    """Return the interval of the expected calibration error from its table ``[G, 3, bins]``.

    The figure is too large by chance: a bin without an error has a mean absolute deviation of .8 standard errors. Where
    the deviation is not above two of them, the lower end takes that off. So the interval is never too narrow, and of a
    calibrated model it begins at 0.
    """
    count, score, positive = np.moveaxis(without_rounding(calibration), 1, 0)
    rows = count.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        there = np.where(count > 0.0, count, 1.0)
        rate, mean = positive / there, (score - positive) / there
        # A bin without a positive or without a negative row is taken to have half of one.
        rate = np.clip(rate, 0.5 / (there + 1.0), 1.0 - 0.5 / (there + 1.0))
        within = np.where(count > 0.0, rate * (1.0 - rate), 0.0)
        error = np.sqrt(within * count * weights[:, None]) / rows[:, None]
        deviation = np.abs(score - positive) / rows[:, None]
        excess = np.where(deviation < 2.0 * error, _HALF_NORMAL * error, 0.0).sum(axis=1)
        variance = ((count * (within + mean**2)).sum(axis=1) / rows - value**2) * weights / rows
        margin = level.z * np.sqrt(np.maximum(variance, 0.0))
    return between(value, np.maximum(value - excess - margin, 0.0), np.minimum(value + margin, 1.0))
