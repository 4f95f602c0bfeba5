"""Errors of a regression before the labels come: what trees of the reference expect of each prediction (DLE)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.performance import METRICS, ROUNDING, LeastLabels, labeled_attributes
from collector_processor.own.install import install
from collector_processor.reference.fits.losses import LEAST_ROWS
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.parts.losses import LossSums
from collector_processor.window.closed import Window
from otel_ml import semconv

RMSLE: Final = Metric(
    semconv.PERFORMANCE + "rmsle",
    semconv.UNIT_RATIO,
    "root of the mean squared difference of ln(1 + value) and ln(1 + label); only estimated",
    METRICS["mae"].attributes,
)
FIGURES: Final[Mapping[str, Metric]] = {
    "absolute": METRICS["mae"],
    "squared": METRICS["rmse"],
    "relative": METRICS["mape"],
    "squared_log": RMSLE,
}
"""The figure of each loss: its mean, or the root of it for those that are squared."""


WHOLE: Final = 0.99
"""Share of a group's rows that must have an expected loss: its mean would be that of other rows."""


class EstimatedErrorMonitor:
    """Direct loss estimation: MAE, RMSE, MAPE and RMSLE that the features and predictions of a window lead to expect.

    The mean of what trees expect of each row that they look at, for all rows and for each segment with at least
    ``min_labels`` such rows. A changed population is seen; that the world has changed is not: the trees know the errors
    that the reference had. Of large batches the trees look at a part of the rows, which stands for all of them.

    Left out: the RMSLE where more than 1 % of the predictions are negative. Source: NannyML's DLE.
    """

    name: ClassVar[str] = "estimated_errors"
    metrics: ClassVar[Sequence[Metric]] = tuple(FIGURES.values())
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self._least = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the expected errors; none without loss trees."""
        del reference
        sums = window.pane.further[LossSums].sums
        return [
            Measurement(
                metric.name,
                value,
                window.schema.unit if metric.unit == semconv.UNIT_VALUE else metric.unit,
                labeled_attributes(window.model, window.schema, group, semconv.SOURCE_ESTIMATED),
                window.end_ns,
            )
            for loss, metric in FIGURES.items()
            for group, value in expected_errors(sums, loss, self._least)
        ]


def expected_errors(sums: F64, loss: str, least: float) -> Iterator[tuple[int, float]]:
    """Yield the groups with enough evaluated rows, and the figure of a loss, from :class:`.LossSums` ``[G, 4, 4]``.

    >>> sums = np.full((1, 4, 4), [50.0, 200.0, 0.0, 50.0])
    >>> list(expected_errors(sums, "squared", 50))
    [(0, 2.0)]
    """
    place = LOSSES.index(loss)
    weight, total, _, rows = sums[:, place].T
    enough = (rows >= least * (1.0 - ROUNDING)) & (rows >= WHOLE * sums[:, 0, 3]) & (weight > 0.0)
    for group in np.flatnonzero(enough).tolist():
        mean = max(float(total[group] / weight[group]), 0.0)
        if np.isfinite(mean):
            yield group, float(np.sqrt(mean)) if loss.startswith("squared") else mean


def without_losses(reference: Reference) -> str:
    """Return why a regression with this reference has no estimated errors; empty if it has, or is another task."""
    schema = reference.schema
    if schema.task != "regression" or schema.fit(LossTrees) is not None:
        return ""
    if not reference.pane.outcomes.labels[0] > 0.0:
        why = "its reference has no labels"
    elif reference.pane.rows[1] < LEAST_ROWS:
        why = f"its reference has fewer than {LEAST_ROWS:,} rows"
    else:
        why = f"no trees were fitted at `reference build` ({install('estimate')})"
    return f"errors are not estimated before labels come: {why}"
