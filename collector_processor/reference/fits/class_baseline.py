"""Figures of a multiclass model over the reference: what was realized, and how far one row's part in it varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.ranks import Spread, area_deviation, average_precision, drawn_deviation, roc_auc
from collector_processor.statistics.estimates import class_curves, class_scores

DRAWN: Final = 150_000
"""Rows of all classes' samples together."""
AREA_FACTOR: Final = 1.2
"""NannyML's: without it, the standard error of the mean of ROC AUCs was a fifth too small."""


@dataclass(frozen=True, slots=True)
class JudgedClasses:
    """Reference rows whose label is known: the places of label and prediction among K classes, scores, weights.

    ``truth`` and ``predicted`` int32 ``[n]``, ``scores`` float64 ``[n, K]``, ``weights`` ``[n]``.
    """

    truth: I32
    predicted: I32
    scores: F64
    weights: F64

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: slice | I64) -> JudgedClasses:
        """Return some of the rows."""
        return JudgedClasses(self.truth[rows], self.predicted[rows], self.scores[rows], self.weights[rows])

    def cells(self) -> tuple[F64, F64, F64, F64]:
        """Return the weights of TP, FP, FN and TN of each class, ``[K]`` each."""
        classes = self.scores.shape[1]
        pairs = np.bincount(self.truth * classes + self.predicted, self.weights, classes**2).reshape(classes, classes)
        hit = np.diagonal(pairs).astype(np.float64)
        false, missed = pairs.sum(axis=0) - hit, pairs.sum(axis=1) - hit
        return hit, false, missed, pairs.sum() - hit - false - missed


def judged_classes(rows: FitRows) -> JudgedClasses | None:
    """Return the rows of a multiclass model in the order of time, if its scores could be calibrated."""
    fit, outcomes = class_curves(rows.schema), rows.outcomes
    if fit is None or outcomes is None or outcomes.labels is None or outcomes.predicted is None:
        return None
    scores = class_scores(rows.schema, fit, rows.batch)
    if scores is None:
        return None
    truth, predicted = fit.places(outcomes.labels), fit.places(outcomes.predicted)
    used = (truth >= 0) & (predicted >= 0) & np.isfinite(scores).all(axis=1) & (outcomes.weights > 0.0)
    order = np.flatnonzero(used)
    order = order[np.argsort(outcomes.time_ns[order], kind="stable")]
    judged = JudgedClasses(truth, predicted, scores, outcomes.weights).take(order)
    return judged if len(judged) else None


def _decided(part: JudgedClasses) -> bool:
    """Return whether labels and predictions are of several classes: without, NannyML has only the accuracy."""
    return all(bool((codes != codes[0]).any()) for codes in (part.truth, part.predicted))


def _ratio(numerator: F64, denominator: F64) -> F64:
    return np.where(denominator > 0.0, numerator / np.where(denominator > 0.0, denominator, 1.0), 0.0)


def _accuracy(part: JudgedClasses) -> float:
    return float(np.average(part.truth == part.predicted, weights=part.weights))


def _precision(part: JudgedClasses) -> float:
    hit, false, _, _ = part.cells()
    return float(_ratio(hit, hit + false).mean()) if _decided(part) else np.nan


def _recall(part: JudgedClasses) -> float:
    hit, _, missed, _ = part.cells()
    return float(_ratio(hit, hit + missed).mean()) if _decided(part) else np.nan


def _f1(part: JudgedClasses) -> float:
    hit, false, missed, _ = part.cells()
    return float(_ratio(2.0 * hit, 2.0 * hit + false + missed).mean()) if _decided(part) else np.nan


def _specificity(part: JudgedClasses) -> float:
    _, false, _, rest = part.cells()
    return float(_ratio(rest, rest + false).mean()) if _decided(part) else np.nan


def _area(part: JudgedClasses) -> float:
    classes = part.scores.shape[1]
    if len(np.unique(part.truth)) < classes:
        return np.nan
    areas = [roc_auc(part.scores[:, place], part.truth == place, part.weights) for place in range(classes)]
    return float(np.mean(areas))


def _average_precision(part: JudgedClasses) -> float:
    if not _decided(part) and (part.truth == part.truth[0]).all():
        return np.nan
    return float(np.mean([_precision_of(part, place) for place in range(part.scores.shape[1])]))


def _precision_of(part: JudgedClasses, place: int) -> float:
    truth = part.truth == place
    return average_precision(part.scores[:, place], truth, part.weights) if truth.any() else 0.0


CLASS_FIGURES: Final[Mapping[str, Callable[[JudgedClasses], float]]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "specificity": _specificity,
    "roc_auc": _area,
    "average_precision": _average_precision,
}
"""Figures as they were realized; all but the accuracy are means over the classes."""


def class_spread(judged: JudgedClasses) -> dict[str, Spread]:
    """Return the deviation of one row's part in each figure, and the share of the rows that have one.

    The mean over K classes has the variance Σ dₖ² / fₖ / K², with those of each class.
    """
    hit, false, missed, rest = judged.cells()
    rows = judged.weights.sum()
    right = _accuracy(judged)

    def of_shares(part: F64, whole: F64) -> Spread:
        share = _ratio(part, whole)
        return _mean(share * (1.0 - share), whole / rows)

    areas = np.array(
        [area_deviation(judged.scores[:, place], judged.truth == place, judged.weights) for place in range(len(hit))]
    )
    deviation, share = _mean(areas[:, 0] ** 2, areas[:, 1])
    return {
        "accuracy": ((right * (1.0 - right)) ** 0.5, 1.0),
        "precision": of_shares(hit, hit + false),
        "recall": of_shares(hit, hit + missed),
        "f1": of_shares(hit, hit + false + missed),
        "specificity": of_shares(rest, rest + false),
        "roc_auc": (deviation * AREA_FACTOR, share),
        "average_precision": _precision_spread(judged),
    }


def _precision_spread(judged: JudgedClasses) -> Spread:
    """Return the deviation of the mean average precision, as NannyML: the root of the classes' mean variance."""
    classes = judged.scores.shape[1]

    def figure_of(place: int) -> Callable[[I64], float]:
        scores, truth = np.ascontiguousarray(judged.scores[:, place]), judged.truth == place

        def figure(rows: I64) -> float:
            # A draw may lack the class, which says nothing about how its average precision varies.
            drawn = truth[rows]
            return average_precision(scores[rows], drawn, judged.weights[rows]) if drawn.any() else np.nan

        return figure

    each = np.array([drawn_deviation(figure_of(place), len(judged), DRAWN // classes) for place in range(classes)])
    known = np.isfinite(each[:, 0])
    return (float(np.sqrt(np.mean(each[known, 0] ** 2))), 1.0) if known.any() else (np.nan, 0.0)


def _mean(variance: F64, share: F64) -> Spread:
    if not (share > 0.0).all():
        return np.nan, 0.0
    return float(np.sqrt((variance / share).sum()) / len(share)), 1.0
