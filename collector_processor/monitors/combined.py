"""Accuracy, or the mean absolute error, from few labels and the estimates of all rows together (PPI++)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.estimated_performance import WITHOUT, share_without
from collector_processor.monitors.intervals import BAND, FEW
from collector_processor.monitors.left_out import LeftOut, groups_words
from collector_processor.monitors.performance import LOWER, METRICS, ROUNDING, UPPER, LeastLabels, labeled_attributes
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.parts.combined import CombinedSums
from collector_processor.window.closed import Window
from otel_ml import semconv

SELECTED: Final = 3.5
"""Standard errors by which the estimates of labeled rows may differ from those of all rows."""


class Combined(NamedTuple):
    """A figure of each group ``[G]``, its standard error, the weight λ of the estimates, and whether it is of use.

    ``selected``: it would be of use if its labels were those of a random sample.
    """

    value: F64
    error: F64
    weight: F64
    known: Mask
    selected: Mask


class CombinedMonitor:
    """Prediction-powered inference: what labels say, corrected by how their rows differ from all rows of the window.

    θ = mean of Y over the labels + λ · (mean of p over all rows − mean of p over the labels), with Y whether a
    prediction was right, or its absolute error, and p what was expected of it. λ makes the variance least. The figure
    is right even where p is not, but the labels must be those of a random sample of the rows.

    Left out: groups with fewer than ``min_labels`` labels or rows, or fewer than ten right or wrong predictions, and
    those in which the estimates of the labeled rows differ from those of all rows by more than chance allows: their
    labels are selected. Source: A. Angelopoulos, J. Duchi and T. Zrnic, "PPI++", 2023.
    """

    name: ClassVar[str] = "combined"
    metrics: ClassVar[Sequence[Metric]] = (METRICS["accuracy"], METRICS["mae"], LOWER, UPPER)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self._least = least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the figure of all groups with enough labels and rows, each with the ends of its 95 % interval."""
        del reference
        found, schema = self._combined(window), window.schema
        if found is None:
            return []
        shares = schema.task != "regression"
        name = "accuracy" if shares else "mae"
        unit, most = (METRICS[name].unit, 1.0) if shares else (schema.unit, np.inf)
        points: list[Measurement] = []
        for group in np.flatnonzero(found.known).tolist():
            attributes = labeled_attributes(window.model, schema, group, semconv.SOURCE_COMBINED)
            value, margin = float(found.value[group]), BAND.z * float(found.error[group])
            about = (*attributes, (semconv.PERFORMANCE_METRIC, name))
            points += [
                Measurement(METRICS[name].name, min(max(value, 0.0), most), unit, attributes, window.end_ns),
                Measurement(LOWER.name, min(max(value - margin, 0.0), most), unit, about, window.end_ns),
                Measurement(UPPER.name, min(max(value + margin, 0.0), most), unit, about, window.end_ns),
            ]
        return points

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield the groups that are left out because their labels are selected."""
        del reference, measured
        found, schema = self._combined(window), window.schema
        groups: list[int] = [] if found is None else np.flatnonzero(found.selected).tolist()
        if groups:
            name = "mean absolute error" if schema.task == "regression" else "accuracy"
            yield LeftOut(
                "selected_labels",
                len(groups),
                f"the {name} from labels and estimates together is left out of {groups_words(schema, groups)}: labels "
                "are those of rows unlike the others, by their estimates, not of a random sample",
            )

    def _combined(self, window: Window) -> Combined | None:
        """Return the figure of all groups; None without estimates of nearly all rows."""
        sums = window.pane.further[CombinedSums]
        if not sums.rows.size or share_without(window) > WITHOUT:
            return None
        return combined(sums, self._least, shares=window.schema.task != "regression")


def combined(sums: CombinedSums, least: float, *, shares: bool) -> Combined:
    """Return the figure of all groups.

    n labels, m of them with an estimate, N rows: the variance Var(Y) / n + λ² (Var(p) / m + Var(p) / N) −
    2 λ Cov(Y, p) / n is least for λ = Cov(Y, p) / n / (Var(p) (1 / m + 1 / N)), with Var(p) of both sets of rows
    together, at least 0 and at most 1. With m = n this is PPI++, whose labeled rows are others than the N. Here they
    may be among them, which adds 2 λ (Cov(Y, p) − λ Var(p)) / N.

    Of 100 labels 80 are right, as estimated on average; of all 1,000 rows, 90 % are expected to be:

    >>> both = np.array([[100.0, 100.0, 80.0, 80.0, 66.0, 70.0]])
    >>> labeled, rows = np.array([[100.0, 100.0, 80.0, 80.0]]), np.array([[1000.0, 1000.0, 900.0, 860.0]])
    >>> found = combined(CombinedSums(labeled, both, rows), 50.0, shares=True)
    >>> found.value.round(3).tolist(), found.error.round(3).tolist(), found.weight.round(2).tolist()
    ([0.835], [0.039], [0.35])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size, size_2, y, yy = sums.labeled.T
        count, count_2, y_both, p, yp, pp = sums.both.T
        rows, rows_2, p_all, pp_all = sums.rows.T
        labeled, paired, every = size**2 / size_2, count**2 / count_2, rows**2 / rows_2
        mean = y / size
        spread = np.maximum(yy / size - mean**2, 0.0)
        shared = yp / count - y_both / count * (p / count)
        within = np.maximum(pp / count - (p / count) ** 2, 0.0)
        over_all = np.maximum(pp_all / rows - (p_all / rows) ** 2, 0.0)
        noise = within / paired + over_all / every
        total = count + rows
        pooled = np.maximum((pp + pp_all) / total - ((p + p_all) / total) ** 2, 0.0)
        varies = pooled > ROUNDING * (pp + pp_all) / total
        least_noise = np.where(varies, pooled, 1.0) * (1.0 / paired + 1.0 / every)
        weight = np.clip(np.where(varies, shared / labeled / least_noise, 0.0), 0.0, 1.0)
        apart = p_all / rows - p / count
        variance = spread / labeled + weight**2 * noise - 2.0 * weight * shared / labeled
        among = shared - weight * np.where(varies, pooled, 0.0)
        variance += np.maximum(2.0 * weight * among / every, 0.0)
        selected = np.abs(apart) > SELECTED * np.sqrt(noise) + ROUNDING * np.abs(p / count)
        enough = np.minimum(size, np.minimum(count, rows)) >= least * (1.0 - ROUNDING)
        known = enough & (spread > ROUNDING * yy / size)
        if shares:
            known &= np.minimum(mean, 1.0 - mean) * labeled >= FEW
        error = np.sqrt(np.maximum(variance, 0.0))
        return Combined(mean + weight * apart, error, weight, known & ~selected, known & selected)
