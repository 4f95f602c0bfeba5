"""Which features explain that more or fewer errors are expected: each one's part of a change of the population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import FEATURE_KEYS, feature_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.feature_losses import FeatureLosses
from collector_processor.window.closed import Window
from otel_ml import semconv

FEATURE: Final = Metric(
    semconv.CAUSE_FEATURE,
    semconv.UNIT_ERROR,
    "change of the mean error that is expected from the change of one feature's distribution: above 0, it is worse; "
    "0 if chance explains it",
    FEATURE_KEYS,
)
NAMED: Final = 10
"""Most features that are reported."""
_ALPHA: Final = 0.01
"""Probability that chance alone reports any feature."""


class FeatureCauseMonitor:
    """Σ (q − p) m over the bins and categories of each feature: its share q now, p in the reference, the mean loss m.

    m is that of the reference's labeled rows, so that no labels are needed now. Features that are related explain the
    same change, so parts do not add up to it. The ten largest are reported; one that chance explains is 0.
    """

    name: ClassVar[str] = "feature_causes"
    metrics: ClassVar[Sequence[Metric]] = (FEATURE,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastRows}

    def __init__(self, least: LeastRows) -> None:
        self._min_rows = least.min_rows

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the parts of the features that explain most."""
        fit = reference.schema.fit(FeatureLosses)
        if fit is None or window.pane.rows[1] < self._min_rows:
            return []
        moved, error = feature_parts(fit, window, reference)
        moved = np.where(np.abs(moved) > -ndtri(_ALPHA / 2.0 / len(moved)) * error, moved, 0.0)
        order = np.argsort(-np.abs(moved), kind="stable")[:NAMED]
        attributes = feature_attributes(window.model, reference.schema.columns)
        return [
            Measurement(FEATURE.name, float(moved[row]), FEATURE.unit, attributes[fit.positions[row]], window.end_ns)
            for row in order.tolist()
        ]


def feature_parts(fit: FeatureLosses, window: Window, reference: Reference) -> tuple[F64, F64]:
    """Return each feature's part, and its standard error of independent rows, ``[K]``; 0 for one without cells."""
    parts = np.zeros((2, len(fit.losses)))
    sides = (
        [*fit.cells(window.schema, reference.pane)],
        [*fit.cells(window.schema, window.pane)],
    )
    scales = rows_per_weight(reference.pane), rows_per_weight(window.pane)
    for row, losses in enumerate(fit.losses):
        before, after = (np.maximum(side[row], 0.0) for side in sides)
        if min(float(before.sum()), float(after.sum())) < 0.5:
            continue
        p, q = before / before.sum(), after / after.sum()
        variance = sum(
            (share @ losses**2 - (share @ losses) ** 2) / (cells.sum() * scale)
            for share, cells, scale in ((p, before, scales[0]), (q, after, scales[1]))
        )
        parts[:, row] = (q - p) @ losses, max(float(variance), 0.0) ** 0.5
    return parts[0], parts[1]
