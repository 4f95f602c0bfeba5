"""Realized figures of each class beside all others: specificity from counts, ranking from the bins of its score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.estimated_classes import TIED
from collector_processor.monitors.further_performance import (
    FURTHER_METRICS,
    FurtherPerformanceSettings,
    average_precision,
    listed_classes,
)
from collector_processor.monitors.left_out import NAMED, LeftOut
from collector_processor.monitors.performance import (
    METRICS,
    ROUNDING,
    LeastLabels,
    class_sums,
    labeled_attributes,
    roc_auc,
    without_rounding,
)
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.settings.base import Settings
from collector_processor.statistics.estimates import class_curves
from collector_processor.statistics.parts.class_estimates import ClassEstimates
from collector_processor.statistics.parts.class_ranks import ClassRanks
from collector_processor.window.closed import Window
from otel_ml import semconv

WITHOUT: Final = 0.01
"""Share of labels of rows that lack a score from which on there is no ranking: it would be that of other rows."""
_RANKED: Final = {"roc_auc": "ROC AUC", "average_precision": "average precision"}
MACRO: Final = (semconv.PERFORMANCE_AVERAGE, "macro")


class ClassRankingMonitor:
    """Specificity, ROC AUC and average precision of a multiclass model, of each class beside all others.

    Means over the classes that were labeled (``macro``; the specificity over those that were labeled or predicted, for
    each segment too), and those of the classes with most labels. Ranking is read from the bins in which the reference
    cut the scores of each class; rows of a bin in which the reference has one value are ties. Left out where that
    allows an error of more than 0.01 of the ROC AUC, or 0.03 of the average precision, and where more than 1 % of the
    labels are of predictions without the scores of all classes; means also where more than 1 % are of a class without
    scores. Source: scikit-learn.
    """

    name: ClassVar[str] = "class_ranking"
    metrics: ClassVar[Sequence[Metric]] = (
        FURTHER_METRICS["specificity"], METRICS["roc_auc"], FURTHER_METRICS["average_precision"],
    )  # fmt: skip
    sections: ClassVar[Mapping[str, type[Settings]]] = {
        "performance": FurtherPerformanceSettings,
        WINDOW: LeastLabels,
    }

    def __init__(self, settings: FurtherPerformanceSettings, least: LeastLabels) -> None:
        self._most_classes = settings.classes
        self._min_labels = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the figures of all groups with enough labels; ranking and single classes of all rows only."""
        outcomes, schema = window.pane.outcomes, window.schema
        enough = outcomes.labels >= self._min_labels * (1.0 - ROUNDING)
        if schema.task != "multiclass_classification" or not enough.any():
            return []
        by_class = class_sums(schema, outcomes)
        macro = {("specificity", group): value for group, value in enumerate(macro_specificity(by_class).tolist())}
        found: list[Measurement] = []
        each: dict[str, F64] = {}
        if enough[0]:
            each = realized_ranking(window, reference)
            macro |= {
                (name, 0): value for name, values in each.items() if np.isfinite(value := mean_of_labeled(values))
            }
            each["specificity"] = specificity(by_class[:1])[0]
        for (name, group), value in macro.items():
            if enough[group] and np.isfinite(value):
                attributes = (*labeled_attributes(window.model, schema, group), MACRO)
                found.append(_point(name, value, attributes, window))
        slots = listed_classes(by_class[0], self._most_classes) if enough[0] else []
        for name, slot in ((name, slot) for name in each for slot in slots):
            if slot < len(each[name]) and np.isfinite(value := float(each[name][slot])):
                of_class = (semconv.PERFORMANCE_CLASS, schema.classes.name(slot))
                found.append(_point(name, value, (*labeled_attributes(window.model, schema, 0), of_class), window))
        return found

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield that the ranking of all rows is left out, although its reference has scores of all classes."""
        schema, labels = window.schema, float(window.pane.outcomes.labels[0])
        if class_curves(schema) is None or labels < self._min_labels * (1.0 - ROUNDING):
            return
        present = {(item.name, item.attributes) for item in measured}
        macro = (*labeled_attributes(window.model, schema, 0), MACRO)
        absent = [name for name in _RANKED if (semconv.PERFORMANCE + name, macro) not in present]
        if not absent:
            return
        share = _without_scores(window)
        if share > WITHOUT:
            yield LeftOut(
                "without_scores",
                len(absent),
                f"ROC AUC and average precision are left out: for {share:.0%} of the labels, the scores of some "
                "classes are missing",
            )
            return
        share = _of_other_classes(window)
        if share > WITHOUT:
            which = " and ".join(_RANKED[name] for name in absent)
            text = f"means of {which} over the classes are left out"
            text += f": {share:.0%} of the labels are of classes without scores"
            yield LeftOut("without_scores", len(absent), text)
            return
        found = realized_ranking(window, reference)
        if not found or np.count_nonzero(~np.isneginf(found["roc_auc"])) < 2:
            return  # without rows of both sides
        undecided = np.flatnonzero(np.any([np.isnan(found[name]) for name in absent], axis=0)).tolist()
        classes = listed([repr(schema.classes.name(slot)) for slot in undecided], NAMED)
        which = " and ".join(_RANKED[name] for name in absent)
        text = f"{which} of {classes}, and the mean over the classes, are left out"
        yield LeftOut("undecided", len(absent) * (len(undecided) + 1), f"{text}: the bins of the scores do not decide")


def specificity(by_class: F64) -> F64:
    """Return the specificity of each class ``[G, K]`` from ``by_class`` ``[G, 3, K]``: right, labeled, predicted.

    NaN for a class that was neither labeled nor predicted; 0 if all rows are of it, as scikit-learn has it.

    >>> specificity(np.array([[[0.0, 3, 4], [0.0, 4, 6], [0.0, 5, 5]]])).round(3).tolist()
    [[nan, 0.667, 0.75]]
    """
    right, labeled, predicted = np.moveaxis(by_class, 1, 0)
    rest = labeled.sum(axis=1, keepdims=True) - labeled
    some = np.where(rest > 0.0, rest, 1.0)
    share = np.where(rest > 0.0, np.clip((rest - predicted + right) / some, 0.0, 1.0), 0.0)
    return np.where(labeled + predicted > 0.0, share, np.nan)


def macro_specificity(by_class: F64) -> F64:
    """Return the mean over the classes that came ``[G]``; NaN without any, and where classes beyond the limit came."""
    each = specificity(by_class)
    there = np.isfinite(each)
    count = there.sum(axis=1)
    mean = np.where(there, each, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where((count > 0) & ~there[:, 0], mean, np.nan)


def realized_ranking(window: Window, reference: Reference) -> dict[str, F64]:
    """Return ROC AUC and average precision by class slot; nothing without scores of all classes.

    NaN where the bins do not decide it, and −∞ for a class that was not labeled, which has none. The first slot is NaN
    if labels are of classes without scores.
    """
    fit, by_score = class_curves(window.schema), window.pane.further[ClassRanks].by_score
    if fit is None or not by_score.size or not _without_scores(window) <= WITHOUT:
        return {}
    hits = without_rounding(by_score)
    size = max(len(window.schema.classes), int(fit.slots.max()) + 1)
    found = {name: np.full(size, np.nan) for name in ("roc_auc", "average_precision")}
    with np.errstate(divide="ignore", invalid="ignore"):
        places = zip(fit.slots.tolist(), fit.edges, hits, *reference.prepared(_ties), strict=True)
        for slot, edges, of_class, single, empty in places:
            area, both = roc_auc(of_class[None], edges, single)[0], of_class.sum(axis=1).all()
            precision = average_precision(of_class[None], edges, single | empty)[0]
            found["roc_auc"][slot] = area
            found["average_precision"][slot] = precision if np.isfinite(area) or not both else np.nan
    came = np.zeros(size, np.bool_)
    came[fit.slots] = hits[:, 1].sum(axis=1) > 0.0
    if _of_other_classes(window) > WITHOUT:
        came[0] = True  # their figures are not known
    return {name: np.where(came, values, -np.inf) for name, values in found.items()}


def _without_scores(window: Window) -> float:
    """Return the share of the labels that are of rows without the scores of all classes."""
    labels = float(window.pane.outcomes.labels[0])
    by_score = without_rounding(window.pane.further[ClassRanks].by_score)
    scored = float(by_score[0].sum()) if len(by_score) else 0.0
    return abs(scored - labels) / labels if labels > 0.0 else 0.0


def _of_other_classes(window: Window) -> float:
    """Return the share of the labels of scored rows that are of classes without scores."""
    by_score = without_rounding(window.pane.further[ClassRanks].by_score)
    scored = float(by_score[0].sum()) if len(by_score) else 0.0
    return (scored - float(by_score[:, 1].sum())) / scored if scored > 0.0 else 0.0


def _ties(reference: Reference) -> tuple[Mask, Mask]:
    """Return the bins in which all of several rows of the reference have one score, and those without rows ``[K, B]``.

    A score that comes rounded to float32 may be in the bin beside its own, which is empty.
    """
    rows, _, places, squares, _ = np.moveaxis(reference.pane.further[ClassEstimates].by_score, 1, 0)
    some = np.where(rows > 0.0, rows, 1.0)
    return (rows > 1.0) & (squares / some - (places / some) ** 2 <= TIED), rows <= 0.0


def mean_of_labeled(values: F64) -> float:
    """Return the mean over the classes that came; NaN if one of them is unknown.

    >>> mean_of_labeled(np.array([0.9, 0.7, -np.inf])), mean_of_labeled(np.array([0.9, np.nan]))
    (0.8, nan)
    """
    came = values[~np.isneginf(values)]
    return float(came.mean()) if len(came) else float("nan")


def _point(name: str, value: float, attributes: Attributes, window: Window) -> Measurement:
    metric = METRICS.get(name) or FURTHER_METRICS[name]
    return Measurement(metric.name, value, metric.unit, attributes, window.end_ns)
