"""The figures of other tools by their names and with their signs: one group beside a reference group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from collector_processor.fairness.figures import generalized_entropy

Names = Literal["fairlearn", "clarify", "aif360"]
_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Group:
    """One group: selected of all predictions, and its labeled rows by predicted and true outcome."""

    selected: float
    predicted: float
    tp: float
    fp: float
    fn: float
    tn: float


def clarify(group: Group, reference: Group) -> dict[str, float]:
    """Return the post-training figures of SageMaker Clarify, without FT and CDDPL; NaN where one is undefined.

    ``reference`` is Clarify's advantaged group *a*, ``group`` its disadvantaged one *d*.
    """
    d, a = group, reference
    return {
        "DPPL": _share(a.selected, a.predicted) - _share(d.selected, d.predicted),
        "DI": _share(_share(d.selected, d.predicted), _share(a.selected, a.predicted)),
        "DCA": _share(a.tp + a.fn, a.tp + a.fp) - _share(d.tp + d.fn, d.tp + d.fp),
        "DCR": _share(d.tn + d.fp, d.tn + d.fn) - _share(a.tn + a.fp, a.tn + a.fn),
        "RD": _share(a.tp, a.tp + a.fn) - _share(d.tp, d.tp + d.fn),
        "SD": _share(d.tn, d.tn + d.fp) - _share(a.tn, a.tn + a.fp),
        "DAR": _share(a.tp, a.tp + a.fp) - _share(d.tp, d.tp + d.fp),
        "DRR": _share(d.tn, d.tn + d.fn) - _share(a.tn, a.tn + a.fn),
        "AD": _accuracy(a) - _accuracy(d),
        "TE": _share(d.fn, d.fp) - _share(a.fn, a.fp),
        "GE": generalized_entropy(a.tp + d.tp, a.fp + d.fp, a.fn + d.fn, a.tn + d.tn),
    }


def aif360(group: Group, reference: Group) -> dict[str, float]:
    """Return AIF360's figures of an unprivileged group beside a privileged ``reference``; NaN where undefined."""
    u, p = group, reference
    true_positive = _share(u.tp, u.tp + u.fn) - _share(p.tp, p.tp + p.fn)
    false_positive = _share(u.fp, u.fp + u.tn) - _share(p.fp, p.fp + p.tn)
    return {
        "statistical_parity_difference": _share(u.selected, u.predicted) - _share(p.selected, p.predicted),
        "disparate_impact": _share(_share(u.selected, u.predicted), _share(p.selected, p.predicted)),
        "average_odds_difference": (true_positive + false_positive) / 2.0,
        "equal_opportunity_difference": true_positive,
    }


def named(names: Names, group: Group, reference: Group) -> Mapping[str, float]:
    """Return the figures under the names of a tool; nothing under fairlearn's, which are ours."""
    if names == "fairlearn":
        return {}
    return clarify(group, reference) if names == "clarify" else aif360(group, reference)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else _NAN


def _accuracy(group: Group) -> float:
    return _share(group.tp + group.tn, group.tp + group.fp + group.fn + group.tn)
