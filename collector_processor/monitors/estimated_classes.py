"""Performance of a multiclass model before the labels come, from the calibrated probabilities of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import (
    ESTIMATED_METRICS,
    LOWER_LIMIT,
    UPPER_LIMIT,
    known_groups,
    labeled_rows,
    of_group,
)
from collector_processor.monitors.expected_ranking import ExpectedBins
from collector_processor.monitors.further_performance import FurtherPerformanceSettings, listed_classes
from collector_processor.monitors.left_out import LeftOut, left_out_ranking, unranked
from collector_processor.monitors.performance import (
    AUC_TOLERANCE,
    LOWER,
    UPPER,
    LeastLabels,
    labeled_attributes,
)
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.estimates import class_curves
from collector_processor.statistics.fits.baseline import Baseline
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.parts.class_estimates import ClassEstimates
from collector_processor.window.closed import Window
from otel_ml import semconv

MACRO: Final = ((semconv.PERFORMANCE_AVERAGE, "macro"),)
FIGURES: Final = ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc", "average_precision")
_OF_CLASS: Final = FIGURES[1:]
TIED: Final = 1e-9
"""Variance of places within a bin below which all of its rows have one score."""


class EstimatedClassesMonitor:
    """Confidence-based performance estimation of a multiclass model whose reference has labels and all classes' scores.

    A row is of each class with its calibrated probability, divided by the sum over the classes: accuracy, and the means
    over the classes of precision, recall, F1 and specificity, for all rows and each segment; ROC AUC of one class
    beside all others; these figures of each class. Around the figures of all rows, the band in which the figure of the
    labels will lie with 95 %, and the limits that ten parts of the reference give. Figures, limits, and the band of
    three standard errors (``band: nannyml``) are equal to NannyML 0.13.1's.

    Left out: groups with fewer than ``min_labels`` rows, or with more than 1 % without an estimate.
    """

    name: ClassVar[str] = "estimated_classes"
    metrics: ClassVar[Sequence[Metric]] = (
        *(ESTIMATED_METRICS[name] for name in FIGURES), LOWER, UPPER, LOWER_LIMIT, UPPER_LIMIT,
    )  # fmt: skip
    sections: ClassVar[Mapping[str, type[Settings]]] = {
        "performance": FurtherPerformanceSettings,
        WINDOW: LeastLabels,
        "estimate": EstimateSettings,
    }

    def __init__(self, settings: FurtherPerformanceSettings, least: LeastLabels, estimate: EstimateSettings) -> None:
        self._estimate = estimate
        self._most_classes = settings.classes
        self._least_rows = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the estimated figures of all groups with enough rows."""
        fit = class_curves(window.schema)
        if fit is None:
            return []
        sums = window.pane.further[ClassEstimates]
        rows = sums.by_class[:, :, 0].sum(axis=1)
        groups = np.flatnonzero(known_groups(rows, sums.without, self._least_rows)).tolist()
        if not groups:
            return []
        number, weight = sums.calibrated.tolist()
        each = class_figures(sums.by_class)
        ranked = estimated_ranking(sums.by_score, number / weight) if groups[0] == 0 else {}
        figures = {"accuracy": each.pop("accuracy")[:, 0]}
        figures |= {name: values.mean(axis=1) for name, values in each.items()}
        figures |= {name: values.mean(keepdims=True) for name, values in ranked.items()}
        baseline = window.schema.fit(Baseline)
        known = {} if baseline is None else baseline.figures
        labeled = labeled_rows(reference)
        found: list[Measurement] = []
        for group in groups:
            margin = partial(self._estimate.margin, rows=float(rows[group]) * number / weight, labeled=labeled)
            found += of_group(window, group, figures, known, margin, MACRO)
        if groups[0] == 0:
            found += self._of_classes(window, fit, each | {name: values[None] for name, values in ranked.items()}, sums)
        return [item for item in found if np.isfinite(item.value)]

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield that the ranking of all rows is left out."""
        del reference
        if class_curves(window.schema) is None or 0 not in unranked(window, measured, MACRO):
            return
        # A class of which no row is expected has no ranking.
        if (expected_cells(window.pane.further[ClassEstimates].by_class)[2, 0] > 0.0).all():
            yield from left_out_ranking(window.schema, "undecided", [0], "the bins of the scores do not decide them")

    def _of_classes(
        self, window: Window, fit: ClassCurves, figures: Mapping[str, F64], sums: ClassEstimates
    ) -> Iterator[Measurement]:
        """Yield the figures of the classes that most rows are expected to be of."""
        attributes = labeled_attributes(window.model, window.schema, 0, semconv.SOURCE_ESTIMATED)
        predicted, right, labeled = expected_cells(sums.by_class)[:, 0]
        table = np.concatenate((np.zeros((3, 1)), np.stack((right, labeled, predicted))), axis=1)
        for place in listed_classes(table, self._most_classes):
            of_class = (semconv.PERFORMANCE_CLASS, window.schema.classes.name(int(fit.slots[place - 1])))
            for name in _OF_CLASS:
                metric, value = ESTIMATED_METRICS[name], float(figures[name][0, place - 1])
                yield Measurement(metric.name, value, metric.unit, (*attributes, of_class), window.end_ns)


def expected_cells(by_class: F64) -> F64:
    """Return rows predicted as each class, those of them that are expected to be right, and all expected rows of it.

    From ``by_class`` ``[G, K, 5]``, as ``[3, G, K]``.
    """
    return np.stack((by_class[:, :, 0], by_class[:, :, 1] + by_class[:, :, 2], by_class[:, :, 3] + by_class[:, :, 4]))


def class_figures(by_class: F64) -> dict[str, F64]:
    """Return the figures of each class ``[G, K]`` from ``by_class`` ``[G, K, 5]``; 0 where undefined, as in NannyML.

    >>> sums = np.array([[[4.0, 3.0, 0.0, 3.5, 0.0], [6.0, 5.5, 0.0, 6.5, 0.0]]])
    >>> {name: values.round(3).tolist() for name, values in class_figures(sums).items()}["precision"]
    [[0.75, 0.917]]
    """
    predicted, right, labeled = expected_cells(by_class)
    rows = predicted.sum(axis=1, keepdims=True)
    false, missed = predicted - right, labeled - right
    rest = rows - right - false - missed

    def ratio(numerator: F64, denominator: F64) -> F64:
        return np.where(denominator > 0.0, numerator / np.where(denominator > 0.0, denominator, 1.0), 0.0)

    return {
        "accuracy": np.broadcast_to(ratio(right.sum(axis=1, keepdims=True), rows), predicted.shape),
        "precision": ratio(right, predicted),
        "recall": ratio(right, labeled),
        "f1": ratio(2.0 * right, predicted + labeled),
        "specificity": ratio(rest, rest + false),
    }


def estimated_ranking(by_score: F64, rows_per_weight: float = 1.0) -> dict[str, F64]:
    """Return the expected ROC AUC and average precision of each class beside all others ``[K]``.

    From the bins ``[K, 5, B]`` of the class's score. Rows of a bin whose places u in it differ are ordered by u: how
    far p rises with the rank within a bin is its regression on u. Rows of one score are ties. NaN if the order of rows
    within bins can change the ROC AUC by more than :data:`.AUC_TOLERANCE`, or without rows of either side.
    """
    rows, positive, places, squares, products = np.moveaxis(by_score * rows_per_weight, 1, 0)
    negative = rows - positive
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    some = np.where(rows > 0.0, rows, 1.0)
    variance = squares / some - (places / some) ** 2
    ordered = (variance > TIED) & (rows > 1.0)
    # Ranks are linear in u, with the deviation √((n² − 1) / 12) of n ranks.
    step = np.sqrt((rows + 1.0) / np.where(ordered, (rows - 1.0) * variance / 12.0, 1.0))
    rise = np.where(ordered, step * (products - positive * places / some) / some, 0.0)
    undecided = np.where(ordered, positive * negative, 0.0).sum(axis=1) / 2.0
    known = (pairs > 0.0) & (undecided <= AUC_TOLERANCE * pairs)
    found = {"roc_auc": np.full(len(rows), np.nan), "average_precision": np.full(len(rows), np.nan)}
    for place in np.flatnonzero(known).tolist():
        used = np.flatnonzero(rows[place] > 0.0)[::-1]
        bins = ExpectedBins(rows[place, used], positive[place, used], rise[place, used], np.ones(len(used)), np.inf)
        found["roc_auc"][place], found["average_precision"][place] = bins.area(), bins.precision()
    return found
