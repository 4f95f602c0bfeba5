"""The part of a drop in performance that chance does not explain: what an alert should judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64, I64
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.causes import cause_words
from collector_processor.monitors.class_intervals import Key
from collector_processor.monitors.drift_words import quoted
from collector_processor.monitors.figure_intervals import intervals
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.monitors.intervals import Interval, Level, wilson
from collector_processor.monitors.performance import (
    DROP,
    LOWER_IS_BETTER,
    ROUNDING,
    LeastLabels,
    labeled_attributes,
)
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

ALPHA: Final = 1e-4
"""Probability that chance exceeds one end of an interval: nine figures are judged in every window."""
WORST: Final = "worst"
"""The average that is the class whose recall dropped most."""
CERTAIN_METRICS: Final = (
    "accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error",
    "mae", "rmse", "mape", "r2",
)  # fmt: skip
"""The metrics with an interval."""
CERTAIN_DROP: Final = Metric(
    semconv.PERFORMANCE_CERTAIN_DROP,
    semconv.UNIT_RATIO,
    "how much worse than in the reference at least, as a share of the reference's figure: the drop less what chance "
    "explains with this many labels",
    DROP.attributes,
)
_MEAN_ERRORS: Final = ("accuracy", "mae")
"""Figures that are a mean error, or one less it."""
LEVEL: Final = Level(-float(ndtri(ALPHA)), covered=False)


class CertainDropMonitor:
    """How much performance dropped at least, given the numbers of labels behind window and reference.

    Every figure has an interval that chance leaves on one side with probability 0.0001: Wilson's for shares, Hanley and
    McNeil's for the ROC AUC, the normal one for means, and for R² that of a ratio of sums. Those of both sides are
    combined by Newcombe's method, so the lower end of the difference is d − √(margin² + margin²). So ten positives of
    which three are missed are not a drop in recall, and a single error of 1e9 is none in MAE or RMSE: it widens the
    interval as much as it moves the mean. R² has no certain drop where few rows are the greater part of its sums.

    Multiclass models have the averages, and ``worst``: the class whose recall dropped most, with an interval for as
    many classes. :mod:`.figure_intervals` has the formulas.

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
                words="" if drop[group] <= 0.0 else self._with_cause(key, words(group), window, reference, group),
            )
            for key, drop, words in self._drops(window, reference, size)
            for group in np.flatnonzero(enough & np.isfinite(drop)).tolist()
        ]

    def _with_cause(self, key: Key, words: str, window: Window, reference: Reference, group: int) -> str:
        """Return the words with the cause: causes are parts of the mean error, which other figures do not follow."""
        cause = cause_words(window, reference, self._min_labels, group) if key[0] in _MEAN_ERRORS else ""
        return f"{words}, {cause}" if cause else words

    def _drops(
        self, window: Window, reference: Reference, size: int
    ) -> Iterator[tuple[Key, F64, Callable[[int], str]]]:
        """Yield each figure's drop, with a function that says it in words for a group."""
        then = reference.prepared(_of_reference)
        now = intervals(window.schema, window.pane, LEVEL)
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

    def _attributes(self, window: Window, key: Key, group: int) -> tuple[tuple[str, str], ...]:
        name, average = key
        averages = ((semconv.PERFORMANCE_AVERAGE, average),) if average else ()
        return (
            *labeled_attributes(window.model, window.schema, group),
            *averages,
            (semconv.PERFORMANCE_METRIC, name),
        )


def _of_reference(reference: Reference) -> dict[Key, Interval]:
    return intervals(reference.schema, reference.pane, LEVEL)


def certain_drop(before: Interval, after: Interval, key: Key) -> F64:
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


def _words(key: Key, before: F64, after: F64, labels: F64, group: int) -> str:
    """Return the figure then and now, and the number of labels."""
    name = " ".join(part for part in (key[1], key[0].replace("_", " ")) if part)
    return f"{name} {before[group]:.3g} → {after[group]:.3g} ({labels[group]:.0f} labels)"


def _class(window: Window, slot: int) -> str:
    """Return the class that a slot stands for."""
    return quoted(window.schema.classes.name(slot))
