"""The 95 % interval of every figure of realized performance, so that a board can draw a band."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np

from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.class_ranking_intervals import class_ranking_intervals
from collector_processor.monitors.figure_intervals import further_intervals, intervals
from collector_processor.monitors.further_performance import FURTHER_METRICS, FurtherPerformanceSettings
from collector_processor.monitors.intervals import BAND, Interval, independent_labels
from collector_processor.monitors.performance import (
    DROP_LABELS,
    LOWER,
    METRICS,
    ROUNDING,
    UPPER,
    LeastLabels,
    labeled_attributes,
)
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.window.closed import Window
from otel_ml import semconv

Found = tuple[str, Attributes, Interval]
"""The name of a figure, its attributes besides the group's, and its interval of all groups."""
_LEAST: Final = {"r2": -np.inf, "mcc": -1.0}
"""The least value of a figure; of others it is 0."""
_MOST: Final[Mapping[str, float]] = dict[str, float].fromkeys(
    ("log_loss", "mae", "rmse", "mape", "lift", "quantile_loss"), np.inf
)
"""The greatest value of a figure; of others it is 1."""
ANYTIME: Final = "anytime"
_ALPHA: Final = 0.05
_NARROWEST: Final = float(np.log(1.0 - 2.0 * np.log(_ALPHA)) - 2.0 * np.log(_ALPHA))
"""ρ² times the count at which a confidence sequence is narrowest."""
Looks: TypeAlias = bool | Literal["anytime"]
"""Whether there are intervals, and whether they are to hold at all times together."""


class IntervalMonitor:
    """Within which range each figure of performance lies with 95 %, given the number of labels.

    Shares have Wilson's interval, or Clopper and Pearson's where fewer than ten rows are right or wrong; F1, averages
    over classes, Matthews' correlation, ROC AUC (DeLong's variance), average precision and lift that of a share with
    their variance. Means of errors and losses have Hall's, which takes their skewness into account, R² that of a ratio
    of sums. The interval of the calibration error is wider than 95 %. Rows with weights count as the rows that they
    are worth. With ``intervals: anytime``, both sides are :func:`widened` so that they hold at all looks together.

    Left out: segments with fewer than four times ``min_labels`` labels; figures of the score with fewer than ten rows
    of either class; means and ratios of sums of which a few rows are the greater part; a mean of equal values.

    Sources: E. B. Wilson, JASA 22, 1927; C. J. Clopper and E. S. Pearson, Biometrika 26, 1934; E. R. DeLong et al.,
    Biometrics 44, 1988; P. Hall, JRSS B 54, 1992; R. G. Newcombe, Statistics in Medicine 17, 1998;
    I. Waudby-Smith et al., Annals of Statistics 52, 2024.
    """

    name: ClassVar[str] = "intervals"
    metrics: ClassVar[Sequence[Metric]] = (LOWER, UPPER)
    sections: ClassVar[Mapping[str, type[Settings]]] = {
        "performance": FurtherPerformanceSettings,
        WINDOW: LeastLabels,
    }

    def __init__(self, settings: FurtherPerformanceSettings, least: LeastLabels) -> None:
        self._settings = settings
        self._min_labels = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return both ends of the interval of each figure, for all groups with enough labels."""
        if not self._settings.intervals or not window.pane.outcomes.labels[0] > 0.0:
            return []
        found = [*of_performance(window), *further_intervals(window.schema, window.pane, self._settings, BAND)]
        if window.schema.task == "multiclass_classification":
            found += class_ranking_intervals(window, reference, self._settings.classes)
        return [
            *bounds(
                window, found, self._min_labels, semconv.SOURCE_LABELS, window.end_ns, looks=self._settings.intervals
            )
        ]


def of_performance(window: Window) -> Iterator[Found]:
    """Yield the intervals of the figures of :func:`.performance`."""
    for (name, average), interval in intervals(window.schema, window.pane, BAND).items():
        yield name, ((semconv.PERFORMANCE_AVERAGE, average),) if average else (), interval


def widened(count: float, planned: float) -> float:
    """Return by how much wider an interval of ``count`` rows is that holds for every count together.

    That of the asymptotic confidence sequence, √((nρ² + 1) / (nρ²) · ln((nρ² + 1) / α²)) standard errors, with ρ² so
    that it is narrowest at the ``planned`` count.

    >>> [round(widened(count, 200.0), 2) for count in (50.0, 200.0, 1e4, 1e6)]
    [1.67, 1.55, 1.77, 2.08]
    """
    scaled = _NARROWEST * count / planned
    return float(np.sqrt((scaled + 1.0) / scaled * np.log((scaled + 1.0) / _ALPHA**2)) / BAND.z)


def bounds(
    window: Window, found: Iterable[Found], min_labels: float, source: str, time_ns: int, *, looks: Looks = True
) -> Iterator[Measurement]:
    """Yield both ends of each interval: of all rows from ``min_labels`` on, of a segment from four times as many on."""
    rows = independent_labels(window.pane)
    labels, schema = window.pane.outcomes.labels, window.schema
    least = np.full(len(labels), DROP_LABELS * min_labels * (1.0 - ROUNDING))
    least[0] = min_labels * (1.0 - ROUNDING)
    groups = {
        group: labeled_attributes(window.model, schema, group, source)
        for group in np.flatnonzero(labels >= least).tolist()
    }
    for name, more, interval in found:
        metric = METRICS.get(name) or FURTHER_METRICS[name]
        unit = schema.unit if metric.unit == semconv.UNIT_VALUE else metric.unit
        low = _LEAST.get(name, 0.0)
        last = (*more, (semconv.PERFORMANCE_METRIC, name))
        for group, attributes in groups.items():
            if group >= len(interval.value):
                continue
            value, down, up = (float(side[group]) for side in interval)
            if looks == ANYTIME:
                wider = widened(float(rows[group]), DROP_LABELS * min_labels)
                down, up = down * wider, min(up * wider, _MOST.get(name, 1.0) - value)
            ends = max(value - down, low), value + up
            if np.isfinite(ends).all():
                for bound, end in zip((LOWER, UPPER), ends, strict=True):
                    yield Measurement(bound.name, end, unit, attributes + last, time_ns)
