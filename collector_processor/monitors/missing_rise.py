"""The rise of a feature's share of missing cells that chance does not explain, for features that are rarely missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import FEATURE_KEYS, feature_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.certain_drop import ALPHA, Interval, wilson
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.monitors.drift_words import percent
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories
from collector_processor.window.closed import Window
from otel_ml import semconv

FLOOR: Final = 0.001
"""Added to the reference's share, so that a rise from one cell in a million to three does not count."""
MISSING_RISE: Final = Metric(
    semconv.QUALITY_MISSING_RISE,
    semconv.UNIT_RATIO,
    "how much the share of missing cells rose at least, as a multiple of the reference's share plus 0.1 %: the rise "
    "less what chance explains",
    FEATURE_KEYS,
)


class MissingRiseMonitor:
    """How many times as often each feature is missing as in the reference, at least.

    A feature that was missing in 0.01 % of the rows and is now in 1 % is broken somewhere, but 1 % is not much.
    The lower end of the rise has Wilson's intervals of both shares, combined by Newcombe's method, at a probability of
    0.0001 for all features together. It is divided by the reference's share plus 0.1 %.
    """

    name: ClassVar[str] = "missing_rise"
    metrics: ClassVar[Sequence[Metric]] = (MISSING_RISE,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {}
    takes_counts: ClassVar[bool] = True

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the rise of every feature with cells on both sides."""
        before = reference.prepared(_of_reference)
        after = _missing(window.pane, window.schema.categories)
        with np.errstate(invalid="ignore"):
            least = after.value - before.value - np.hypot(after.down, before.up)
        return list(_points(window, least / (before.value + FLOOR), before.value, after.value))


def _points(window: Window, rise: F64, before: F64, after: F64) -> Iterator[Measurement]:
    columns = window.schema.columns
    attributes = feature_attributes(window.model, columns)
    for place in np.flatnonzero(np.isfinite(rise)).tolist():
        if columns[place].role == "feature":
            words = (
                f"{percent(float(before[place]))} → {percent(float(after[place]))} missing" if rise[place] > 0.0 else ""
            )
            yield Measurement(
                MISSING_RISE.name, float(rise[place]), MISSING_RISE.unit, attributes[place], window.end_ns, words=words
            )


def _of_reference(reference: Reference) -> Interval:
    return _missing(reference.pane, reference.schema.categories)


def _missing(pane: Pane, categories: Categories) -> Interval:
    """Return the interval of each column's share of missing cells, ``[C]``; NaN without cells."""
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, categories))
    z = -float(ndtri(ALPHA / max(len(cells), 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(cells > 0, np.clip(pane.missing / cells, 0.0, 1.0), np.nan)
        return wilson(share, cells * rows_per_weight(pane), z)
