"""Why performance changed: another population, another world, or cases that the reference does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import SEGMENT_KEYS, group_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.cause_words import cause_text
from collector_processor.monitors.disde import TERMS, Split, joined_cells, split
from collector_processor.monitors.performance import DROP_LABELS, ROUNDING, LeastLabels
from collector_processor.monitors.world_cells import equal_rows, where_worse
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.parts.cause_sums import CauseSums
from collector_processor.window.closed import Window
from otel_ml import semconv

_TERM_METRICS: Final = tuple(
    Metric(name, semconv.UNIT_ERROR, description, SEGMENT_KEYS)
    for name, description in (
        (
            semconv.CAUSE_POPULATION,
            "part of the change of the mean error from fewer or more cases of kinds that the reference has; above 0, "
            "it is worse",
        ),
        (semconv.CAUSE_CONCEPT, "part from other outcomes of the same cases: the world has changed"),
        (semconv.CAUSE_UNSEEN, "part from cases that the reference lacks, or has much fewer of"),
        (
            semconv.CAUSE_CHANGE,
            "change of the mean error since the reference: of the share of wrong classes, or of the absolute error in "
            "the unit of the value",
        ),
    )
)
ERROR: Final = Metric(
    semconv.CAUSE_ERROR,
    semconv.UNIT_ERROR,
    "standard error of a part, of independent rows",
    (*SEGMENT_KEYS, semconv.CAUSE_TERM),
)


class CauseMonitor:
    """The change of the mean error since the reference in three parts that add up to it.

    Of each segment, too. The rows that count are those whose labels came; the reference needs labels, or the first
    labels that came after it. The words of ``ml.cause.concept`` name where the world differs: :mod:`.world_cells`.

    Source: T. Cai, H. Namkoong, S. Yadlowsky, Operations Research 2025 (arXiv 2303.02011); :mod:`.disde`.
    """

    name: ClassVar[str] = "causes"
    metrics: ClassVar[Sequence[Metric]] = (*_TERM_METRICS, ERROR)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastLabels}

    def __init__(self, least: LeastLabels) -> None:
        self._least = DROP_LABELS * least.min_labels

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the parts of all rows and of each segment that has enough labels, now and in the reference."""
        found = splits(window, reference, self._least)
        measurements: list[Measurement] = []
        for group, parts in found.items():
            attributes = group_attributes(window.model, window.schema, group)
            for term, metric, value, error in zip(TERMS, _TERM_METRICS, parts.terms, parts.errors, strict=True):
                words = where_worse(window, reference, found) if term == "concept" and group == 0 else ""
                last = (*attributes, (semconv.CAUSE_TERM, term))
                measurements += [
                    Measurement(metric.name, float(value), metric.unit, attributes, window.end_ns, words=words),
                    Measurement(ERROR.name, float(error), ERROR.unit, last, window.end_ns),
                ]
        return measurements


def splits(window: Window, reference: Reference, least: float) -> dict[int, Split]:
    """Return the parts of each group with ``least`` labels now and in the reference: 0 is all rows."""
    fit = reference.schema.fit(CauseCells)
    before, after = reference.pane.further[CauseSums], window.pane.further[CauseSums]
    if fit is None or before.cells.shape != after.cells.shape or len(after.cells) != fit.count:
        return {}
    scales = equal_rows(reference.pane), equal_rows(window.pane)
    found: dict[int, Split] = {}
    for group in range(min(len(before.leaves), len(after.leaves))):
        old, new, ranges = before.leaves[group], after.leaves[group], 1
        if group == 0:
            old, new, ranges = before.cells, after.cells, fit.ranges
        parts = _split(old, new, ranges, scales, least)
        if parts is not None:
            found[group] = parts
    return found


def _split(old: F64, new: F64, ranges: int, scales: tuple[float, float], least: float) -> Split | None:
    labels = float(old[:, 0].sum()), float(new[:, 0].sum())
    if min(labels) < least * (1.0 - ROUNDING) or not (np.isfinite(old).all() and np.isfinite(new).all()):
        return None
    rows = min(count * scale for count, scale in zip(labels, scales, strict=True))
    parts = split(old, new, joined_cells(old[:, 0], rows, ranges), scales)
    return parts if parts is not None and np.isfinite(parts.errors).all() else None


def cause_words(window: Window, reference: Reference, least: float, group: int) -> str:
    """Return the larger cause of a rise of the mean error in words.

    Empty if it is not beyond two standard errors, or if errors have not risen.
    """
    parts = splits(window, reference, DROP_LABELS * least).get(group)
    if parts is None:
        return ""
    population, moved, unseen, change = parts.terms.tolist()
    concept = moved > population + unseen
    value = moved if concept else population + unseen
    error = parts.errors[1] if concept else np.hypot(parts.errors[0], parts.errors[2])
    if change <= 0.0 or not value > 2.0 * error:
        return ""
    unit = window.schema.unit if window.schema.task == "regression" else ""
    return cause_text(concept=concept, value=value, change=change, unit=unit)
