"""Performance by the time of prediction: how good the predictions of a cohort were, restated as labels come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.interval_monitor import Looks, bounds, of_performance
from collector_processor.monitors.performance import METRICS, ROUNDING, labeled_attributes, performance
from collector_processor.window.cohorts import Cohort
from otel_ml import semconv

END: Final = Metric(
    semconv.COHORT_END,
    "s",
    "end of the newest stretch of time whose predictions have nearly all the labels that ever come, as Unix time; "
    "performance with the source `restated` is about its predictions",
    MODEL_KEYS,
)
COVERAGE: Final = Metric(
    semconv.COHORT_COVERAGE,
    semconv.UNIT_RATIO,
    "share of the predictions of that stretch of time whose label has come",
    MODEL_KEYS,
)
RESTATED_METRICS: Final = (END, COVERAGE)


def restated(cohort: Cohort, min_labels: float, time_ns: int, *, looks: Looks = True) -> Iterator[Measurement]:
    """Yield the performance of a cohort as it is known at ``time_ns``, for all groups with enough labels.

    The figures are those of :class:`.PerformanceMonitor` with ``ml.performance.source`` = ``restated``. A window's
    figures with the source ``labels`` are about the labels that came in it, whatever they belong to; these are about
    the predictions that were made in one stretch of time. With their intervals, as ``looks`` says.
    """
    window = cohort.window
    outcomes, schema = window.pane.outcomes, window.schema
    groups = np.flatnonzero(outcomes.labels >= min_labels * (1.0 - ROUNDING)).tolist()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scores = list(performance(schema, outcomes))
    for metric, value in ((END, window.end_ns / 1e9), (COVERAGE, min(cohort.coverage, 1.0))):
        yield Measurement(metric.name, value, metric.unit, model_attributes(window.model), time_ns)
    for group in groups:
        attributes = labeled_attributes(window.model, schema, group, semconv.SOURCE_RESTATED)
        for score in scores:
            metric = METRICS[score.name]
            metric = replace(metric, unit=schema.unit) if metric.unit == semconv.UNIT_VALUE else metric
            average = ((semconv.PERFORMANCE_AVERAGE, score.average),) if score.average else ()
            if np.isfinite(score.values[group]):
                yield Measurement(metric.name, float(score.values[group]), metric.unit, attributes + average, time_ns)
    if looks:
        yield from bounds(window, of_performance(window), min_labels, semconv.SOURCE_RESTATED, time_ns, looks=looks)
