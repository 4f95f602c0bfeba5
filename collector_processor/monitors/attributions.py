"""What the model relies on: mean absolute attributions, their order, and their distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64
from collector_processor.drift import drift_method
from collector_processor.drift.method import Comparison
from collector_processor.monitors.attributes import FEATURE_KEYS, MODEL_KEYS, feature_attributes, model_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.ndcg import OrderNoise, ndcg
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.parts.attribution_sums import AttributionSums, attributed, mean_abs
from collector_processor.statistics.schema import ColumnSpec
from collector_processor.window.closed import Window
from otel_ml import semconv

MEAN_ABS = Metric(
    semconv.ATTRIBUTION_MEAN_ABS, semconv.UNIT_SCORE, "mean absolute attribution of a feature", FEATURE_KEYS
)
SHARE = Metric(
    semconv.ATTRIBUTION_SHARE,
    semconv.UNIT_RATIO,
    "mean absolute attribution of a feature as a share of the sum over all features",
    FEATURE_KEYS,
)
RANK = Metric(
    semconv.ATTRIBUTION_RANK, semconv.UNIT_RANK, "place of a feature by mean absolute attribution, from 1", FEATURE_KEYS
)
SIGN_CHANGED = Metric(
    semconv.ATTRIBUTION_SIGN_CHANGED,
    semconv.UNIT_BREACH,
    "1 if the mean attribution of a feature has the other sign than in the reference, both beyond chance; else 0",
    FEATURE_KEYS,
)
DISTANCE = Metric(
    semconv.ATTRIBUTION_DISTANCE,
    semconv.UNIT_SCORE,
    "Jensen-Shannon distance of the distribution of a feature's attributions from the reference's",
    FEATURE_KEYS,
)
NDCG = Metric(
    semconv.ATTRIBUTION_NDCG,
    semconv.UNIT_RATIO,
    "whether features are in the order of importance of the reference: 1 if they are",
    MODEL_KEYS,
)
NDCG_LIMIT = Metric(
    semconv.ATTRIBUTION_NDCG_LIMIT,
    semconv.UNIT_RATIO,
    "the order has changed if it is below this: the limit that is set, or what chance alone goes below",
    MODEL_KEYS,
)
_CERTAIN: Final = 4.0
"""Standard errors by which a mean must be away from 0 for its sign to count: 3 of 100,000 by chance."""


class AttributionSettings(Settings):
    """When the order of a model's features has changed."""

    min_ndcg: float = Field(
        default=0.9, gt=0, lt=1, description="nDCG of the features' order below which it has changed"
    )


class AttributionMonitor:
    """Figures of attributions (SHAP values or similar) that senders add to predictions.

    Use it to see that a model still decides for the same reasons. Without attributions in the reference there is
    nothing to compare with, and only means, shares and ranks are given.
    """

    name: ClassVar[str] = "attributions"
    metrics: ClassVar[Sequence[Metric]] = (MEAN_ABS, SHARE, RANK, SIGN_CHANGED, DISTANCE, NDCG, NDCG_LIMIT)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"attributions": AttributionSettings, WINDOW: LeastRows}

    def __init__(self, settings: AttributionSettings, least: LeastRows) -> None:
        self._min_ndcg, self._min_rows = settings.min_ndcg, least.min_rows

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the figures of each feature that has enough attributions, and the order of all."""
        part, schema = window.pane.further[AttributionSums], reference.schema
        rows = equal_rows(part.sums)
        enough = rows >= self._min_rows
        if not enough.any():
            return []
        means = np.where(enough, mean_abs(part.sums), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = means / np.nansum(means)
        found: list[tuple[Metric, F64]] = [(MEAN_ABS, means), (SHARE, shares), (RANK, ranks(means))]
        compared = schema.fit(AttributionBaseline) is not None
        if compared:
            before = reference.pane.further[AttributionSums]
            found += [
                (SIGN_CHANGED, sign_changes(before.sums, part.sums, enough)),
                (DISTANCE, np.where(enough, distances(before, part), np.nan)),
            ]
        columns = tuple(ColumnSpec("feature", name) for name in attributed(schema))
        attributes = feature_attributes(window.model, columns)
        measurements = [
            Measurement(metric.name, float(values[place]), metric.unit, attributes[place], window.end_ns)
            for metric, values in found
            for place in np.flatnonzero(np.isfinite(values)).tolist()
        ]
        return [*measurements, *self._order(window, reference, means, rows)] if compared else measurements

    def _order(self, window: Window, reference: Reference, means: F64, rows: F64) -> Iterator[Measurement]:
        """Yield nDCG and its limit, if every feature of the baseline has enough attributions."""
        baseline = mean_abs(reference.pane.further[AttributionSums].sums)
        if not np.isfinite(means).all() or len(means) < 2:
            return
        value = ndcg(baseline, means)
        if not np.isfinite(value):
            return
        limit = min(self._min_ndcg, reference.prepared(order_noise).limit(float(rows.min())))
        model = model_attributes(window.model)
        words = ""
        if value < limit:
            names = attributed(reference.schema)
            words = f"most important: {_first(names, baseline)} → {_first(names, means)}"
        yield Measurement(NDCG.name, value, NDCG.unit, model, window.end_ns, words=words)
        yield Measurement(NDCG_LIMIT.name, limit, NDCG_LIMIT.unit, model, window.end_ns)


def equal_rows(sums: F64) -> F64:
    """Return how many equal rows the weighted ones are worth, (Σ w)² / Σ w², ``[K]``."""
    return np.divide(sums[:, 0] ** 2, sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0.0)


def ranks(means: F64) -> F64:
    """Return the place of each feature, the largest first, from 1; equal ones have the same. NaN stays.

    >>> ranks(np.array([0.1, 0.5, np.nan, 0.5])).tolist()
    [3.0, 1.0, nan, 1.0]
    """
    ordered = np.sort(-means[np.isfinite(means)])
    return np.where(np.isfinite(means), np.searchsorted(ordered, -means) + 1.0, np.nan)


def sign_changes(before: F64, now: F64, enough: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> F64:
    """Return 1 for each feature whose mean attribution surely has the other sign, else 0; NaN where unknown."""
    known = enough & (before[:, 0] > 0.0)
    changed = _sign(before) * _sign(now) < 0.0
    return np.where(known, changed.astype(np.float64), np.nan)


def _sign(sums: F64) -> F64:
    """Return the sign of each mean, 0 if it is not beyond chance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[:, 2] / sums[:, 0]
        error = np.sqrt(np.maximum(sums[:, 4] / sums[:, 0] - mean**2, 0.0) / equal_rows(sums))
        return np.where(np.abs(mean) > _CERTAIN * error, np.sign(mean), 0.0)


def distances(before: AttributionSums, now: AttributionSums) -> F64:
    """Return how far each feature's attributions are from the reference's, ``[K]``."""
    return drift_method("js").score(Comparison("categorical", before.bins, now.bins))


def order_noise(reference: Reference) -> OrderNoise:
    """Return what chance does to the order of the reference's features."""
    sums = reference.pane.further[AttributionSums].sums
    baseline = mean_abs(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.maximum(sums[:, 4] / sums[:, 0] - baseline**2, 0.0)
    return OrderNoise(np.nan_to_num(baseline), np.nan_to_num(variance), equal_rows(sums))


def _first(names: Sequence[str], means: F64, count: int = 3) -> str:
    order: list[int] = np.argsort(-means, kind="stable")[:count].tolist()
    return ", ".join(names[place][:40] for place in order)
