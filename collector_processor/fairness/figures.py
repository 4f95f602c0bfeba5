"""Rates of groups, and the figures of fairness made of them: each the gap or the ratio of one rate or of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.fairness.counts import Counts

Form = Literal["difference", "ratio", "mean_difference"]


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate of ``g`` groups: ``total`` of ``size`` (weighted sums), and the weight of one independent row.

    ``squares`` is the sum of squared values of a mean; None for a share, whose values are 0 or 1.
    """

    total: F64
    size: F64
    weight: F64
    squares: F64 | None = None

    @property
    def value(self) -> F64:
        """The rate of each group, NaN without rows."""
        return np.divide(self.total, self.size, out=np.full(len(self.size), np.nan), where=self.size > 0.0)

    @property
    def rows(self) -> F64:
        """The independent rows behind each group's rate."""
        return self.size / self.weight

    @property
    def overall(self) -> float:
        """The rate of all groups together, NaN without rows."""
        size = float(self.size.sum())
        return float(self.total.sum()) / size if size > 0.0 else float("nan")

    @property
    def variance(self) -> float:
        """The variance of one row, over all groups together."""
        mean = self.overall
        if self.squares is None:
            return mean * (1.0 - mean)
        return max(float(self.squares.sum() / self.size.sum()) - mean**2, 0.0)

    def enough(self, rows: F64, least_rows: float, least_outcomes: float) -> Mask:
        """Return the groups with enough ``rows``, and of a share, with enough expected cases of either kind ``[g]``.

        Expected cases follow from the overall rate, so that a group with a rate of 0 is not left out for it.
        """
        mean = self.overall
        if not np.isfinite(mean):
            return np.zeros(len(self.size), np.bool_)
        tolerance = 1.0 - 1e-9
        enough = (rows >= least_rows * tolerance) & (self.rows > 0.0)
        if self.squares is not None:
            return enough & (self.rows >= least_outcomes * tolerance)
        return enough & (self.rows * min(mean, 1.0 - mean) >= least_outcomes * tolerance)


Rated = Callable[[Counts], Rate]


def _of_labels(total: Callable[[Counts], F64], size: Callable[[Counts], F64]) -> Rated:
    return lambda counts: Rate(total(counts), size(counts), counts.label_weight * counts.doubt)


RATES: Final[Mapping[str, Rated]] = {
    "selection_rate": lambda counts: Rate(counts.selected, counts.predicted, counts.weight),
    "true_positive_rate": _of_labels(lambda of: of.tp, lambda of: of.tp + of.fn),
    "false_positive_rate": _of_labels(lambda of: of.fp, lambda of: of.fp + of.tn),
    "false_negative_rate": _of_labels(lambda of: of.fn, lambda of: of.tp + of.fn),
    "true_negative_rate": _of_labels(lambda of: of.tn, lambda of: of.fp + of.tn),
    "precision": _of_labels(lambda of: of.tp, lambda of: of.tp + of.fp),
    "negative_predictive_value": _of_labels(lambda of: of.tn, lambda of: of.tn + of.fn),
    "accuracy": _of_labels(lambda of: of.right, lambda of: of.judged),
    "calibration": lambda of: Rate(of.score_gap, of.scored, of.label_weight, of.score_squares),
    "mean_error": lambda of: Rate(of.error, of.errors, of.label_weight, of.error_squares),
    "mae": lambda of: Rate(of.size, of.errors, of.label_weight, of.error_squares),
}
"""Each rate by its name. ``calibration`` is the mean of score − truth."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what it compares, how, and for which tasks.

    Of two rates, a difference is the larger one, a ratio the smaller one, and a mean difference the mean of both.
    """

    name: str
    rates: tuple[str, ...]
    form: Form
    text: str

    @property
    def of_labels(self) -> bool:
        """Whether it needs labels."""
        return self.rates != ("selection_rate",)


_FIGURES = (
    Figure("demographic_parity_difference", ("selection_rate",), "difference", "selection rates of groups, max − min"),
    Figure("demographic_parity_ratio", ("selection_rate",), "ratio", "selection rates of groups, min / max"),
    Figure("equal_opportunity_difference", ("true_positive_rate",), "difference", "true positive rates, max − min"),
    Figure("equal_opportunity_ratio", ("true_positive_rate",), "ratio", "true positive rates, min / max"),
    Figure("predictive_equality_difference", ("false_positive_rate",), "difference", "false positive rates, max − min"),
    Figure(
        "equalized_odds_difference", ("true_positive_rate", "false_positive_rate"), "difference",
        "true and false positive rates, max − min, the larger of both",
    ),
    Figure(
        "equalized_odds_mean_difference", ("true_positive_rate", "false_positive_rate"), "mean_difference",
        "true and false positive rates, max − min, the mean of both",
    ),
    Figure(
        "equalized_odds_ratio", ("true_positive_rate", "false_positive_rate"), "ratio",
        "true and false positive rates, min / max, the smaller of both",
    ),
    Figure("predictive_parity_difference", ("precision",), "difference", "precisions of groups, max − min"),
    Figure("predictive_parity_ratio", ("precision",), "ratio", "precisions of groups, min / max"),
    Figure(
        "negative_predictive_value_difference", ("negative_predictive_value",), "difference",
        "shares of right ones among the unfavorable predictions, max − min",
    ),
    Figure("accuracy_difference", ("accuracy",), "difference", "accuracies of groups, max − min"),
    Figure("accuracy_ratio", ("accuracy",), "ratio", "accuracies of groups, min / max"),
    Figure("calibration_difference", ("calibration",), "difference", "mean score less share of positives, max − min"),
    Figure(
        "mean_error_difference", ("mean_error",), "difference",
        "mean errors of groups in standard deviations of the label, max − min",
    ),
    Figure("mae_ratio", ("mae",), "ratio", "mean absolute errors of groups, min / max"),
)  # fmt: skip
FIGURES: Final[Mapping[str, Figure]] = {figure.name: figure for figure in _FIGURES}
"""Every figure that compares groups, by name. Names and values are fairlearn's, where it has them."""


def spread(values: F64, form: Form) -> float:
    """Return max − min of a rate, or min / max; NaN for less than two groups, or a ratio of nothing.

    >>> spread(np.array([0.3, 0.4]), "difference"), spread(np.array([0.3, 0.4]), "ratio")
    (0.10000000000000003, 0.7499999999999999)
    """
    if len(values) < 2:
        return float("nan")
    low, high = float(values.min()), float(values.max())
    if form == "ratio":
        return low / high if high > 0.0 and low >= 0.0 else float("nan")
    return high - low


def figure_of(figure: Figure, values: Mapping[str, F64]) -> float:
    """Return a figure from the values of its rates; NaN if one of them is not known."""
    parts = [spread(values[name], figure.form) for name in figure.rates]
    if any(part != part for part in parts):
        return float("nan")
    if figure.form == "ratio":
        return min(parts)
    return max(parts) if figure.form == "difference" else sum(parts) / len(parts)


def generalized_entropy(tp: float, fp: float, fn: float, tn: float) -> float:
    """Return the generalized entropy index with α = 2 of the benefits ŷ − y + 1; NaN without rows.

    A wrong favorable outcome is a benefit of 2, a wrong unfavorable one of 0, a right one of 1. The index is half the
    squared coefficient of variation. Source: T. Speicher et al., KDD 2018.

    >>> round(generalized_entropy(40.0, 10.0, 20.0, 30.0), 4)
    0.179
    """
    rows = tp + fp + fn + tn
    mean = (tp + tn + 2.0 * fp) / rows if rows > 0.0 else 0.0
    if mean <= 0.0:
        return float("nan")
    return ((tp + tn + 4.0 * fp) / rows / mean**2 - 1.0) / 2.0


def conditional_disparity(selected: F64, total: F64) -> float:
    """Return the conditional demographic disparity of one group, NaN if nothing can be compared.

    ``selected`` and ``total`` ``[2, S]`` are rows of the group and of all others by stratum. Of a stratum, the
    disparity is the group's share of the rows that were not selected less its share of those that were; strata count
    by their rows. A stratum in which all or none were selected counts as 0.
    Source: S. Wachter et al., "Why fairness cannot be automated", 2021.

    >>> round(conditional_disparity(np.array([[10.0], [30.0]]), np.array([[40.0], [60.0]])), 3)
    0.25
    """
    rejected = total - selected
    rows = total.sum(axis=0)
    if rows.sum() <= 0.0:
        return float("nan")
    accepted, refused = selected.sum(axis=0), rejected.sum(axis=0)
    both = (accepted > 0.0) & (refused > 0.0)
    gap = np.zeros(len(rows))
    gap[both] = rejected[0, both] / refused[both] - selected[0, both] / accepted[both]
    return float(rows @ gap / rows.sum())
