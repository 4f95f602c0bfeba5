"""Realized performance: predictions compared with their joined labels, for all rows and for each segment.

All formulas are scikit-learn's, computed from sums that add (:mod:`.statistics.outcomes`), vectorized over groups. Two
are approximate: the ROC AUC is as fine as the score's bins, and the calibration error has bins by definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64, Mask, ModelKey
from collector_processor.monitors.attributes import MODEL_KEYS, Attributes, group_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.distinct import SINGLE, above
from collector_processor.statistics.pane import Outcomes
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

ROUNDING: Final = 1e-9
"""Share of all labels below which a count is only the rounding error of retractions, and treated as zero."""
AUC_TOLERANCE: Final = 0.01
"""The ROC AUC is omitted if the bins allow a larger error, which happens when the scores drift out of them."""
SINGLE_BIN: Final = 4.0 * SINGLE
"""A bin of scores is of one value if it is at most this part of it wide: it reaches as far as rounding to float32."""
FURTHER_CLASSES: Final = 0.01
"""Share of classes beyond two from which on the score of a binary model is not the probability of its class."""
VARIANCE_FLOOR: Final = 1e-10
"""Least Σ(y − ȳ)² relative to Σ(y − c)²: below it, labels are constant or too far from c for R² to be precise."""

_KEYS: Final = (*MODEL_KEYS, semconv.PERFORMANCE_SOURCE, semconv.SEGMENT_NAME, semconv.SEGMENT_VALUE)
AVERAGED: Final = (*_KEYS, semconv.PERFORMANCE_AVERAGE, semconv.PERFORMANCE_CLASS)
_RATIO: Final = semconv.UNIT_RATIO
METRICS: Final = {
    name: Metric(semconv.PERFORMANCE + name, unit, description, keys)
    for name, unit, description, keys in (
        ("accuracy", _RATIO, "share of correct predictions", _KEYS),
        ("precision", _RATIO, "share of correct predictions among those of a class", AVERAGED),
        ("recall", _RATIO, "share of the rows of a class that were predicted as that class", AVERAGED),
        ("f1", _RATIO, "harmonic mean of precision and recall", AVERAGED),
        ("roc_auc", _RATIO, "probability that a positive row scores higher than a negative one", AVERAGED),
        ("log_loss", _RATIO, "mean of −ln of the probability given to the true class", _KEYS),
        ("brier", _RATIO, "mean squared difference of score and truth", _KEYS),
        ("calibration_error", _RATIO, "expected calibration error over ten score bins of equal width", _KEYS),
        ("mae", semconv.UNIT_VALUE, "mean absolute error", _KEYS),
        ("rmse", semconv.UNIT_VALUE, "root of the mean squared error", _KEYS),
        ("mape", _RATIO, "mean absolute error relative to the label, of labels that are not 0", _KEYS),
        ("r2", _RATIO, "share of the label's variance that the predictions explain", _KEYS),
    )
}

DROP: Final = Metric(
    semconv.PERFORMANCE_DROP,
    _RATIO,
    "how much worse than in the reference, as a share of the reference's figure; negative if better",
    (*_KEYS, semconv.PERFORMANCE_AVERAGE, semconv.PERFORMANCE_METRIC),
)
_BOUND_KEYS: Final = (
    *_KEYS, semconv.PERFORMANCE_AVERAGE, semconv.PERFORMANCE_CLASS, semconv.PERFORMANCE_AT, semconv.PERFORMANCE_METRIC,
)  # fmt: skip
LOWER: Final = Metric(
    semconv.PERFORMANCE_LOWER,
    _RATIO,
    "lower end of the range in which a figure of performance lies, given the number of rows; of MAE, RMSE and the "
    "quantile loss in their unit",
    _BOUND_KEYS,
)
UPPER: Final = Metric(
    semconv.PERFORMANCE_UPPER,
    _RATIO,
    "upper end of the range in which a figure of performance lies, given the number of rows; of MAE, RMSE and the "
    "quantile loss in their unit",
    _BOUND_KEYS,
)
LOWER_IS_BETTER: Final = frozenset({"log_loss", "brier", "calibration_error", "mae", "rmse", "mape"})
DROP_LABELS: Final = 4
"""A drop needs this many times ``min_labels`` labels, in the window and in the reference: a difference of two noisy
figures raises false alarms."""


class Score(NamedTuple):
    """One metric for all groups: ``values`` ``[G]``, NaN where undefined; ``average`` if there are many classes."""

    name: str
    values: F64
    average: str = ""


class LeastLabels(Settings):
    """How many labels a window needs before its performance is reported."""

    min_labels: int = Field(default=50, ge=1, description="least labels for performance to be reported")


class PerformanceMonitor:
    """Performance from labels, for all groups with at least ``min_labels`` of them (weighted).

    - Binary: accuracy, precision, recall and F1 of the positive class, ROC AUC, log loss, Brier score, expected
      calibration error. Every class except the positive one counts as negative for precision, recall and F1. Figures
      of the score are omitted where more than 1 % of the rows have a third class, those of probabilities where a score
      is not from 0 to 1.
    - Multiclass: accuracy, log loss, and precision, recall and F1 as ``macro`` and ``weighted`` averages over the
      classes that were predicted or true. Averages that classes beyond the model's limit, which are counted together,
      would make wrong are omitted: all but accuracy and the weighted recall.
    - Regression: MAE, RMSE, MAPE, R²; the first two in the unit of the value.

    Undefined figures are omitted: precision without positive predictions, recall without positive labels, the ROC AUC
    of a single class, R² of constant labels. In an average, an undefined precision or recall counts as 0
    (scikit-learn's ``zero_division=0``). With segments, each value has its own measurements, as
    all rows together do.

    Where the reference has labels, each metric also has a drop: (reference − now) / reference, or the opposite sign
    for errors and losses, from four times ``min_labels`` on. It needs a reference figure above 0.
    """

    name: ClassVar[str] = "performance"
    metrics: ClassVar[Sequence[Metric]] = (*METRICS.values(), DROP)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self.min_labels = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's performance, and how much worse it is than the reference's."""
        outcomes, schema = window.pane.outcomes, window.schema
        enough = outcomes.labels >= self.min_labels * (1.0 - ROUNDING)
        if not enough.any():
            return []
        groups = [(group, labeled_attributes(window.model, schema, group)) for group in np.flatnonzero(enough).tolist()]
        measurements: list[Measurement] = []
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scores = list(performance(schema, outcomes))
        for score in scores:
            metric = METRICS[score.name]
            unit = schema.unit if metric.unit == semconv.UNIT_VALUE else metric.unit
            average = ((semconv.PERFORMANCE_AVERAGE, score.average),) if score.average else ()
            measurements += [
                Measurement(metric.name, float(score.values[group]), unit, attributes + average, window.end_ns)
                for group, attributes in groups
                if np.isfinite(score.values[group])
            ]
        return measurements + list(self._drops(window, reference, scores))

    def _drops(self, window: Window, reference: Reference, scores: Sequence[Score]) -> Iterator[Measurement]:
        """Return how much worse each score is than the reference's, for groups with enough labels on both sides."""
        least = DROP_LABELS * self.min_labels * (1.0 - ROUNDING)
        then = reference.pane.outcomes.labels >= least
        if not then.any():
            return
        known, now = reference.prepared(_reference_scores), window.pane.outcomes.labels >= least
        for score in scores:
            before = known.get((score.name, score.average))
            if before is None:
                continue
            size = min(len(before), len(score.values))
            enough = then[:size] & now[:size]
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                change = (score.values[:size] - before[:size]) / before[:size]
            drop = change if score.name in LOWER_IS_BETTER else -change
            average = ((semconv.PERFORMANCE_AVERAGE, score.average),) if score.average else ()
            last = (*average, (semconv.PERFORMANCE_METRIC, score.name))
            for group in np.flatnonzero(enough & np.isfinite(drop)).tolist():
                attributes = labeled_attributes(window.model, window.schema, group) + last
                yield Measurement(DROP.name, float(drop[group]), DROP.unit, attributes, window.end_ns)


def _reference_scores(reference: Reference) -> Mapping[tuple[str, str], F64]:
    """Return the reference's scores ``[G]`` by (name, average), NaN where they are not above 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return {
            (score.name, score.average): np.where(score.values > 0.0, score.values, np.nan)
            for score in performance(reference.schema, reference.pane.outcomes)
        }


def labeled_attributes(model: ModelKey, schema: Schema, group: int, source: str = semconv.SOURCE_LABELS) -> Attributes:
    """Return the pairs of one group: model, source, segment and its value; the group of all rows has no segment."""
    name, version, *segment = group_attributes(model, schema, group)
    return name, version, (semconv.PERFORMANCE_SOURCE, source), *segment


def performance(schema: Schema, outcomes: Outcomes) -> Iterator[Score]:
    """Return every metric of the model's task from its sums; division by zero gives NaN, which is omitted later."""
    if schema.task == "regression":
        yield from regression(outcomes.errors)
        return
    by_class, probable = class_sums(schema, outcomes), are_probabilities(schema, outcomes)
    yield Score("accuracy", by_class[:, 0].sum(axis=1) / by_class[:, 1].sum(axis=1))
    if schema.task != "binary_classification":
        yield from multiclass(by_class)
        yield from log_loss(outcomes)
    elif schema.positive_class:
        positive = schema.classes.find(0, schema.positive_class)
        yield from binary(by_class, positive)
        yield from probabilistic(schema, outcomes, _has_two_classes(by_class, positive), probable)


def class_sums(schema: Schema, outcomes: Outcomes) -> F64:
    """Return ``by_class`` ``[G, 3, K]`` without remains of rounding; 0 in groups whose classes were not decided."""
    by_class = without_rounding(outcomes.by_class)
    if any(spec.role == "prediction" for spec in schema.categorical):
        return by_class
    # The class was decided from the score, which takes a probability, and a positive class for every label.
    decided = are_probabilities(schema, outcomes) & ~undecided_labels(schema, outcomes)
    return np.where(decided[:, None, None], by_class, 0.0)


def log_loss(outcomes: Outcomes) -> Iterator[Score]:
    """Multiclass log loss, if the probability of the true class is known for every label of a row with scores."""
    count, unknown, loss = without_rounding(outcomes.scored).T
    yield Score("log_loss", np.where(unknown <= 0.0, loss / count, np.nan))


def binary(by_class: F64, positive: int | None) -> Iterator[Score]:
    """Metrics of the positive class (a slot) from ``by_class`` ``[G, 3, K]``: right, labeled, predicted."""
    if positive is None or positive >= by_class.shape[2]:
        true_positive = predicted = labeled = np.zeros(len(by_class))
    else:
        true_positive, labeled, predicted = by_class[:, :, positive].T
    yield Score("precision", true_positive / predicted)
    yield Score("recall", true_positive / labeled)
    yield Score("f1", 2.0 * true_positive / (predicted + labeled))


def probabilistic(schema: Schema, outcomes: Outcomes, two_classes: Mask, probable: Mask) -> Iterator[Score]:
    """Metrics of the positive class's probability: ranking, squared error, calibration.

    Only of groups with two classes, and all but the ranking only where all scores are probabilities; bool ``[G]``.
    """
    column = next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)
    if column is not None:
        area = roc_auc(outcomes.score_hits, schema.edges[column])
        yield Score("roc_auc", np.where(two_classes, area, np.nan))
    scored = np.where((two_classes & probable)[:, None], without_rounding(outcomes.scored), np.nan)
    yield Score("brier", scored[:, 1] / scored[:, 0])
    yield Score("log_loss", scored[:, 2] / scored[:, 0])
    count, score, positive = np.moveaxis(without_rounding(outcomes.calibration), 1, 0)
    error = np.abs(score - positive).sum(axis=1) / count.sum(axis=1)
    yield Score("calibration_error", np.where(two_classes & probable, error, np.nan))


def undecided_labels(schema: Schema, outcomes: Outcomes) -> Mask:
    """Return the groups of a binary task with labels that came before scores could decide a class, bool ``[G]``.

    Until a second class is known, no class is positive. Those labels are all of the first class, so that the rest
    without them would not show how good the model is.
    """
    if schema.task != "binary_classification" or any(spec.role == "prediction" for spec in schema.categorical):
        return np.zeros(len(outcomes.scored), np.bool_)
    scored, decided = outcomes.scored[:, 0], outcomes.by_class[:, 1].sum(axis=1)
    rounding = ROUNDING * np.abs(scored).max(initial=0.0)
    return (decided > rounding) & (scored - decided > rounding)


def are_probabilities(schema: Schema, outcomes: Outcomes) -> Mask:
    """Return the groups in which all scores that were ranked are from 0 to 1, bool ``[G]``."""
    ranked = outcomes.score_hits.sum(axis=(1, 2))
    if schema.task != "binary_classification":
        return np.ones(len(ranked), np.bool_)
    return outcomes.scored[:, 0] >= ranked - ROUNDING * np.abs(ranked).max(initial=0.0)


def _has_two_classes(by_class: F64, positive: int | None) -> Mask:
    """Return the groups in which all but :data:`FURTHER_CLASSES` is the positive class or one other, bool ``[G]``."""
    rows = by_class[:, 1:].sum(axis=1)
    others = np.delete(rows, positive, axis=1) if positive is not None and positive < rows.shape[1] else rows
    further = others.sum(axis=1) - others.max(axis=1, initial=0.0)
    return further <= FURTHER_CLASSES * rows.sum(axis=1)


def roc_auc(hits: F64, edges: F64, single: Mask | None = None) -> F64:
    """Return the area under the ROC curve ``[G]`` from fine bins ``[G, 2, B]`` of negative and positive rows.

    Rows in one bin count as ties, which is exact for bins of a single value: ``single`` ``[B]``, or else those that are
    as narrow. NaN if other bins hold enough pairs for the area to be wrong by more than :data:`AUC_TOLERANCE`, or if a
    class has no rows.

    >>> hits = np.array([[[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]])  # below one half, one half, above
    >>> roc_auc(hits, np.array([0.5, np.nextafter(0.5, 1.0)])).round(3).tolist()
    [0.944]
    """
    negative, positive = np.moveaxis(without_rounding(hits), 1, 0)
    pairs = negative.sum(axis=1) * positive.sum(axis=1)
    tied = negative * positive
    area = ((np.cumsum(negative, axis=1) - negative) * positive + tied / 2.0).sum(axis=1) / pairs
    single = single_value_bins(edges, hits.shape[2]) if single is None else single
    undecided = tied[:, ~single].sum(axis=1) / 2.0 / pairs
    return np.where(undecided <= AUC_TOLERANCE, area, np.nan)


def single_value_bins(edges: F64, bins: int) -> Mask:
    """Return which of the bins between edges ``[E]`` are of one value, bool ``[bins]``."""
    single = np.zeros(bins, np.bool_)
    with np.errstate(invalid="ignore"):  # padding
        reach = SINGLE_BIN * np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
        single[1 : len(edges)] = (edges[1:] - edges[:-1] <= reach) | (above(edges[:-1]) == edges[1:])
    return single


def multiclass(by_class: F64) -> Iterator[Score]:
    """Averages over classes from ``by_class`` ``[G, 3, K]``: right, labeled, predicted.

    Slot 0 has all classes beyond the limit. Where it has rows, only the weighted recall is known: each class's weight
    cancels its divisor.
    """
    correct, labeled, predicted = np.moveaxis(by_class, 1, 0)
    present = labeled + predicted > 0.0
    complete = ~present[:, 0]
    ratios = {
        "precision": _or_zero(correct, predicted),
        "recall": _or_zero(correct, labeled),
        "f1": _or_zero(2.0 * correct, labeled + predicted),
    }
    weights: tuple[tuple[str, F64], ...] = (("macro", present.astype(np.float64)), ("weighted", labeled))
    for name, values in ratios.items():
        for average, weight in weights:
            score = (values * weight).sum(axis=1) / weight.sum(axis=1)
            exact = complete | ((name, average) == ("recall", "weighted"))
            yield Score(name, np.where(exact, score, np.nan), average)


def regression(errors: F64) -> Iterator[Score]:
    """Metrics from the sums ``[G, 8]`` that :mod:`.outcomes` describes."""
    count, absolute, squared, relative, shifted, shifted_squared, _, zeros = errors.T
    count = np.where(count > ROUNDING, count, 0.0)
    yield Score("mae", absolute / count)
    yield Score("rmse", np.sqrt(np.maximum(squared, 0.0) / count))
    # Above 0, the sum is of version 0.1.0: the size of errors of labels that are 0, and their number is unknown.
    compared = np.where(zeros <= ROUNDING, count + zeros, np.nan)
    yield Score("mape", np.where(compared > ROUNDING, relative / compared, np.nan))
    variation = shifted_squared - shifted**2 / count
    yield Score("r2", np.where(variation > VARIANCE_FLOOR * shifted_squared, 1.0 - squared / variation, np.nan))


def _or_zero(numerator: F64, denominator: F64) -> F64:
    """Return the quotient, 0 where it is undefined."""
    return np.where(denominator > 0.0, numerator / np.where(denominator > 0.0, denominator, 1.0), 0.0)


def without_rounding(sums: F64) -> F64:
    """Return sums ``[G, …]`` of values that are never negative, without the tiny remains of retractions."""
    largest = np.abs(sums).reshape(len(sums), -1).max(axis=1, initial=0.0)
    return np.where(sums > ROUNDING * largest.reshape(-1, *[1] * (sums.ndim - 1)), sums, 0.0)
