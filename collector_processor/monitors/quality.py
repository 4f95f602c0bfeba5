"""Quality of every feature: cells that are missing, of the wrong type, or unlike any that the reference saw."""

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
    "missing cells, as a share of all cells, missing ones included",
    FEATURE_KEYS,
)
MISSING_INCREASE = Metric(
    semconv.QUALITY_MISSING_INCREASE,
    semconv.UNIT_RATIO,
    "share of missing cells less that of the reference: 0.1 is ten points more; negative where fewer are missing",
    FEATURE_KEYS,
)
WRONG_TYPE = Metric(
    semconv.QUALITY_WRONG_TYPE,
    semconv.UNIT_RATIO,
    "texts in a numeric feature or numbers in a categorical one, as a share of all cells, missing ones included",
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

    The increase of missing cells is what to alarm on: a feature that was 40 % missing in training is no news at 40 %.
    A reference without cells of a feature has no share to compare with, and the increase is left out.

    Infinite numbers are out of range. A text beyond the category limit counts as unseen unless the reference reached
    the limit itself: then nobody can tell. A share of no cells is left out.
    """

    name: ClassVar[str] = "quality"
    metrics: ClassVar[Sequence[Metric]] = (MISSING, MISSING_INCREASE, WRONG_TYPE, OUT_OF_RANGE, UNSEEN)
    sections: ClassVar[Mapping[str, type[Settings]]] = {}

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """The window's shares, metric by metric."""
        pane, numeric = window.pane, len(reference.schema.numeric)
        numbers, texts = pane.counts.sum(axis=1), text_cells(pane, window.schema.categories)
        cells = all_cells(pane, numbers, texts)
        found: list[Measurement] = []
        found += _shares(window, MISSING, pane.missing, cells, 0)
        found += _increases(window, reference, cells)
        found += _shares(window, WRONG_TYPE, pane.wrong_type, cells, 0)
        found += _shares(window, OUT_OF_RANGE, *_beyond(window, reference, numbers), 0)
        found += _shares(window, UNSEEN, _unseen(window, reference), texts, numeric)
        return found


def _increases(window: Window, reference: Reference, cells: F64) -> Iterator[Measurement]:
    """How much larger each feature's missing share is than in the reference."""
    before = reference.prepared(_missing_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        increase = np.clip(window.pane.missing / cells, 0.0, 1.0) - before
    return feature_points(window, MISSING_INCREASE, np.where(cells > 0, increase, np.nan), 0)


def _missing_share(reference: Reference) -> F64:
    """Missing cells of each column of the reference as a share of all, NaN without any."""
    pane = reference.pane
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, reference.schema.categories))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(cells > 0, np.clip(pane.missing / cells, 0.0, 1.0), np.nan)


def _beyond(window: Window, reference: Reference, numbers: F64) -> tuple[F64, F64]:
    """Numbers out of range and numbers at all, ``[F]`` each; none where the reference has no range."""
    edges, counts = reference.schema.edges, window.pane.counts
    finite = np.isfinite(edges).sum(axis=1)
    columns = np.arange(len(edges))
    # The float above the largest of all floats is no edge: then the last bin is in range.
    bounded = (finite > 0) & (edges[columns, finite - 1] > reference.schema.high)
    above = np.where(bounded, counts[columns, finite], 0.0)
    return counts[:, 0] + above, np.where(finite > 0, numbers, 0.0)


def _unseen(window: Window, reference: Reference) -> F64:
    """Texts of each categorical column that the reference does not have, ``[columns]``."""
    known, columns = len(reference.schema.categories), len(reference.schema.categorical)
    unseen = text_cells(window.pane, window.schema.categories, known)
    other = grown(window.pane.category_counts, (len(window.schema.categories),))[:columns]
    return unseen + np.where(reference.pane.category_counts[:columns] > 0, 0.0, other)


def _shares(window: Window, metric: Metric, part: F64, whole: F64, first: int) -> Iterator[Measurement]:
    """One share a feature, for the columns from position ``first`` on."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.clip(part / whole, 0.0, 1.0)
    return feature_points(window, metric, np.where(whole > 0, shares, np.nan), first)


def feature_points(window: Window, metric: Metric, values: F64, first: int) -> Iterator[Measurement]:
    """One value a feature, for the columns from position ``first`` on; NaN is left out."""
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
