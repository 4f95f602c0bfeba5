"""A gap between two groups in words, for the person who gets an alert."""

from __future__ import annotations

from typing import Final

from collector_processor.fairness.verdict import Gap

_LESS_OFTEN: Final = {
    "selection_rate": ("selected", ""),
    "true_positive_rate": ("selected", " where the label is favorable"),
    "false_positive_rate": ("selected", " where the label is unfavorable"),
    "precision": ("right when selected", ""),
    "negative_predictive_value": ("right when not selected", ""),
    "accuracy": ("predicted rightly", ""),
}
"""What a group is less often than another one, and where, by rate."""


def gap_words(gap: Gap, low: tuple[str, float], high: tuple[str, float]) -> str:
    """Return what is different between the groups with the ``low`` and ``high`` rate, each a name and its rate.

    >>> gap_words(Gap("selection_rate", 0, 1, 0.04), ("'female'", 0.32), ("'male'", 0.46))
    "'female' is selected 14 points less often than 'male' (32 % against 46 %); chance explains 4 points"
    """
    (lower, less), (higher, more) = low, high
    if gap.rate in _LESS_OFTEN:
        what, where = _LESS_OFTEN[gap.rate]
        text = f"{lower} is {what} {_points(more - less)} points less often than {higher}{where}"
        shares = f"({100.0 * less:.3g} % against {100.0 * more:.3g} %)"
        return f"{text} {shares}; chance explains {_points(gap.limit)} points"
    if gap.rate == "calibration":
        text = f"scores of {higher} are {_points(more - less)} points higher, beside its labels, than those of {lower}"
        return f"{text}; chance explains {_points(gap.limit)} points"
    name = {"mean_error": "mean error", "mae": "mean absolute error"}[gap.rate]
    text = f"{name} of {higher} is {more:.3g} standard deviations, that of {lower} {less:.3g}"
    return f"{text}; chance explains {gap.limit:.2g}"


def _points(share: float) -> str:
    return f"{100.0 * share:.2g}" if abs(share) < 0.1 else f"{100.0 * share:.0f}"
