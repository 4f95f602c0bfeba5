"""The part of a drop in performance that chance does not explain: what an alert should judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, NamedTuple

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.comparisons import rows_per_weight
from collector_processor.monitors.drift_words import quoted
from collector_processor.monitors.performance import (
    DROP,
    LOWER_IS_BETTER,
    ROUNDING,
    LeastLabels,
    labeled_attributes,
    performance,
)
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.labeled import EPSILON
from collector_processor.statistics.pane import Outcomes, Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

ALPHA: Final = 1e-4
"""Probability that chance exceeds one end of an interval: eight figures are judged in every window."""
WORST: Final = "worst"
"""The average that is the class whose recall dropped most."""
CERTAIN_METRICS: Final = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "mae")
"""The metrics with an interval. One error moves RMSE, R² and MAPE as far as one likes; MAE sees what they see."""
CERTAIN_DROP: Final = Metric(
    semconv.PERFORMANCE_CERTAIN_DROP,
    semconv.UNIT_RATIO,
    "how much worse than in the reference at least, as a share of the reference's figure: the drop less what chance "
    "explains with this many labels",
    DROP.attributes,
)
_Key = tuple[str, str]


class Interval(NamedTuple):
    """One figure of all groups ``[G]``, and how far below and above it the truth may be."""

    value: F64
    down: F64
    up: F64

    def of(self, groups: int) -> Interval:
        """Return the first groups."""
        return Interval(self.value[:groups], self.down[:groups], self.up[:groups])


class CertainDropMonitor:
    """How much performance dropped at least, given the numbers of labels behind window and reference.

    Every figure has an interval that chance leaves on one side with probability 0.0001: Wilson's for shares, Hanley and
    McNeil's for the ROC AUC, and the normal one for means. Those of both sides are combined by Newcombe's method, so
    the lower end of the difference is d − √(margin² + margin²). So ten positives of which three are missed are not a
    drop in recall, and a single error of 1e9 is none in MAE: it widens the interval as much as it moves the mean.

    Multiclass models have the averages, and ``worst``: the class whose recall dropped most, with an interval for as
    many classes. RMSE, R², MAPE and the calibration error have no interval.

    Sources: E. B. Wilson, JASA 22, 1927; R. G. Newcombe, Statistics in Medicine 17, 1998; J. A. Hanley and B. J.
    McNeil, Radiology 143, 1982.
    """

    name: ClassVar[str] = "certain_drop"
    metrics: ClassVar[Sequence[Metric]] = (CERTAIN_DROP,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self._min_labels = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the certain drops of all groups with enough labels on both sides."""
        least = self._min_labels * (1.0 - ROUNDING)
        then, now = reference.pane.outcomes.labels >= least, window.pane.outcomes.labels >= least
        if not then.any() or not now.any():
            return []
        size = min(len(then), len(now))
        enough = then[:size] & now[:size]
        return [
            Measurement(
                CERTAIN_DROP.name,
                float(drop[group]),
                CERTAIN_DROP.unit,
                self._attributes(window, key, group),
                window.end_ns,
                words="" if drop[group] <= 0.0 else words(group),
            )
            for key, drop, words in self._drops(window, reference, size)
            for group in np.flatnonzero(enough & np.isfinite(drop)).tolist()
        ]

    def _drops(
        self, window: Window, reference: Reference, size: int
    ) -> Iterator[tuple[_Key, F64, Callable[[int], str]]]:
        """Yield each figure's drop, with a function that says it in words for a group."""
        then = reference.prepared(_of_reference)
        now = intervals(window.schema, window.pane)
        labels = window.pane.outcomes.labels
        for key, after in now.items():
            before = then.get(key)
            if before is not None:
                yield (
                    key,
                    certain_drop(before.of(size), after.of(size), key),
                    partial(_words, key, before.value, after.value, labels),
                )
        worst = _worst_class(reference.pane, window.pane, size)
        if worst is not None:
            drops, slots = worst
            yield ("recall", WORST), drops, lambda group: f"recall of class {_class(window, int(slots[group]))}"

    def _attributes(self, window: Window, key: _Key, group: int) -> tuple[tuple[str, str], ...]:
        name, average = key
        averages = ((semconv.PERFORMANCE_AVERAGE, average),) if average else ()
        return (
            *labeled_attributes(window.model, window.schema, group),
            *averages,
            (semconv.PERFORMANCE_METRIC, name),
        )


def _of_reference(reference: Reference) -> dict[_Key, Interval]:
    return intervals(reference.schema, reference.pane)


def certain_drop(before: Interval, after: Interval, key: _Key) -> F64:
    """Return the least drop of each group, as a share of the reference's figure; NaN where that is not above 0.

    >>> nine, six = (Interval(np.array([share]), np.array([0.02]), np.array([0.02])) for share in (0.9, 0.6))
    >>> certain_drop(nine, six, ("accuracy", "")).round(3).tolist()
    [0.302]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if key[0] in LOWER_IS_BETTER:
            least = after.value - before.value - np.hypot(after.down, before.up)
        else:
            least = before.value - after.value - np.hypot(before.down, after.up)
        return np.where(before.value > 0.0, least / before.value, np.nan)


def wilson(value: F64, count: F64, z: float | F64) -> Interval:
    """Return Wilson's interval of a share of ``count`` cells; NaN without any.

    >>> [float(part[0].round(3)) for part in wilson(np.array([0.0]), np.array([3.0]), 3.719)]
    [0.0, 0.0, 0.822]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (value + z**2 / (2.0 * count)) / (1.0 + z**2 / count)
        half = z * np.sqrt(value * (1.0 - value) / count + z**2 / (4.0 * count**2)) / (1.0 + z**2 / count)
    return Interval(value, np.maximum(value - middle + half, 0.0), np.maximum(middle + half - value, 0.0))


def _normal(value: F64, variance: F64, count: F64, z: float) -> Interval:
    """Return the interval of a mean of ``count`` values with this variance."""
    half = z * np.sqrt(np.maximum(variance, 0.0) / count)
    return Interval(value, half, half)


def intervals(schema: Schema, pane: Pane) -> dict[_Key, Interval]:
    """Return the interval of each figure that has one, by (name, average)."""
    outcomes, z, scale = pane.outcomes, -float(ndtri(ALPHA)), rows_per_weight(pane)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = {(score.name, score.average): score.values for score in performance(schema, outcomes)}
        if schema.task == "regression":
            count, absolute, squared = np.maximum(outcomes.errors[:, :3], 0.0).T
            mae = values["mae", ""]
            return {("mae", ""): _normal(mae, squared / count - (absolute / count) ** 2, count * scale, z)}
        by_class = np.maximum(outcomes.by_class, 0.0) * scale
        found = {("accuracy", ""): wilson(values["accuracy", ""], by_class[:, 1].sum(axis=1), z)}
        if schema.task == "binary_classification":
            slot = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
            if slot is not None and slot < by_class.shape[2]:
                found |= _binary(values, by_class[:, :, slot], z)
            found |= _probabilistic(values, outcomes, scale, z)
        else:
            found |= _averages(values, by_class, z)
        if ("log_loss", "") in values:
            loss = values["log_loss", ""]
            # A row's loss is at most −ln ε, so its variance is at most that times the mean: one row may have all of it.
            found["log_loss", ""] = _normal(loss, -np.log(EPSILON) * loss, outcomes.scored[:, 0] * scale, z)
    return {key: each for key, each in found.items() if key in values}


def _binary(values: Mapping[_Key, F64], positive: F64, z: float) -> dict[_Key, Interval]:
    _, labeled, predicted = positive.T
    sizes = {"precision": predicted, "recall": labeled, "f1": (labeled + predicted) / 2.0}
    # F1 is a share of (labeled + predicted) / 2, with a variance below that of a binomial one.
    return {(name, ""): wilson(values[name, ""], size, z) for name, size in sizes.items() if (name, "") in values}


def _probabilistic(values: Mapping[_Key, F64], outcomes: Outcomes, scale: float, z: float) -> dict[_Key, Interval]:
    found: dict[_Key, Interval] = {}
    area = values.get(("roc_auc", ""))
    if area is not None:
        negatives, positives = np.maximum(outcomes.score_hits.sum(axis=2), 0.0).T * scale
        pairs = negatives * positives
        a = (area * pairs + 0.5) / (pairs + 1.0)
        first, second = a / (2.0 - a) - a**2, 2.0 * a**2 / (1.0 + a) - a**2
        variance = a * (1.0 - a) + (positives - 1.0) * first + (negatives - 1.0) * second
        found["roc_auc", ""] = _normal(area, variance, pairs, z)
    brier = values.get(("brier", ""))
    if brier is not None:
        count, score, positive = np.moveaxis(np.maximum(outcomes.calibration, 0.0), 1, 0)
        p = np.where(count > 0.0, score / np.where(count > 0.0, count, 1.0), 0.0)
        rows = count.sum(axis=1)
        fourth = (positive * (1.0 - p) ** 4 + (count - positive) * p**4).sum(axis=1) / rows
        second = (positive * (1.0 - p) ** 2 + (count - positive) * p**2).sum(axis=1) / rows
        found["brier", ""] = _normal(brier, fourth - second**2, rows * scale, z)
    return found


def _averages(values: Mapping[_Key, F64], by_class: F64, z: float) -> dict[_Key, Interval]:
    """Return the intervals of averages over classes."""
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    present = (labeled + predicted > 0.0).astype(np.float64)
    found: dict[_Key, Interval] = {}
    for name, hits, size in (
        ("precision", correct, predicted),
        ("recall", correct, labeled),
        ("f1", correct, (labeled + predicted) / 2.0),
    ):
        share = np.where(size > 0.0, hits / np.where(size > 0.0, size, 1.0), 0.0)
        each = wilson(share, size, z)
        # A class without cells counts as 0, but with more labels it might be anything.
        each = Interval(share, np.where(size > 0.0, each.down, 0.0), np.where(size > 0.0, each.up, 1.0))
        for average, weight in (("macro", present), ("weighted", labeled)):
            if (name, average) in values:
                part = weight / weight.sum(axis=1, keepdims=True)
                down, up = (_added(part * side, size < z**2) for side in (each.down, each.up))
                found[name, average] = Interval(values[name, average], down, up)
    return found


def _added(margins: F64, few: Mask) -> F64:
    """Return the margin of a sum ``[G]`` from those of its terms ``[G, K]``: independent, except those of few cells.

    The latter are so skewed that their squares do not add up: they are taken at their worst together.
    """
    return np.sqrt((np.where(few, 0.0, margins) ** 2).sum(axis=1)) + np.where(few, margins, 0.0).sum(axis=1)


def _worst_class(before: Pane, after: Pane, size: int) -> tuple[F64, I64] | None:
    """Return the largest certain drop of any class's recall, and the class's slot; None for two classes."""
    sides: list[Interval] = []
    slots = min(before.outcomes.by_class.shape[2], after.outcomes.by_class.shape[2])
    if slots <= 3:  # slot 0 has the classes beyond the limit
        return None
    z = -float(ndtri(ALPHA / (slots - 1)))
    for pane in (before, after):
        correct, labeled = np.moveaxis(np.maximum(pane.outcomes.by_class[:size, :2, 1:slots], 0.0), 1, 0)
        count = labeled * rows_per_weight(pane)
        with np.errstate(divide="ignore", invalid="ignore"):
            sides.append(wilson(correct / labeled, count, z))
    drops = certain_drop(sides[0], sides[1], ("recall", WORST))
    known = np.isfinite(drops)
    ranked = np.where(known, drops, -np.inf)
    return np.where(known.any(axis=1), ranked.max(axis=1, initial=-np.inf), np.nan), ranked.argmax(axis=1) + 1


def _words(key: _Key, before: F64, after: F64, labels: F64, group: int) -> str:
    """Return the figure then and now, and the number of labels."""
    name = " ".join(part for part in (key[1], key[0].replace("_", " ")) if part)
    return f"{name} {before[group]:.3g} → {after[group]:.3g} ({labels[group]:.0f} labels)"


def _class(window: Window, slot: int) -> str:
    """Return the class that a slot stands for."""
    return quoted(window.schema.classes.name(slot))
