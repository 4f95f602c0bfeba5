"""Judge a figure: small groups together, and a breach only beyond both the threshold and what chance explains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64, Mask
from collector_processor.fairness.counts import Counts
from collector_processor.fairness.figures import RATES, Figure, Form, Rate, figure_of
from collector_processor.fairness.noise import log_delta, newcombe, pair_limits

CERTAIN: Final = 1e-4
"""Probability that chance alone takes the largest gap of equal groups beyond the limit of :attr:`Verdict.excess`."""
_MOST: Final = 1e6
"""The largest excess: a ratio of 0 is infinitely far from its threshold."""
SMALL: Final = -1
"""The position of the groups that are too small, taken together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a gap is a breach, and which groups are too small to be compared alone."""

    difference: float = 0.1
    ratio: float = 0.8
    alpha: float = 0.05
    min_rows: float = 100.0
    min_outcomes: float = 10.0


class Gap(NamedTuple):
    """The gap that is furthest beyond what is allowed: of which rate, between which positions, and how much chance
    explains.
    """

    rate: str
    low: int
    high: int
    limit: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The groups that one figure compares: ``positions`` in the counts, :data:`SMALL` for those taken together.

    ``small`` is how many groups were too small to be compared alone.
    """

    positions: tuple[int, ...]
    counts: Counts
    small: int

    def rate(self, name: str) -> Rate:
        """Return a rate of the compared groups."""
        return RATES[name](self.counts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure: its value, whether it is in breach, and the gap that decides.

    ``excess`` is how far the gap is beyond the larger of its threshold and what chance explains once in 10,000 windows
    of equal groups: above 1, it is in breach for certain. ``noise_limit`` is the largest difference (or the smallest
    ratio) that chance explains. Both are NaN for a figure without a threshold.
    """

    value: float
    noise_limit: float
    breached: bool
    excess: float
    gap: Gap | None


def compared(figure: Figure, counts: Counts, mixed: Mask, limits: Limits) -> Compared:
    """Return the groups that a figure can compare: those that are large enough, and the others together if they are.

    ``mixed`` ``[g]`` are groups that are several values already, such as ``other``: they are never compared alone.
    """
    enough = _enough(figure, counts, limits) & ~mixed
    present = (counts.judged + counts.errors if figure.of_labels else counts.predicted) > 0.0
    kept, small = np.flatnonzero(enough), np.flatnonzero(~enough & present)
    joined = counts.pooled(kept, small)
    positions = (*kept.tolist(), *((SMALL,) if len(small) else ()))
    if len(small) and not _pool_enough(figure, joined, limits):
        joined, positions = counts.pooled(kept, small[:0]), tuple(kept.tolist())
    return Compared(positions, joined, len(small))


def _enough(figure: Figure, counts: Counts, limits: Limits) -> Mask:
    if figure.of_labels:
        rows = (counts.judged + counts.errors) / counts.label_weight
    else:
        rows = counts.predicted / counts.weight
    found = [RATES[name](counts).enough(rows, limits.min_rows, limits.min_outcomes) for name in figure.rates]
    return np.logical_and.reduce(found)


def _pool_enough(figure: Figure, joined: Counts, limits: Limits) -> bool:
    return bool(_enough(figure, joined, limits)[-1])


def judged(figure: Figure, groups: Compared, limits: Limits) -> Verdict | None:
    """Return the verdict on a figure; None if less than two groups can be compared."""
    if len(groups.positions) < 2:
        return None
    rates = {name: groups.rate(name) for name in figure.rates}
    value = figure_of(figure, {name: rate.value for name, rate in rates.items()})
    if not math.isfinite(value):
        return None
    if figure.form == "mean_difference":
        return Verdict(value, math.nan, breached=False, excess=math.nan, gap=None)
    threshold = limits.ratio if figure.form == "ratio" else limits.difference
    alpha, certain = limits.alpha / len(rates), CERTAIN / len(rates)
    found = [(name, *_widest(rate, figure.form, threshold, alpha)) for name, rate in rates.items()]
    name, strength, low, high, limit = max(found, key=lambda each: each[1])
    breached = strength > 1.0
    if not breached:
        # The limit beside the value is that of the groups that the value is about.
        parts = {name: figure_of(replace(figure, rates=(name,)), {name: rate.value}) for name, rate in rates.items()}
        name = (min if figure.form == "ratio" else max)(parts, key=lambda name: parts[name])
        values = rates[name].value
        low, high = int(values.argmin()), int(values.argmax())
        limit = float(_limits(rates[name], alpha)[low, high])
    excess = max(_widest(rate, figure.form, threshold, certain)[0] for rate in rates.values())
    top = float(rates[name].value[high])
    noise = max(1.0 - limit / top, 0.0) if figure.form == "ratio" else limit
    gap = Gap(name, groups.positions[low], groups.positions[high], limit)
    return Verdict(value, noise, breached, min(excess, _MOST), gap)


def _limits(rate: Rate, alpha: float) -> F64:
    return pair_limits(rate.variance, rate.rows, alpha, counted=rate.squares is None)


def _widest(rate: Rate, form: Form, threshold: float, alpha: float) -> tuple[float, int, int, float]:
    """Return how far the pair that is furthest beyond both threshold and chance is beyond them; the pair; its limit."""
    values = rate.value
    limits = _limits(rate, alpha)
    gap = values[None, :] - values[:, None]  # [low, high]
    with np.errstate(divide="ignore", invalid="ignore"):
        if form == "ratio":
            by_size = np.log(values[None, :] / values[:, None]) / -math.log(threshold)
        else:
            by_size = gap / threshold
        by_chance = gap / limits
    strength = np.where(gap > 0.0, np.fmin(np.nan_to_num(by_size, nan=_MOST, posinf=_MOST), by_chance), 0.0)
    low, high = np.unravel_index(int(np.nan_to_num(strength, posinf=_MOST).argmax()), strength.shape)
    return float(strength[low, high]), int(low), int(high), float(limits[low, high])


class Pair(NamedTuple):
    """One group beside the reference group: the difference (or ratio) and its interval, ``[k]`` each."""

    value: F64
    low: F64
    high: F64


def beside(rate: Rate, reference: int, form: Form, alpha: float) -> Pair:
    """Return every compared group beside the one at ``reference``: group − reference, or group / reference.

    Newcombe's interval for a difference of shares, the delta method on the logarithm for a ratio, the normal one for
    means.
    """
    values, rows = rate.value, rate.rows
    other, other_rows = values[reference], rows[reference]
    if form == "ratio":
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (
                log_delta(values, rows, other, other_rows, alpha)
                if rate.squares is None
                else _ratio_of_means(rate, reference, alpha)
            )
            return Pair(values / other, low, high)
    if rate.squares is None:
        return Pair(values - other, *newcombe(values, rows, other, other_rows, alpha))
    half = _z(alpha) * np.sqrt(rate.variance * (1.0 / rows + 1.0 / other_rows))
    return Pair(values - other, values - other - half, values - other + half)


def _ratio_of_means(rate: Rate, reference: int, alpha: float) -> tuple[F64, F64]:
    ratio = rate.value / rate.value[reference]
    errors = np.sqrt(rate.variance / rate.rows) / rate.value
    half = _z(alpha) * np.hypot(errors, errors[reference])
    return ratio * np.exp(-half), ratio * np.exp(half)


def _z(alpha: float) -> float:
    return -float(ndtri(alpha / 2.0))
