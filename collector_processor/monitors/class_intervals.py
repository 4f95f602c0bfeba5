"""Intervals of figures that come from counts by class: shares, their averages, F1, Matthews' correlation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.intervals import FEW, Interval, Level, added, effective, of_ratio, of_share

Key = tuple[str, str]
"""The name of a figure, and its average."""


def accuracy(value: F64, by_class: F64, squares: F64, level: Level) -> Interval:
    """Return the interval of the accuracy; ``by_class`` and the squared weights are ``[G, 3, K]``."""
    size, (hits_2, size_2) = by_class[:, 1].sum(axis=1), squares[:, :2].sum(axis=2).T
    return of_ratio(value, size, hits_2, size_2, level)


def of_class(by_class: F64, squares: F64, level: Level) -> dict[str, Interval]:
    """Return the intervals of precision, recall and F1 from the cells ``[…, 3]`` of a class: right, labeled, predicted.

    F1 = 2 TP / D with D = 2 TP + FP + FN has the variance F1 (1 − F1) (2 − F1) / D: that of a share of D / (2 − F1).
    """
    (right, labeled, predicted), (right_2, labeled_2, predicted_2) = (
        np.moveaxis(by_class, -1, 0),
        np.moveaxis(squares, -1, 0),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        size, size_2 = labeled + predicted, labeled_2 + predicted_2
        f1 = 2.0 * right / size
        wrong_2 = np.maximum(size_2 - 2.0 * right_2, 0.0)
        variance = (4.0 * (1.0 - f1) ** 2 * right_2 + f1**2 * wrong_2) / size**2
        # Without a hit, it is of as many rows as labels and predictions together: D / 2.
        count = np.where(right > 0.0, effective(f1, variance, size**2 / size_2), size**2 / size_2 / 2.0)
        return {
            "precision": of_ratio(right / predicted, predicted, right_2, predicted_2, level),
            "recall": of_ratio(right / labeled, labeled, right_2, labeled_2, level),
            "f1": of_share(f1, count, level),
        }


def specificity(by_class: F64, squares: F64, positive: int, level: Level) -> Interval:
    """Return the interval of the share of negative rows that were predicted as negative."""
    cells = []
    for sums in (by_class, squares):
        right, labeled, predicted = sums[:, :, positive].T
        negative = np.maximum(sums[:, 1].sum(axis=1) - labeled, 0.0)
        cells += [np.maximum(negative - (predicted - right), 0.0), negative]
    hits, sizes, hits_2, sizes_2 = cells
    with np.errstate(divide="ignore", invalid="ignore"):
        return of_ratio(hits / sizes, sizes, hits_2, sizes_2, level)


def macro_specificity(value: F64, by_class: F64, squares: F64, level: Level) -> Interval:
    """Return the interval of the mean specificity of the classes that came, by the delta method.

    A wrong row counts in one class, among as many rows as there are of all others.
    """
    right, labeled, predicted = np.moveaxis(by_class, 1, 0)
    rows, there = labeled.sum(axis=1, keepdims=True), labeled + predicted > 0.0
    rest = rows - labeled
    known = there & (rest > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(known, 1.0 / np.where(known, rest, 1.0), 0.0) / there.sum(axis=1, keepdims=True)
        rate = (predicted - right) * each / np.where(known, rest, 1.0)
        gradient = np.stack((each, rate.sum(axis=1, keepdims=True) - rate, -each), axis=1)
        most = rows[:, 0] ** 2 / squares[:, 1].sum(axis=1)
        return of_share(value, effective(value, variance(gradient, squares), most), level)


def mean_of_two(one: Interval, other: Interval) -> Interval:
    """Return the interval of the mean of two independent shares, by Newcombe's method."""
    return Interval(
        (one.value + other.value) / 2.0, np.hypot(one.down, other.down) / 2.0, np.hypot(one.up, other.up) / 2.0
    )


def averages(by_class: F64, squares: F64, level: Level) -> Iterator[tuple[Key, Interval]]:
    """Yield the intervals of averages over classes; their values are those of :func:`.performance.multiclass`.

    Macro averages add up the squared margins of the classes, which are independent for precision and recall. An error
    counts in the F1 of two classes; as if each F1 were of D / 2 rows, that is never too narrow. Weighted averages have
    the variance of their gradient (:func:`variance`), and the weighted recall is the accuracy.
    """
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    count = _counts(by_class, squares)
    present = (labeled + predicted > 0.0).astype(np.float64)
    shares = {
        name: np.where(size > 0.0, correct / np.where(size > 0.0, size, 1.0), 0.0)
        for name, size in (("precision", predicted), ("recall", labeled), ("f1", (labeled + predicted) / 2.0))
    }
    for name, share in shares.items():
        yield (name, "macro"), _average(share, count[name], present, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = labeled.sum(axis=1)
        yield ("recall", "weighted"), accuracy(correct.sum(axis=1) / rows, by_class, squares, level)
        most = rows**2 / squares[:, 1].sum(axis=1)
        for name, (value, gradient) in _weighted(by_class).items():
            count_of_value = effective(value, variance(gradient, squares), most)
            yield (name, "weighted"), of_share(value, count_of_value, level)


def macro_recall(by_class: F64, squares: F64, level: Level) -> Interval:
    """Return the interval of the mean recall of the classes that were labeled: the balanced accuracy."""
    correct, labeled, _ = np.moveaxis(by_class, 1, 0)
    there = labeled > 0.0
    share = np.where(there, correct / np.where(there, labeled, 1.0), 0.0)
    return _average(share, _counts(by_class, squares)["recall"], there.astype(np.float64), level)


def matthews(value: F64, by_class: F64, squares: F64, level: Level) -> Interval:
    """Return the interval of Matthews' correlation, as that of the share (1 + R) / 2.

    Left out for two classes of which one has few labels or predictions.
    """
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        right, rows = correct.sum(axis=1)[:, None], labeled.sum(axis=1)[:, None]
        of_labels = rows**2 - (labeled**2).sum(axis=1, keepdims=True)
        of_predicted = rows**2 - (predicted**2).sum(axis=1, keepdims=True)
        both, r = np.sqrt(of_labels * of_predicted), value[:, None]
        gradient = np.stack(
            (
                np.broadcast_to(rows / both, correct.shape),
                (right - predicted) / both - r * ((rows - labeled) / of_labels + rows / of_predicted),
                -labeled / both + r * predicted / of_predicted,
            ),
            axis=1,
        )
        spread = variance(gradient, squares) / 4.0
        share, most = (1.0 + value) / 2.0, rows[:, 0] ** 2 / squares[:, 1].sum(axis=1)
        found = of_share(share, effective(share, spread, most), level)
        two = (labeled + predicted > 0.0).sum(axis=1) <= 2
        least = np.where(labeled + predicted > 0.0, np.minimum(labeled, predicted), np.inf).min(axis=1)
        enough = ~two | (least / rows[:, 0] * most >= FEW)
    interval = Interval(value, 2.0 * found.down, 2.0 * found.up)
    return interval.where(enough) if level.covered else interval


def variance(gradient: F64, squares: F64) -> F64:
    """Return the variance ``[G]`` of a figure by the delta method, from its gradient by the cells ``[G, 3, K]``.

    A row of class j that was predicted as k moves the figure by g₁ⱼ + g₂ₖ, and by g₀ⱼ too if it is right. The figure
    does not change if all counts double, so these sum to 0. How many rows of class j were predicted as another class k
    is known for two classes only. For more, j and k are taken to belong together as far as they may (Cauchy–Schwarz):
    the variance is then too large rather than too small.
    """
    gradient = np.where(np.isfinite(gradient), gradient, 0.0)
    of_right, of_label, of_predicted = np.moveaxis(gradient, 1, 0)
    right, labeled, predicted = np.moveaxis(squares, 1, 0)
    missed, false = np.maximum(labeled - right, 0.0), np.maximum(predicted - right, 0.0)
    hits = (right * (of_right + of_label + of_predicted) ** 2).sum(axis=1)
    apart = (missed * of_label**2 + false * of_predicted**2).sum(axis=1)
    there = labeled + predicted > 0.0
    other = np.where(there, of_predicted, 0.0).sum(axis=1, keepdims=True) - of_predicted
    crossed = (missed * of_label * other).sum(axis=1)
    wrong = missed.sum(axis=1)
    mean_label, spread_label = _moments(missed, of_label)
    mean_predicted, spread_predicted = _moments(false, of_predicted)
    most = wrong * (mean_label * mean_predicted + np.sqrt(spread_label * spread_predicted))
    return np.maximum(hits + apart + 2.0 * np.where(there.sum(axis=1) <= 2, crossed, most), 0.0)


def _moments(weights: F64, values: F64) -> tuple[F64, F64]:
    """Return weighted means and variances ``[G]`` of the values ``[G, K]``; 0 without weights."""
    total = weights.sum(axis=1)
    total = np.where(total > 0.0, total, 1.0)
    mean = (weights * values).sum(axis=1) / total
    return mean, np.maximum((weights * values**2).sum(axis=1) / total - mean**2, 0.0)


def _counts(by_class: F64, squares: F64) -> dict[str, F64]:
    """Return of how many independent rows the figures of each class are, ``[G, K]``; 0 without any."""
    _, labeled, predicted = np.moveaxis(by_class, 1, 0)
    _, labeled_2, predicted_2 = np.moveaxis(squares, 1, 0)
    sizes = {
        "precision": (predicted, predicted_2),
        "recall": (labeled, labeled_2),
        "f1": (labeled + predicted, 2.0 * (labeled_2 + predicted_2)),
    }
    return {
        name: np.where(size_2 > 0.0, size**2 / np.where(size_2 > 0.0, size_2, 1.0), 0.0)
        for name, (size, size_2) in sizes.items()
    }


def _average(share: F64, count: F64, weight: F64, level: Level) -> Interval:
    """Return the interval of an average over classes of shares ``[G, K]`` that are independent."""
    known = count > 0.0
    each = of_share(share, count, level)
    # A class without cells counts as 0, but with more labels it might be anything.
    sides = np.where(known, each.down, 0.0), np.where(known, each.up, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = weight / weight.sum(axis=1, keepdims=True)
    down, up = (added(part * side, count < level.z**2) for side in sides)
    return Interval((share * part).sum(axis=1), down, up)


def _weighted(by_class: F64) -> dict[str, tuple[F64, F64]]:
    """Return the weighted precision and F1 ``[G]`` with their gradients by the cells ``[G, 3, K]``."""
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    rows = labeled.sum(axis=1, keepdims=True)
    both = labeled + predicted
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(predicted > 0.0, correct / predicted, 0.0)
        f1 = np.where(both > 0.0, 2.0 * correct / both, 0.0)
        value = (labeled * precision).sum(axis=1, keepdims=True) / rows
        per_predicted = labeled / predicted / rows
        gradient = (per_predicted, (precision - value) / rows, -per_predicted * precision)
        found = {"precision": (value[:, 0], np.stack(gradient, axis=1))}
        value = (labeled * f1).sum(axis=1, keepdims=True) / rows
        per_both = labeled / both / rows
        gradient = (2.0 * per_both, (f1 - value) / rows - per_both * f1, -per_both * f1)
        found["f1"] = value[:, 0], np.stack(gradient, axis=1)
    return found
