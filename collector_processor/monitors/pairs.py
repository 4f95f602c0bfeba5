"""Detect that two features are no longer related as they were, and name the pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from collector_processor.columns.batch import F64, I64
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.drift import LeastRows
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.pair_scores import PairScores
from collector_processor.statistics.parts.pair_moments import PairMoments, correlations
from collector_processor.window.closed import Window
from otel_ml import semconv

_KEYS: Final = (*MODEL_KEYS, semconv.FEATURE_NAME, semconv.FEATURE_OTHER)
PAIR = Metric(
    semconv.MULTIVARIATE_PAIR,
    semconv.UNIT_RATIO,
    "change of the correlation of two features, as a share of what is tolerated and what chance explains: above 1 the "
    "pair has changed; the worst pairs",
    _KEYS,
)
CORRELATION = Metric(
    semconv.MULTIVARIATE_CORRELATION,
    semconv.UNIT_RATIO,
    f"correlation of the normal scores of two features, of the pairs of `{semconv.MULTIVARIATE_PAIR}`",
    _KEYS,
)
CHANGED = Metric(
    semconv.MULTIVARIATE_CHANGED,
    semconv.UNIT_PAIR,
    "pairs of features whose correlation has changed",
    MODEL_KEYS,
)
_NEARLY_ONE: Final = 0.999


class MultivariateSettings(Settings):
    """When the correlation of two features has changed."""

    min_change: float = Field(default=0.1, gt=0, lt=2, description="change of a correlation that is tolerated")
    alpha: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="tolerated probability of a false alarm in a window, all pairs together",
    )
    pairs: int = Field(default=5, ge=1, le=100, description="most pairs that a window names")


@dataclass(frozen=True, slots=True)
class PairChanges:
    """How each pair of ``[P]`` has changed, the upper triangle in order; NaN where that is not known.

    ``excess`` is the change divided by its limit.
    """

    one: I64
    other: I64
    before: F64
    now: F64
    excess: F64


class PairMonitor:
    """Changed correlations of two features, from sums of products of their normal scores.

    Drift that no single feature shows: each keeps its distribution, but they no longer belong together, because a join
    is wrong, a unit is mixed up, or a sensor is stuck. Every bin or category is replaced by its normal score, so the
    correlation needs no unit and no outlier moves it. With Fisher's transform, the change of a pair is

        (atanh r − atanh r₀) / √(v (1/n + 1/n₀)) · (1 − r₀²)

    in standard deviations; v is the variance of one row's contribution, measured in the reference. Its limit is the
    normal quantile at ``alpha`` divided by the number of pairs, corrected for the contribution's skewness and kurtosis
    (Cornish and Fisher). Source of the formula of v: R. Steiger and A. Hakstian, British Journal of Mathematical and
    Statistical Psychology 35, 1982.
    """

    name: ClassVar[str] = "pairs"
    metrics: ClassVar[Sequence[Metric]] = (PAIR, CORRELATION, CHANGED)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"multivariate": MultivariateSettings, WINDOW: LeastRows}

    def __init__(self, settings: MultivariateSettings, least: LeastRows) -> None:
        self._settings = settings
        self._min_rows = least.min_rows

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the pairs that changed most, and how many changed."""
        fit, part = reference.schema.fit(PairScores), window.pane.further[PairMoments]
        if fit is None or not len(part.rows) or part.rows[2] < self._min_rows:
            return []
        changes = pair_changes(fit, part, self._settings.min_change, self._settings.alpha, self._min_rows)
        known = np.flatnonzero(np.isfinite(changes.excess))
        if not len(known):
            return []
        worst = known[np.argsort(-changes.excess[known], kind="stable")][: self._settings.pairs]
        shown = [place for rank, place in enumerate(worst.tolist()) if rank == 0 or changes.excess[place] > 1.0]
        names = [reference.schema.columns[position].name for position in fit.scores.positions.tolist()]
        return [
            *_measured(window, names, changes, shown),
            Measurement(
                CHANGED.name,
                float(np.count_nonzero(changes.excess > 1.0)),
                CHANGED.unit,
                model_attributes(window.model),
                window.end_ns,
                words="; ".join(_words(names, changes, place) for place in shown if changes.excess[place] > 1.0),
            ),
        ]


def pair_changes(fit: PairScores, part: PairMoments, min_change: float, alpha: float, min_rows: float) -> PairChanges:
    """Return the change of each pair, as a share of its limit; pairs with fewer than ``min_rows`` rows are unknown."""
    one, other = np.triu_indices(len(fit.scores.positions), 1)
    matrix, rows = correlations(part)
    now, n = matrix[one, other], rows[one, other]
    before, n_before = fit.correlation[one, other], fit.rows[one, other]
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = _quantile(alpha / len(one), fit.skew[one, other], fit.kurtosis[one, other], np.minimum(n, n_before))
        clipped = np.clip(before, -_NEARLY_ONE, _NEARLY_ONE)
        slope = 1.0 - clipped**2
        deviation = np.sqrt(fit.variance[one, other] * (1.0 / n + 1.0 / n_before)) / slope
        moved = np.arctanh(np.clip(now, -_NEARLY_ONE, _NEARLY_ONE)) - np.arctanh(clipped)
        excess = np.minimum(np.abs(now - before) / min_change, np.abs(moved) / (quantile * deviation))
    known = (n >= min_rows) & (n_before >= min_rows)
    return PairChanges(one, other, before, now, np.where(known, excess, np.nan))


def _quantile(alpha: float, skew: F64, kurtosis: F64, n: F64) -> F64:
    """Return the quantile of a mean of ``n`` that either side exceeds with probability ``alpha`` / 2, in deviations."""
    z = float(-ndtri(alpha / 2.0))
    return z + (z**2 - 1.0) * np.abs(skew) / np.sqrt(n) / 6.0 + (z**3 - 3.0 * z) * np.maximum(kurtosis, 0.0) / n / 24.0


def _measured(
    window: Window, names: Sequence[str], changes: PairChanges, shown: Sequence[int]
) -> Iterator[Measurement]:
    model = model_attributes(window.model)
    for place in shown:
        one, other = _names(names, changes, place)
        attributes = (*model, (semconv.FEATURE_NAME, one), (semconv.FEATURE_OTHER, other))
        words = _words(names, changes, place)
        for metric, value in ((PAIR, changes.excess[place]), (CORRELATION, changes.now[place])):
            yield Measurement(metric.name, float(value), metric.unit, attributes, window.end_ns, words=words)


def _names(names: Sequence[str], changes: PairChanges, place: int) -> tuple[str, str]:
    return names[int(changes.one[place])], names[int(changes.other[place])]


def _words(names: Sequence[str], changes: PairChanges, place: int) -> str:
    """Return, for example, ``age and income: correlation 0.60 → 0.38``."""
    one, other = _names(names, changes, place)
    return f"{one[:40]} and {other[:40]}: correlation {changes.before[place]:.2f} → {changes.now[place]:.2f}"
