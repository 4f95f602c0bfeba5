"""Further figures of realized performance: ranking, single classes, balance, and the loss of a quantile.

All come from the sums that :mod:`.performance` reads, and follow the same rules about what is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.performance import (
    AUC_TOLERANCE,
    AVERAGED,
    METRICS,
    ROUNDING,
    LeastLabels,
    Score,
    class_sums,
    labeled_attributes,
    single_value_bins,
    without_rounding,
)
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.pane import Outcomes
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

PRECISION_TOLERANCE: Final = 0.03
"""The average precision is omitted if the worst order of rows within bins changes it by more. With continuous scores
and 1 % positive rows that is 0.015; the error is then 0.0003, or 0.002 if the rows have weights."""
MICRO: Final = "micro"
_KEYS: Final = METRICS["accuracy"].attributes
_RATIO: Final = semconv.UNIT_RATIO
FURTHER_METRICS: Final = {
    name: Metric(semconv.PERFORMANCE + name, unit, description, keys)
    for name, unit, description, keys in (
        ("specificity", _RATIO, "share of the rows of other classes that were not predicted as the class", AVERAGED),
        ("balanced_accuracy", _RATIO, "mean of recall and specificity, or of the recalls of all classes", _KEYS),
        ("mcc", _RATIO, "Matthews' correlation coefficient of predictions and labels, from -1 to 1", _KEYS),
        ("average_precision", _RATIO, "area under the curve of precision and recall, as a sum of steps", AVERAGED),
        (
            "lift",
            _RATIO,
            "share of positive rows among those with the highest scores, divided by the share among all rows",
            (*_KEYS, semconv.PERFORMANCE_AT),
        ),
        ("quantile_loss", semconv.UNIT_VALUE, "mean pinball loss of a model that predicts a quantile", _KEYS),
    )
}
CLASS_METRICS: Final = {name: METRICS[name] for name in ("precision", "recall", "f1")}


class FurtherPerformanceSettings(Settings):
    """Which further figures of performance are reported."""

    classes: int = Field(
        default=20, ge=0, description="most classes of a multiclass model that get precision, recall and F1, by labels"
    )
    lift_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.1,), description="shares of the rows, those with the highest scores, of which the lift is reported"
    )
    intervals: bool | Literal["anytime"] = Field(
        default=True,
        description="add the 95 % interval of each figure, "
        f"`{semconv.PERFORMANCE_LOWER}` and `{semconv.PERFORMANCE_UPPER}`; `anytime`: wider ones that hold "
        "with 95 % over all looks together, while labels come",
    )
    quantile: float | None = Field(
        default=None, gt=0, lt=1, description="the quantile that a regression predicts; adds its pinball loss"
    )

    @field_validator("intervals", mode="before")
    @classmethod
    def _is_one_choice(cls, value: object) -> object:
        try:
            return value if value == "anytime" else TypeAdapter(bool).validate_python(value)
        except ValidationError:
            raise ValueError("must be true, false or 'anytime'") from None


class FurtherPerformanceMonitor:
    """Specificity, balanced accuracy, Matthews' correlation, average precision, lift, quantile loss; single classes.

    - Binary: specificity = TN / N; balanced accuracy; average precision Σ (Rᵢ − Rᵢ₋₁) Pᵢ over the distinct scores, as
      scikit-learn's; lift at k, the precision among the k rows with the highest scores, divided by the base rate. The
      last two are read from the bins of the score: rows in a bin of one value are ties, others lie evenly. Left out if
      the bins allow an error of more than 0.03 at worst, or 1 % of the lift.
    - Multiclass: precision, recall and F1 of each class (``ml.performance.class``) over all rows, for the classes with
      most labels, and their ``micro`` averages, which equal the accuracy; balanced accuracy.
    - Both: Matthews' correlation, for many classes Gorodkin's R_K. Left out where classes beyond the limit came.
    - Regression with ``quantile`` q: mean of q·(y − ŷ) where y ≥ ŷ, else (1 − q)·(ŷ − y).

    Sources: scikit-learn; J. Gorodkin, Computational Biology and Chemistry 28, 2004; R. Koenker and G. Bassett,
    Econometrica 46, 1978.
    """

    name: ClassVar[str] = "further_performance"
    metrics: ClassVar[Sequence[Metric]] = (*FURTHER_METRICS.values(), *CLASS_METRICS.values())
    sections: ClassVar[Mapping[str, type[Settings]]] = {
        "performance": FurtherPerformanceSettings,
        WINDOW: LeastLabels,
    }

    def __init__(self, settings: FurtherPerformanceSettings, least: LeastLabels) -> None:
        self._settings = settings
        self._min_labels = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the further figures of all groups with enough labels."""
        outcomes, schema = window.pane.outcomes, window.schema
        groups = np.flatnonzero(outcomes.labels >= self._min_labels * (1.0 - ROUNDING)).tolist()
        if not groups:
            return []
        attributes = {group: labeled_attributes(window.model, schema, group) for group in groups}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scores = [*self._scores(schema, outcomes)]
            of_classes = [*self._of_classes(schema, outcomes, attributes[0])] if 0 in attributes else []
        return [
            Measurement(metric.name, value, metric.unit, pairs, window.end_ns)
            for metric, value, pairs in (*_of_groups(schema, scores, attributes), *of_classes)
            if np.isfinite(value)
        ]

    def _scores(self, schema: Schema, outcomes: Outcomes) -> Iterator[tuple[Score, Attributes]]:
        """Yield each figure of all groups, with the attributes that it has besides the group's."""
        if schema.task == "regression":
            if self._settings.quantile is not None:
                yield Score("quantile_loss", pinball(outcomes.errors, self._settings.quantile)), ()
            return
        by_class = class_sums(schema, outcomes)
        yield Score("mcc", matthews(by_class)), ()
        if schema.task != "binary_classification":
            yield Score("balanced_accuracy", balanced(by_class)), ()
            correct = by_class[:, 0].sum(axis=1) / by_class[:, 1].sum(axis=1)
            for name in CLASS_METRICS:
                yield Score(name, correct, MICRO), ((semconv.PERFORMANCE_AVERAGE, MICRO),)
            return
        positive = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
        if positive is None or positive >= by_class.shape[2]:
            return
        hit, labeled, predicted = by_class[:, :, positive].T
        negative = by_class[:, 1].sum(axis=1) - labeled
        specificity = (negative - (predicted - hit)) / negative
        yield Score("specificity", specificity), ()
        yield Score("balanced_accuracy", (hit / labeled + specificity) / 2.0), ()
        column = next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)
        if column is not None:
            hits, edges = outcomes.score_hits, schema.edges[column]
            yield Score("average_precision", average_precision(hits, edges)), ()
            for share in self._settings.lift_at:
                yield Score("lift", lift(hits, edges, share)), ((semconv.PERFORMANCE_AT, f"{share:g}"),)

    def _of_classes(
        self, schema: Schema, outcomes: Outcomes, attributes: Attributes
    ) -> Iterator[tuple[Metric, float, Attributes]]:
        """Yield precision, recall and F1 of the classes with most labels; an undefined one is left out."""
        if schema.task != "multiclass_classification":
            return
        by_class = class_sums(schema, outcomes)[0]
        correct, labeled, predicted = by_class
        for slot in listed_classes(by_class, self._settings.classes):
            pairs = (*attributes, (semconv.PERFORMANCE_CLASS, schema.classes.name(slot)))
            yield CLASS_METRICS["precision"], float(correct[slot] / predicted[slot]), pairs
            yield CLASS_METRICS["recall"], float(correct[slot] / labeled[slot]), pairs
            yield CLASS_METRICS["f1"], float(2.0 * correct[slot] / (labeled[slot] + predicted[slot])), pairs


def listed_classes(by_class: F64, most: int) -> list[int]:
    """Return the slots of the classes with most labels, from ``by_class`` ``[3, K]``, without those that did not come.

    >>> listed_classes(np.array([[0.0, 1, 2, 0], [0, 3, 9, 0], [0, 8, 4, 0]]), 20)
    [2, 1]
    """
    _, labeled, predicted = by_class
    order = np.argsort(-labeled[1:], kind="stable")[:most] + 1
    return order[labeled[order] + predicted[order] > 0.0].tolist()


def _of_groups(
    schema: Schema, scores: Sequence[tuple[Score, Attributes]], attributes: Mapping[int, Attributes]
) -> Iterator[tuple[Metric, float, Attributes]]:
    for score, more in scores:
        metric = FURTHER_METRICS.get(score.name) or METRICS[score.name]
        if metric.unit == semconv.UNIT_VALUE:
            metric = Metric(metric.name, schema.unit, metric.description)
        for group, pairs in attributes.items():
            yield metric, float(score.values[group]), pairs + more


def matthews(by_class: F64) -> F64:
    """Return Matthews' correlation ``[G]`` from ``by_class`` ``[G, 3, K]``: right, labeled, predicted.

    (c·s − Σ pₖtₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²)), with c right rows of s, tₖ labeled and pₖ predicted as class k. NaN if
    labels or predictions are of one class, or where classes beyond the limit (slot 0) came.

    >>> matthews(np.array([[[0.0, 3, 4], [0.0, 5, 5], [0.0, 4, 6]]])).round(4).tolist()
    [0.4082]
    """
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    right, rows = correct.sum(axis=1), labeled.sum(axis=1)
    spread = (rows**2 - (labeled**2).sum(axis=1)) * (rows**2 - (predicted**2).sum(axis=1))
    correlation = (right * rows - (labeled * predicted).sum(axis=1)) / np.sqrt(spread)
    return np.where((spread > ROUNDING * rows**4) & (labeled[:, 0] + predicted[:, 0] <= 0.0), correlation, np.nan)


def balanced(by_class: F64) -> F64:
    """Return the mean recall of the classes that were labeled, ``[G]``; NaN where classes beyond the limit came."""
    correct, labeled, _ = np.moveaxis(by_class, 1, 0)
    there = labeled > 0.0
    recall = np.where(there, correct / np.where(there, labeled, 1.0), 0.0)
    return np.where(there[:, 0], np.nan, recall.sum(axis=1) / there.sum(axis=1))


def pinball(errors: F64, quantile: float) -> F64:
    """Return the mean pinball loss ``[G]`` from the sums of errors, of which Σ abs(e) and Σ e are enough.

    >>> pinball(np.array([[2.0, 4.0, 0, 0, 0, 0, 2.0, 0]]), 0.9).round(2).tolist()  # errors ŷ − y of 3 and −1
    [0.6]
    """
    count, absolute, signed = errors[:, 0], errors[:, 1], errors[:, 6]
    over, under = (absolute + signed) / 2.0, (absolute - signed) / 2.0
    return (quantile * under + (1.0 - quantile) * over) / np.where(count > ROUNDING, count, np.nan)


def average_precision(hits: F64, edges: F64, single: Mask | None = None) -> F64:
    """Return the average precision ``[G]`` from fine bins ``[G, 2, B]`` of negative and positive rows.

    Rows of a bin of one value are ties: their precision is that at the end of the bin. Such bins are ``single``
    ``[B]``, or else those that are as narrow. Rows of others lie evenly: theirs is the mean of the precision at both
    ends. NaN if the order of rows within bins can change the figure by more than :data:`PRECISION_TOLERANCE`, or
    without positive rows.

    >>> hits = np.array([[[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]])  # below one half, one half, above
    >>> average_precision(hits, np.array([0.5, np.nextafter(0.5, 1.0)])).round(4).tolist()
    [0.9167]
    """
    negative, positive = np.moveaxis(without_rounding(hits)[:, :, ::-1], 1, 0)
    single = (single_value_bins(edges, hits.shape[2]) if single is None else single)[::-1]
    found, passed = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = positive / positive.sum(axis=1, keepdims=True)
        at_end = found / (found + passed)
        before = np.nan_to_num((found - positive) / (found + passed - positive - negative), nan=0.0)
        best = found / (found + passed - negative)
        worst = np.nan_to_num((found - positive) / (found - positive + passed), nan=0.0)
    mixed = ~single & (negative > 0.0) & (positive > 0.0)
    # Before the first row there is no precision.
    first = found + passed - positive - negative <= 0.0
    precision = np.where(mixed & ~first, (before + at_end) / 2.0, at_end)
    undecided = np.where(mixed, share * (best - worst), 0.0).sum(axis=1) / 2.0
    area = np.where(positive > 0.0, share * precision, 0.0).sum(axis=1)
    return np.where((undecided <= PRECISION_TOLERANCE) & (positive.sum(axis=1) > 0.0), area, np.nan)


def lift(hits: F64, edges: F64, share: float) -> F64:
    """Return the lift of the share of rows with the highest scores ``[G]``, from fine bins ``[G, 2, B]``.

    The rows of the bin in which the share ends lie evenly, or are ties of which any is taken. NaN if which of them are
    taken can change the lift by more than 1 % of what it is, or without both classes.
    """
    negative, positive = np.moveaxis(without_rounding(hits)[:, :, ::-1], 1, 0)
    rows = negative + positive
    total, positives = rows.sum(axis=1), positive.sum(axis=1)
    wanted = share * total
    above = np.cumsum(rows, axis=1) - rows
    taken = np.clip(wanted[:, None] - above, 0.0, rows)
    part = np.where(rows > 0.0, taken / np.where(rows > 0.0, rows, 1.0), 0.0)
    found = (part * positive).sum(axis=1)
    cut = (part > 0.0) & (part < 1.0)
    single = single_value_bins(edges, hits.shape[2])[::-1]
    most = np.minimum(taken, positive) - np.maximum(taken - negative, 0.0)
    undecided = np.where(cut & ~single, most, 0.0).sum(axis=1) / 2.0
    decided = (undecided <= AUC_TOLERANCE * found) & (positives > 0.0) & (positives < total)
    return np.where(decided, found / wanted / (positives / total), np.nan)
