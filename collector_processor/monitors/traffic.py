"""Traffic of the window: rows, labels and their delay, and latency; rows and latency also for each segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from collector_processor.monitors.attributes import (
    MODEL_KEYS,
    SEGMENT_KEYS,
    Attributes,
    group_attributes,
    model_attributes,
)
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.latency import quantile
from collector_processor.statistics.pane import Outcomes
from collector_processor.window.closed import Window
from otel_ml import semconv

ROWS = Metric(semconv.WINDOW_ROWS, semconv.UNIT_ROW, "predictions in the window, with sampling weights", SEGMENT_KEYS)
LABELS = Metric(
    semconv.WINDOW_LABELS, semconv.UNIT_LABEL, "labels joined in the window, with sampling weights", MODEL_KEYS
)
COVERAGE = Metric(
    semconv.LABELS_COVERAGE,
    semconv.UNIT_RATIO,
    "labels joined in the window to a prediction with an output, divided by its predictions, at most 1; labels may be "
    "for earlier predictions",
    MODEL_KEYS,
)
DELAY = Metric(
    semconv.LABELS_DELAY, semconv.UNIT_SECOND, "median time from a prediction to its label, within 1 %", MODEL_KEYS
)
LATENCIES = tuple(
    (level, Metric(name, semconv.UNIT_SECOND, f"{level:.0%} of calls took at most this, within 1 %", SEGMENT_KEYS))
    for level, name in ((0.5, semconv.LATENCY_P50), (0.95, semconv.LATENCY_P95), (0.99, semconv.LATENCY_P99))
)


class TrafficMonitor:
    """Rows, labels, their coverage and delay, and latency quantiles; rows and latency also for each segment value.

    Rows and labels are counts, so they can be 0. Coverage needs a row, the delay a label, latency a call with a
    duration. Values of a segment beyond the limit are combined as ``other``; values without rows are omitted.
    """

    name: ClassVar[str] = "traffic"
    metrics: ClassVar[Sequence[Metric]] = (ROWS, LABELS, COVERAGE, DELAY, *(metric for _, metric in LATENCIES))
    sections: ClassVar[Mapping[str, type[Settings]]] = {}
    takes_counts: ClassVar[bool] = True

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's traffic, first all rows together, then segment by segment."""
        del reference  # traffic is not compared
        model, pane = model_attributes(window.model), window.pane
        rows, labels = max(float(pane.rows[0]), 0.0), max(float(pane.outcomes.labels[0]), 0.0)
        measurements = [_point(window, ROWS, rows, model), _point(window, LABELS, labels, model)]
        if rows > 0:
            measurements.append(_point(window, COVERAGE, min(_compared(pane.outcomes) / rows, 1.0), model))
        delay = float(quantile(pane.outcomes.delay, 0.5))
        if labels > 0 and not np.isnan(delay):
            measurements.append(_point(window, DELAY, delay, model))
        measurements += _segment_rows(window)
        measurements += _latencies(window)
        return measurements


def _compared(outcomes: Outcomes) -> float:
    """Return how many labels met a prediction with a class, a value or a score."""
    compared = (outcomes.by_class[0, 1].sum(), outcomes.score_hits[0].sum(), outcomes.errors[0, 0])
    return max(0.0, *map(float, compared))


def _point(window: Window, metric: Metric, value: float, attributes: Attributes) -> Measurement:
    return Measurement(metric.name, value, metric.unit, attributes, window.end_ns)


def _segment_rows(window: Window) -> Iterator[Measurement]:
    """Yield the rows of each segment value that has any."""
    rows = window.pane.group_rows[:, 0]
    for group in np.flatnonzero(rows[1:] > 0) + 1:
        yield _point(window, ROWS, float(rows[group]), group_attributes(window.model, window.schema, int(group)))


def _latencies(window: Window) -> Iterator[Measurement]:
    """Yield quantiles of the durations, for all rows and for each segment value with calls."""
    groups = np.flatnonzero(window.pane.latency.sum(axis=1) > 0)
    seconds = quantile(window.pane.latency[groups], [level for level, _ in LATENCIES])
    for group, row in zip(groups.tolist(), seconds.tolist(), strict=True):
        attributes = group_attributes(window.model, window.schema, group)
        for (_, metric), value in zip(LATENCIES, row, strict=True):
            yield _point(window, metric, value, attributes)
