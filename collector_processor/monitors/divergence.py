"""Whether the labels that came bear the estimate out: performance realized and expected of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from collector_processor.monitors.attributes import SEGMENT_KEYS
from collector_processor.monitors.attributes import group_attributes as attributes_of
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.monitors.performance import ROUNDING, LeastLabels
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.window.closed import Window
from otel_ml import semconv

DIVERGENCE: Final = Metric(
    semconv.CONCEPT_DIVERGENCE,
    semconv.UNIT_RATIO,
    "accuracy of the rows whose labels came, less the accuracy that their calibrated scores expected",
    SEGMENT_KEYS,
)
ERROR: Final = Metric(
    semconv.CONCEPT_DIVERGENCE_ERROR,
    semconv.UNIT_RATIO,
    "standard error of the divergence, of independent rows",
    SEGMENT_KEYS,
)


class DivergenceMonitor:
    """Accuracy realized less accuracy expected, of the same rows: those whose labels came.

    With d = 1 − p for a right prediction and −p for a wrong one, p the probability that it is right, the mean of d is
    0 as long as scores mean what they meant in the reference, whatever rows come. So a divergence of some standard
    errors is a change of the world, not of the population. The standard error √((Σd²/n − d̄²)/n) is that of the rows;
    the error of the calibration comes on top, about as large for as many rows as the reference has.
    """

    name: ClassVar[str] = "divergence"
    metrics: ClassVar[Sequence[Metric]] = (DIVERGENCE, ERROR)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self._least = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the divergence of all groups with enough joined labels."""
        del reference
        count, total, squares = window.pane.further[EstimatedSums].divergence.T
        scale = rows_per_weight(window.pane)
        found: list[Measurement] = []
        for group in np.flatnonzero(count >= self._least * (1.0 - ROUNDING)).tolist():
            rows = float(count[group])
            mean = float(total[group]) / rows
            error = (max(float(squares[group]) / rows - mean**2, 0.0) / (rows * scale)) ** 0.5
            attributes = attributes_of(window.model, window.schema, group)
            found += [
                Measurement(metric.name, value, metric.unit, attributes, window.end_ns)
                for metric, value in ((DIVERGENCE, mean), (ERROR, error))
            ]
        return found
