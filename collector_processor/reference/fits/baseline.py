"""Fit how much each figure of performance varies: over rows by chance, and over ten parts of the reference.

All formulas are those of NannyML 0.13.1: its sampling errors, and its default limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.class_baseline import (
    CLASS_FIGURES,
    JudgedClasses,
    class_spread,
    judged_classes,
)
from collector_processor.reference.fits.ranks import Spread, area_deviation, average_precision, drawn_deviation, roc_auc
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import class_curves, positive_curve
from collector_processor.statistics.fits.baseline import Baseline, Figure
from collector_processor.statistics.schema import Schema

PARTS: Final = 10
"""The reference is cut into this many parts of equal size; a remainder is one more, however small, as in NannyML."""
LIMIT: Final = 3.0
"""Standard deviations around the mean over the parts."""
_MOST_DRAWN: Final = 50_000
_NONE: Final = Figure(np.nan, 0.0, np.nan, np.nan)
_KEYS: Final = ("deviation", "share", "low", "high")


@dataclass(frozen=True, slots=True)
class Judged:
    """Reference rows whose label is known: truth and prediction (1 is the positive class), score and weight ``[n]``."""

    truth: Mask
    predicted: Mask
    scores: F64
    weights: F64

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: slice | I64) -> Judged:
        """Return some of the rows."""
        return Judged(self.truth[rows], self.predicted[rows], self.scores[rows], self.weights[rows])

    def cells(self) -> tuple[float, float, float, float]:
        """Return the weights of TP, FP, FN and TN."""
        cell = self.truth * 2 + self.predicted
        negative, false_positive, false_negative, positive = np.bincount(cell, self.weights, 4).tolist()
        return positive, false_positive, false_negative, negative


R = TypeVar("R", Judged, JudgedClasses)


class BaselineFitter:
    """Sampling errors and limits of the figures of a classifier whose scores could be calibrated."""

    name: ClassVar[str] = "baseline"
    kind = Baseline
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> Baseline | None:
        """Return the figures; None for a model without a calibration."""
        if class_curves(rows.schema) is not None:
            return _baseline(judged_classes(rows), CLASS_FIGURES, class_spread)
        return _baseline(_judged(rows), _REALIZED, _spread)

    def written(self, fit: Baseline) -> Mapping[str, Json]:
        """Return the numbers of each figure; what is unknown is absent."""
        return {
            name: {key: number(value) for key in _KEYS if np.isfinite(value := getattr(figure, key))}
            for name, figure in fit.figures.items()
        }

    def read(self, node: Node, schema: Schema) -> Baseline:
        """Return the figures that were written."""
        figures = {name: Figure(*(_read(item, key) for key in _KEYS)) for name, item in node.items()}
        return Baseline({name: figures.get(name, _NONE) for name in _REALIZED})


def _baseline(
    judged: R | None, figures: Mapping[str, Callable[[R], float]], spread: Callable[[R], dict[str, Spread]]
) -> Baseline | None:
    """Return the figures of judged rows in the order of time; None without rows."""
    if judged is None:
        return None
    size = max(len(judged) // PARTS, 1)
    parts = [judged.take(slice(start, start + size)) for start in range(0, len(judged), size)]
    deviations = spread(judged)
    found: dict[str, Figure] = {}
    for name, realized in figures.items():
        values = np.array([realized(part) for part in parts])
        low = high = np.nan
        if not np.isnan(values).all():
            middle, margin = np.nanmean(values), LIMIT * np.nanstd(values)
            low, high = (float(np.clip(limit, 0.0, 1.0)) for limit in (middle - margin, middle + margin))
        found[name] = Figure(*deviations[name], low, high)
    return Baseline(found)


def _read(node: Node, key: str) -> float:
    if key not in node:
        return np.nan if key != "share" else 0.0
    if (value := node[key].real()) < 0.0:
        node[key].fail("must not be negative")
    return value


def _judged(rows: FitRows) -> Judged | None:
    schema, outcomes = rows.schema, rows.outcomes
    if outcomes is None or outcomes.labels is None or outcomes.predicted is None or positive_curve(schema) is None:
        return None
    used = known_classes(outcomes.labels) & known_classes(outcomes.predicted) & np.isfinite(outcomes.scores)
    used &= outcomes.weights > 0.0
    if not used.any():
        return None
    order = np.flatnonzero(used)
    order = order[np.argsort(outcomes.time_ns[order], kind="stable")]
    slot = schema.classes.find(0, schema.positive_class)
    judged = Judged(outcomes.labels == slot, outcomes.predicted == slot, outcomes.scores, outcomes.weights)
    return judged.take(order)


def _decided(part: Judged) -> bool:
    """Return whether labels and predictions are of two classes: without, NannyML has no precision, recall and F1."""
    return all(bool(rows.any() and not rows.all()) for rows in (part.truth, part.predicted))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0.0 else 0.0


def _precision(part: Judged) -> float:
    hit, false, _, _ = part.cells()
    return _ratio(hit, hit + false) if _decided(part) else np.nan


def _recall(part: Judged) -> float:
    hit, _, missed, _ = part.cells()
    return _ratio(hit, hit + missed) if _decided(part) else np.nan


def _f1(part: Judged) -> float:
    hit, false, missed, _ = part.cells()
    return _ratio(2.0 * hit, 2.0 * hit + false + missed) if _decided(part) else np.nan


def _specificity(part: Judged) -> float:
    _, false, _, rest = part.cells()
    return rest / (rest + false) if rest + false > 0.0 else np.nan


def _area(part: Judged) -> float:
    both = part.truth.any() and not part.truth.all()
    return roc_auc(part.scores, part.truth, part.weights) if both else np.nan


def _average_precision(part: Judged) -> float:
    return average_precision(part.scores, part.truth, part.weights) if part.truth.any() else np.nan


def _share_of(cell: int) -> Callable[[Judged], float]:
    return lambda part: part.cells()[cell] / sum(part.cells())


CELLS: Final = ("true_positives", "false_positives", "false_negatives", "true_negatives")
_REALIZED: Final[Mapping[str, Callable[[Judged], float]]] = {
    "accuracy": lambda part: (part.cells()[0] + part.cells()[3]) / sum(part.cells()),
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "specificity": _specificity,
    "roc_auc": _area,
    "average_precision": _average_precision,
    **{name: _share_of(cell) for cell, name in enumerate(CELLS)},
}


def _spread(judged: Judged) -> dict[str, Spread]:
    """Return the deviation of one row's part in each figure, and the share of the rows that have one."""
    cells = judged.cells()
    rows = sum(cells)
    hit, false, missed, rest = cells

    def of_share(part: float, whole: float) -> Spread:
        share = _ratio(part, whole)
        return (share * (1.0 - share)) ** 0.5 if whole > 0.0 else np.nan, whole / rows

    deviation, relevant = of_share(hit, hit + false + missed)
    scale = _ratio(hit + false + missed, hit + (false + missed) / 2.0)
    return {
        "accuracy": of_share(hit + rest, rows),
        "precision": of_share(hit, hit + false),
        "recall": of_share(hit, hit + missed),
        "f1": (deviation * scale, relevant),
        "specificity": of_share(rest, rest + false),
        "roc_auc": area_deviation(judged.scores, judged.truth, judged.weights),
        "average_precision": _precision_spread(judged),
        **{name: of_share(cell, rows) for name, cell in zip(CELLS, cells, strict=True)},
    }


def _precision_spread(judged: Judged) -> Spread:
    def figure(rows: I64) -> float:
        part = judged.take(rows)
        return average_precision(part.scores, part.truth, part.weights) if part.truth.any() else np.nan

    return drawn_deviation(figure, len(judged), _MOST_DRAWN)
