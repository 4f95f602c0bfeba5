"""The usual rules on windows of counts, as other tools have them by default.

Delay and false alarm are defined as in ``river.drift.evaluate``: a false alarm falls into no shift, a delay runs from
a shift to the first alarm after it, and a shift without an alarm is missed and has no delay. An alarm is the pane on
which a rule begins to be in breach. To count every pane in breach would only make the rules look worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import chdtrc, kolmogorov

from collector_processor.columns.batch import F64, Mask
from collector_processor.drift import drift_method
from collector_processor.drift.chi2 import chi_square, degrees_of_freedom
from collector_processor.drift.js import jensen_shannon_distance
from collector_processor.drift.method import Comparison, cumulated_gap
from collector_processor.drift.proportions import inverse_sizes
from collector_processor.statistics.bins import coarse
from verification.streams import Columns

Judge = Callable[[F64], Mask]
"""Says which features are in breach, given the counts of a window ``[F, E + 1]`` without its missing cells."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``on`` some references it is a :data:`Judge`."""

    name: str
    on: Callable[[Columns], Judge]


def ks_p(columns: Columns) -> Judge:
    """Return whether the Kolmogorov–Smirnov test has p < .05, by its limit; D at the edges is a little too small."""

    def judge(current: F64) -> Mask:
        distance = np.abs(cumulated_gap(columns.counts, current)).max(axis=1)
        return kolmogorov(distance / np.sqrt(inverse_sizes(columns.counts, current))) < 0.05

    return judge


def ks_above(columns: Columns) -> Judge:
    """Return whether the Kolmogorov–Smirnov statistic is above .1."""
    return lambda current: np.abs(cumulated_gap(columns.counts, current)).max(axis=1) > 0.1


def chi2_p(columns: Columns, *, bonferroni: bool = False) -> Judge:
    """Return whether the χ² test of homogeneity on deciles has p < .05, or .05 divided by the number of features."""
    before, level = coarse(columns.counts, columns.deciles), 0.05 / (len(columns.edges) if bonferroni else 1)

    def judge(current: F64) -> Mask:
        now = coarse(current, columns.deciles)
        return chdtrc(degrees_of_freedom(before, now), chi_square(before, now)) < level

    return judge


def js_three_sigma(columns: Columns) -> Judge:
    """Return whether the Jensen–Shannon distance is above mean + 3σ of that of ten chunks, NannyML's default."""
    whole = coarse(columns.counts, columns.even)
    chunks = np.stack([jensen_shannon_distance(whole, coarse(chunk, columns.even)) for chunk in columns.chunks])
    limit = chunks.mean(axis=0) + 3.0 * chunks.std(axis=0)
    return lambda current: jensen_shannon_distance(whole, coarse(current, columns.even)) > limit


def score_above(columns: Columns, method: str, threshold: float, alpha: float | None = None) -> Judge:
    """Return whether a score on deciles is above a threshold and, given ``alpha``, above what chance gives."""
    before, found = coarse(columns.counts, columns.deciles), drift_method(method)

    def judge(current: F64) -> Mask:
        comparison = Comparison("numeric", before, coarse(current, columns.deciles))
        least = 0.0 if alpha is None else found.noise(comparison, alpha)
        return found.score(comparison) > np.maximum(threshold, least)

    return judge


KS_P = Rule("KS p < .05 (Evidently, up to 1,000 rows)", ks_p)
_JS = partial(score_above, method="js", alpha=0.001)
CHI2_P = Rule("χ² p < .05", chi2_p)
BONFERRONI = Rule("χ² p < .05, Bonferroni", partial(chi2_p, bonferroni=True))
THREE_SIGMA = Rule("JS > mean + 3σ of ten chunks (NannyML)", js_three_sigma)
NOISE = Rule("JS > noise at α = .001 (`drift.alpha` alone)", partial(_JS, threshold=0.0))
DRIFTED = Rule("JS > .1 and noise (`ml.drift.drifted`)", partial(_JS, threshold=0.1))
PSI = Rule("PSI > .2", partial(score_above, method="psi", threshold=0.2))
KS = Rule("KS > .1", ks_above)
RULES = (KS_P, CHI2_P, BONFERRONI, THREE_SIGMA, NOISE, DRIFTED, PSI, KS)


class Sliding:
    """A rule on the last panes, one pane after another; its first alarm can come when the window is full."""

    def __init__(self, rule: Rule, columns: Columns, panes: int) -> None:
        self._judge, self._panes = rule.on(columns), panes
        self._kept: list[F64] = []
        self._sum = np.zeros_like(columns.counts)
        self.in_breach = np.zeros(len(columns.counts), np.bool_)

    def step(self, counts: F64) -> Mask:
        """Add a pane ``[F, E + 2]`` and return which features begin to be in breach."""
        self._kept.append(counts[:, :-1])
        self._sum += self._kept[-1]
        if len(self._kept) > self._panes:
            self._sum -= self._kept.pop(0)
        if len(self._kept) < self._panes:
            return np.zeros_like(self.in_breach)
        before, self.in_breach = self.in_breach, self._judge(self._sum)
        return self.in_breach & ~before
