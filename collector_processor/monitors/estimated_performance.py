"""Performance before the labels come: what calibrated scores expect of them (CBPE), from sums that add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.attributes import SEGMENT_KEYS, Attributes
from collector_processor.monitors.attributes import group_attributes as attributes_of
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.estimate_settings import ADAPTIVE, EstimateSettings
from collector_processor.monitors.expected_ranking import ExpectedBins
from collector_processor.monitors.further_performance import FURTHER_METRICS
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.monitors.left_out import LeftOut, left_out_ranking, unranked
from collector_processor.monitors.performance import LOWER, METRICS, ROUNDING, UPPER, LeastLabels, labeled_attributes
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.accumulate import SCORE_COLUMN
from collector_processor.statistics.estimates import adaptive_trees, class_curves, positive_curve
from collector_processor.statistics.fits.baseline import Baseline, Figure
from collector_processor.statistics.fits.calibration import Curve
from collector_processor.statistics.parts.adaptive import AdaptiveSums
from collector_processor.statistics.parts.class_estimates import ClassEstimates
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.statistics.parts.group_scores import GroupScores, group_edges
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

WITHOUT: Final = 0.01
"""Share of rows without an estimate from which on a group's figures are left out: they would be those of other rows."""
RANKING: Final = ("roc_auc", "average_precision")
"""The figures that the order of the scores decides."""
_RATIO: Final = semconv.UNIT_RATIO
_OF_ALL: Final = tuple(key for key in LOWER.attributes if key not in (semconv.SEGMENT_NAME, semconv.SEGMENT_VALUE))
_SCORES: Final = semconv.PREDICTION_SCORES
_KEYS: Final = METRICS["accuracy"].attributes
_SHARES: Final = {
    "true_positives": "share of the rows that are predicted as positive, and are",
    "false_positives": "share of the rows that are predicted as positive, and are not",
    "false_negatives": "share of the rows that are predicted as negative, and are not",
    "true_negatives": "share of the rows that are predicted as negative, and are",
}
ESTIMATED_METRICS: Final[Mapping[str, Metric]] = {
    **{name: METRICS[name] for name in ("accuracy", "precision", "recall", "f1", "roc_auc")},
    **{name: FURTHER_METRICS[name] for name in ("specificity", "average_precision")},
    **{name: Metric(semconv.PERFORMANCE + name, _RATIO, text, _KEYS) for name, text in _SHARES.items()},
}
LOWER_LIMIT: Final = Metric(
    semconv.PERFORMANCE_LOWER_LIMIT,
    _RATIO,
    "three standard deviations below the mean of a figure over ten parts of the reference",
    _OF_ALL,
)
UPPER_LIMIT: Final = Metric(
    semconv.PERFORMANCE_UPPER_LIMIT,
    _RATIO,
    "three standard deviations above the mean of a figure over ten parts of the reference",
    _OF_ALL,
)
UNSUPPORTED: Final = Metric(
    semconv.ESTIMATE_UNSUPPORTED,
    _RATIO,
    "share of the rows that have fewer than 30 rows of the reference like them, or a category or number that it lacks: "
    "where it is large, estimated performance is not to be relied on",
    SEGMENT_KEYS,
)


class EstimatedPerformanceMonitor:
    """Confidence-based performance estimation of a binary model whose reference has labels.

    Each prediction counts as right with the probability that its calibrated score gives: accuracy, precision, recall,
    F1, specificity and the shares of the four outcomes, ROC AUC and average precision, for all rows and each segment.
    The latter two where the bins of the score decide them: to 1e-4, those of a segment to 1e-3. Around each, the band
    in which the figure of the labels will lie with 95 %, and the limits that ten parts of the reference give. Figures,
    limits, and the band of three standard errors (``band: nannyml``) are equal to NannyML 0.13.1's.

    The assumption is that a score means what it meant in the reference: a changed population is seen, a changed world
    is not. Labels show that (``ml.concept.divergence``).

    Where the reference has trees that look at the features, and unless ``method`` is ``cbpe``, they correct each
    probability: see ``docs/methods/adaptive_estimate.md``. ``ml.estimate.unsupported`` says how far they can.

    Left out: groups with fewer than ``min_labels`` rows, or with more than 1 % without an estimate, and what has no
    denominator. Source: NannyML; J. Kivimäki et al., "Performance estimation in binary classification using calibrated
    confidence", 2025.
    """

    name: ClassVar[str] = "estimated_performance"
    metrics: ClassVar[Sequence[Metric]] = (
        *ESTIMATED_METRICS.values(),
        LOWER,
        UPPER,
        LOWER_LIMIT,
        UPPER_LIMIT,
        UNSUPPORTED,
    )
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels, "estimate": EstimateSettings}

    def __init__(self, least: LeastLabels, settings: EstimateSettings) -> None:
        self._least_rows = least.min_labels
        self._adaptive = settings.method == ADAPTIVE
        self._settings = settings

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the estimated figures of all groups with enough rows."""
        curve = positive_curve(window.schema)
        if curve is None:
            return []
        sums = window.pane.further[EstimatedSums]
        weight = sums.by_class[:, :, 0].sum(axis=1)
        known = known_groups(weight, sums.without, self._least_rows)
        moved = adaptive_sums(window) if self._adaptive else None
        by_class = sums.by_class
        if moved is not None:
            by_class, evaluated = corrected(by_class, moved)
            known &= evaluated >= self._least_rows
        groups = np.flatnonzero(known).tolist()
        if not groups:
            return []
        with np.errstate(divide="ignore", invalid="ignore"):
            figures = confusion(by_class)
        ranked = ranking(window, reference, curve, None if moved is None else moved.by_score) if groups[0] == 0 else {}
        figures |= group_ranking(window, curve, weight, groups, ranked, adaptive=moved is not None)
        rows, labeled = weight * rows_per_weight(window.pane), labeled_rows(reference)
        baseline = window.schema.fit(Baseline)
        usual = {} if baseline is None else baseline.figures
        found: list[Measurement] = []
        for group in groups:
            margin = partial(self._settings.margin, rows=float(rows[group]), labeled=labeled)
            found += of_group(window, group, figures, usual, margin)
            if moved is not None:
                found += _unsupported(window, group, moved)
        return [each for each in found if np.isfinite(each.value)]

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield that the ranking of groups is left out."""
        del reference
        if window.schema.task != "binary_classification":
            return
        groups = unranked(window, measured)
        lacking = [group for group in groups if group and not _is_whole(window, group)]
        undecided = [group for group in groups if group not in lacking]
        yield from left_out_ranking(window.schema, "undecided", undecided, "the bins of the score do not decide them")
        yield from left_out_ranking(window.schema, "incomplete", lacking, "some rows came before an upgrade")


def labeled_rows(reference: Reference) -> float:
    """Return how many labeled rows a reference has; rows of a sample count as one each."""
    return float(reference.pane.outcomes.labels[0]) * rows_per_weight(reference.pane)


def known_groups(rows: F64, missing: F64, least: float) -> Mask:
    """Return the groups with enough rows, nearly all of which have an estimate, bool ``[G]``.

    ``rows`` ``[G]`` have one; ``missing`` are those that lack it, of perhaps fewer groups.
    """
    without = np.zeros(len(rows))
    without[: len(missing)] = missing[: len(rows)]
    return (rows >= least * (1.0 - ROUNDING)) & (without <= WITHOUT * (rows + without))


def adaptive_sums(window: Window) -> AdaptiveSums | None:
    """Return how far the adaptive estimate is from the calibrated one; None where it does not exist."""
    return None if adaptive_trees(window.schema) is None else window.pane.further[AdaptiveSums]


def corrected(by_class: F64, moved: AdaptiveSums) -> tuple[F64, F64]:
    """Return calibrated sums ``[G, 2, 3]`` as the adaptive estimate has them, and the evaluated rows ``[G]``.

    A segment value that only one of the two has seen yet has no evaluated rows.
    """
    size = min(len(by_class), len(moved.by_class))
    found, evaluated = by_class.copy(), np.zeros(len(by_class))
    positives = by_class[:size, :, 1:].sum(axis=2) + moved.by_class[:size, :, 1]
    found[:size, :, 1] = np.clip(positives, 0.0, np.maximum(by_class[:size, :, 0], 0.0))
    found[:size, :, 2] = 0.0
    evaluated[:size] = moved.evaluated[:size]
    return found, evaluated


def share_without(window: Window) -> float:
    """Return the share of a window's predictions that have no estimate although the reference has a calibration."""
    for sums in (window.pane.further[EstimatedSums], window.pane.further[ClassEstimates]):
        without, rows = float(sums.without[:1].sum()), float(sums.by_class[:1, :, 0].sum())
        if without > 0.0:
            return without / (rows + without)
    return 0.0


def confusion(by_class: F64) -> dict[str, F64]:
    """Return the figures that the sums ``[G, 2, 3]`` decide, ``[G]`` each; NaN where undefined.

    >>> sums = np.array([[[4.0, 1.0, 0.0], [6.0, 5.0, 0.0]]])  # 4 predicted as negative, one of them positive
    >>> {name: values.round(3).tolist() for name, values in confusion(sums).items()}["accuracy"]
    [0.8]
    """
    (negatives, positives), (missed, hit) = by_class[:, :, 0].T, (by_class[:, :, 1] + by_class[:, :, 2]).T
    false, rest = positives - hit, negatives - missed
    rows = negatives + positives
    return {
        "accuracy": (hit + rest) / rows,
        "precision": hit / positives,
        "recall": hit / (hit + missed),
        "f1": 2.0 * hit / (2.0 * hit + false + missed),
        "specificity": rest / (rest + false),
        "true_positives": hit / rows,
        "false_positives": false / rows,
        "false_negatives": missed / rows,
        "true_negatives": rest / rows,
    }


def ranking(window: Window, reference: Reference, curve: Curve, moved: F64 | None = None) -> dict[str, F64]:
    """Return the figures of all rows that the order of the scores decides, ``[1]`` each; NaN where they are unsure.

    ``moved`` ``[B]`` is what the adaptive estimate adds to the expected positives of each bin of the score.
    """
    schema, pane = window.schema, window.pane
    if SCORE_COLUMN not in schema.numeric:
        return {}
    place = schema.numeric.index(SCORE_COLUMN)
    scale = rows_per_weight(pane)
    bins = ExpectedBins.of(
        curve,
        schema.edges[place],
        pane.counts[place] * scale,
        pane.excess[place] * scale,
        reference.pane.counts[place],
        None if moved is None else moved * scale,
    )
    figures = {"roc_auc": bins.area(), "average_precision": bins.precision()}
    return {name: np.clip([value], 0.0, 1.0) for name, value in figures.items()}


def group_ranking(
    window: Window, curve: Curve, weight: F64, groups: Sequence[int], ranked: Mapping[str, F64], *, adaptive: bool
) -> dict[str, F64]:
    """Return the figures of ranking of all groups ``[G]``, NaN where they are unsure; ``ranked`` are those of all rows.

    A segment value whose sums by score lack some of its rows, those from before an upgrade, has none.
    """
    figures = {name: np.full(len(weight), np.nan) for name in RANKING}
    for name, values in ranked.items():
        figures[name][0] = values[0]
    edges, sums = group_edges(window.schema), window.pane.further[GroupScores]
    if edges is None:
        return figures
    scale = rows_per_weight(window.pane)
    for group in groups:
        if not 0 < group < len(sums.by_score):
            continue
        by_score = sums.by_score[group]
        moved = sums.moved[group] * scale if adaptive and group < len(sums.moved) else None
        if not _is_whole(window, group):
            continue
        bins = ExpectedBins.of_group(curve, edges, by_score * scale, moved)
        for name, value in zip(RANKING, (bins.area(), bins.precision()), strict=True):
            figures[name][group] = np.clip(value, 0.0, 1.0)
    return figures


def _is_whole(window: Window, group: int) -> bool:
    """Return whether the sums by score have all rows of a group with an estimate."""
    by_score, by_class = window.pane.further[GroupScores].by_score, window.pane.further[EstimatedSums].by_class
    weight = float(by_class[group, :, 0].sum())
    return group < len(by_score) and abs(float(by_score[group, 0].sum()) - weight) <= 1e-6 * weight


def _unsupported(window: Window, group: int, moved: AdaptiveSums) -> Iterator[Measurement]:
    """Yield the share of a group's evaluated rows that have few rows of the reference like them, or none."""
    weight = float(moved.by_class[group, :, 0].sum())
    if weight > 0.0:
        share = min(max(float(moved.unsupported[group]) / weight, 0.0), 1.0)
        attributes = attributes_of(window.model, window.schema, group)
        yield Measurement(UNSUPPORTED.name, share, UNSUPPORTED.unit, attributes, window.end_ns)


def of_group(
    window: Window,
    group: int,
    figures: Mapping[str, F64],
    known: Mapping[str, Figure],
    margin_of: Callable[[Figure], float],
    average: Attributes = (),
) -> Iterator[Measurement]:
    """Yield the figures of a group, each with its band, and those of all rows with their limits.

    All but the accuracy are of the positive class, or the ``average`` over the classes. A band reaches as far from
    a figure as ``margin_of`` it.
    """
    attributes = labeled_attributes(window.model, window.schema, group, semconv.SOURCE_ESTIMATED)

    def point(metric: Metric, value: float, more: Attributes) -> Measurement:
        return Measurement(metric.name, value, metric.unit, attributes + more, window.end_ns)

    for name, values in figures.items():
        if group >= len(values) or not np.isfinite(value := float(values[group])):
            continue
        of_classes = () if name == "accuracy" else average
        yield point(ESTIMATED_METRICS[name], value, of_classes)
        figure, of_metric = known.get(name), (*of_classes, (semconv.PERFORMANCE_METRIC, name))
        if figure is None:
            continue
        margin = margin_of(figure)
        yield point(LOWER, max(value - margin, 0.0), of_metric)
        yield point(UPPER, min(value + margin, 1.0), of_metric)
        if group == 0:
            yield point(LOWER_LIMIT, figure.low, of_metric)
            yield point(UPPER_LIMIT, figure.high, of_metric)


def without_estimate(reference: Reference) -> str:
    """Return why a model with this reference has no estimated performance; empty if it has, or cannot have one."""
    schema: Schema = reference.schema
    if schema.task == "multiclass_classification":
        return "" if class_curves(schema) is not None else _without_classes(reference)
    if schema.task != "binary_classification" or positive_curve(schema) is not None:
        return ""
    if not reference.pane.outcomes.labels[0] > 0.0:
        why = "its reference has no labels"
    elif SCORE_COLUMN not in schema.numeric:
        why = "its reference has no scores"
    else:
        why = "the labels of its reference are few, of one class, or rarer with higher scores"
    return f"performance is not estimated before labels come: {why}"


def _without_classes(reference: Reference) -> str:
    if not reference.pane.outcomes.labels[0] > 0.0:
        why = "its reference has no labels"
    else:
        why = f"its reference has too few rows with a label and a score from 0 to 1 of each class ({_SCORES})"
    return f"performance is not estimated before labels come: {why}"
