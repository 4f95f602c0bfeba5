"""Quality of every feature: cells that are missing, of the wrong type, out of range or unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import FEATURE_KEYS, feature_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window
from otel_ml import semconv

MISSING = Metric(
    semconv.QUALITY_MISSING,
    semconv.UNIT_RATIO,
    "missing cells, as a share of all cells, including missing ones",
    FEATURE_KEYS,
)
MISSING_INCREASE = Metric(
    semconv.QUALITY_MISSING_INCREASE,
    semconv.UNIT_RATIO,
    "share of missing cells minus that of the reference: 0.1 is ten points more; negative if fewer are missing",
    FEATURE_KEYS,
)
WRONG_TYPE = Metric(
    semconv.QUALITY_WRONG_TYPE,
    semconv.UNIT_RATIO,
    "texts in a numeric feature or numbers in a categorical one, as a share of all cells, including missing ones",
    FEATURE_KEYS,
)
OUT_OF_RANGE = Metric(
    semconv.QUALITY_OUT_OF_RANGE,
    semconv.UNIT_RATIO,
    "numbers below the reference's smallest or above its largest, as a share of the numbers",
    FEATURE_KEYS,
)
UNSEEN = Metric(
    semconv.QUALITY_UNSEEN,
    semconv.UNIT_RATIO,
    "texts that the reference does not have, as a share of the texts",
    FEATURE_KEYS,
)


class QualityMonitor:
    """Shares of cells that are missing, of the wrong type, out of range or unseen, for every feature of the reference.

    Alert on the increase of missing cells: a feature that was 40 % missing in training is expected to be. If the
    reference has no cells of a feature, there is no share to compare with, and the increase is omitted.

    Infinite numbers are out of range. A text beyond the category limit counts as unseen unless the reference reached
    the limit itself, because then its categories are incomplete. A share of no cells is omitted.
    """

    name: ClassVar[str] = "quality"
    metrics: ClassVar[Sequence[Metric]] = (MISSING, MISSING_INCREASE, WRONG_TYPE, OUT_OF_RANGE, UNSEEN)
    sections: ClassVar[Mapping[str, type[Settings]]] = {}

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's shares, metric by metric."""
        pane, numeric = window.pane, len(reference.schema.numeric)
        numbers, texts = pane.counts.sum(axis=1), text_cells(pane, window.schema.categories)
        cells = all_cells(pane, numbers, texts)
        measurements: list[Measurement] = []
        measurements += _shares(window, MISSING, pane.missing, cells, 0)
        measurements += _increases(window, reference, cells)
        measurements += _shares(window, WRONG_TYPE, pane.wrong_type, cells, 0)
        measurements += _shares(window, OUT_OF_RANGE, *_beyond(window, reference, numbers), 0)
        measurements += _shares(window, UNSEEN, _unseen(window, reference), texts, numeric)
        return measurements


def _increases(window: Window, reference: Reference, cells: F64) -> Iterator[Measurement]:
    """Return how much larger each feature's missing share is than in the reference."""
    before = reference.prepared(_missing_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        increase = np.clip(window.pane.missing / cells, 0.0, 1.0) - before
    return feature_points(window, MISSING_INCREASE, np.where(cells > 0, increase, np.nan), 0)


def _missing_share(reference: Reference) -> F64:
    """Return the share of missing cells of each column of the reference, NaN for a column without cells."""
    pane = reference.pane
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, reference.schema.categories))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(cells > 0, np.clip(pane.missing / cells, 0.0, 1.0), np.nan)


def _beyond(window: Window, reference: Reference, numbers: F64) -> tuple[F64, F64]:
    """Return the numbers out of range and all numbers, ``[F]`` each; 0 where the reference has no range."""
    edges, counts = reference.schema.edges, window.pane.counts
    finite = np.isfinite(edges).sum(axis=1)
    columns = np.arange(len(edges))
    # There is no edge above the largest of all floats: then the last bin is in range.
    bounded = (finite > 0) & (edges[columns, finite - 1] > reference.schema.high)
    above = np.where(bounded, counts[columns, finite], 0.0)
    return counts[:, 0] + above, np.where(finite > 0, numbers, 0.0)


def _unseen(window: Window, reference: Reference) -> F64:
    """Count the texts of each categorical column that the reference does not have, ``[columns]``."""
    known, columns = len(reference.schema.categories), len(reference.schema.categorical)
    unseen = text_cells(window.pane, window.schema.categories, known)
    other = grown(window.pane.category_counts, (len(window.schema.categories),))[:columns]
    return unseen + np.where(reference.pane.category_counts[:columns] > 0, 0.0, other)


def _shares(window: Window, metric: Metric, part: F64, whole: F64, first: int) -> Iterator[Measurement]:
    """Return one share per feature, for the columns from position ``first`` on."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.clip(part / whole, 0.0, 1.0)
    return feature_points(window, metric, np.where(whole > 0, shares, np.nan), first)


def feature_points(window: Window, metric: Metric, values: F64, first: int) -> Iterator[Measurement]:
    """Return one value per feature, for the columns from position ``first`` on; NaN is omitted."""
    columns = window.schema.columns[first : first + len(values)]
    of_feature = np.array([column.role == "feature" for column in columns], np.bool_)
    places = np.flatnonzero(of_feature & ~np.isnan(values))
    attributes = feature_attributes(window.model, columns)
    return map(
        Measurement,
        repeat(metric.name),
        values[places].tolist(),
        repeat(metric.unit),
        [attributes[place] for place in places.tolist()],
        repeat(window.end_ns),
    )
