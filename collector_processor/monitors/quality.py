"""Quality of features and outputs: cells that are missing, of the wrong type, out of range or unseen; failed calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import ClassVar, Final

import numpy as np
from scipy.special import ndtri

from collector_processor.columns.batch import F64, I64
from collector_processor.monitors.attributes import (
    COLUMN_KEYS,
    SEGMENT_KEYS,
    Attributes,
    feature_attributes,
    group_attributes,
    quality_attributes,
)
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window
from otel_ml import semconv

MISSING = Metric(
    semconv.QUALITY_MISSING,
    semconv.UNIT_RATIO,
    "missing cells, as a share of all cells, including missing ones",
    COLUMN_KEYS,
)
MISSING_INCREASE = Metric(
    semconv.QUALITY_MISSING_INCREASE,
    semconv.UNIT_RATIO,
    "share of missing cells minus that of the reference: 0.1 is ten points more; negative if fewer are missing; more "
    "than 0.1 is left out if chance explains it",
    COLUMN_KEYS,
)
WRONG_TYPE = Metric(
    semconv.QUALITY_WRONG_TYPE,
    semconv.UNIT_RATIO,
    "texts in a numeric feature or numbers in a categorical one, as a share of all cells, including missing ones",
    COLUMN_KEYS,
)
OUT_OF_RANGE = Metric(
    semconv.QUALITY_OUT_OF_RANGE,
    semconv.UNIT_RATIO,
    "numbers below the reference's smallest or above its largest, as a share of the numbers",
    COLUMN_KEYS,
)
GONE = Metric(
    semconv.QUALITY_GONE,
    semconv.UNIT_RATIO,
    "how many of the cells that are expected by the reference are missing: 1 if the column is gone, 0 if none is",
    COLUMN_KEYS,
)
ERROR_RATE = Metric(
    semconv.QUALITY_ERROR_RATE,
    semconv.UNIT_RATIO,
    "share of the predictions that failed: their call raised an error",
    SEGMENT_KEYS,
)
GONE_CELLS: Final = 20
"""Cells that a window must be expected to have for a column to be gone: without any by chance once in 5e8 windows."""
CHANCE: Final = 0.001
"""Probability with which an increase is explained by chance."""
TOLERATED: Final = 0.1
"""The increase that the built-in rule tolerates; more must be beyond chance, for few rows on either side."""
MOSTLY_ONCE: Final = 0.5
"""Share of a reference's texts that came once, from which on most texts of any other rows are new (Good and Turing)."""
UNSEEN = Metric(
    semconv.QUALITY_UNSEEN,
    semconv.UNIT_RATIO,
    "texts that the reference does not have, as a share of the texts; left out if most texts of the reference itself "
    "came once",
    COLUMN_KEYS,
)


class QualityMonitor:
    """Shares of cells that are missing, of the wrong type, out of range or unseen, for the columns of the reference.

    Columns are the features, and the outputs: the prediction (its class or value) and the score. An output that is NaN
    is missing, like one that is absent; those of failed predictions are not expected.

    Alert on the increase of missing cells: a feature that was 40 % missing in training is expected to be. If the
    reference has no cells of a feature, there is no share to compare with, and the increase is omitted.

    With few rows on either side, chance makes large increases: those are left out. So are unseen texts of a column in
    which most of the reference's own texts came once, as ids do, or a thousand cities among 200 rows.

    Infinite numbers are out of range unless the reference has such. A text beyond the category limit counts as unseen
    unless the reference reached the limit itself, because then its categories are incomplete. A share of no cells is
    omitted.

    The error rate is the share of failed predictions, also for each segment value.
    """

    name: ClassVar[str] = "quality"
    metrics: ClassVar[Sequence[Metric]] = (
        MISSING, MISSING_INCREASE, GONE, WRONG_TYPE, OUT_OF_RANGE, UNSEEN, ERROR_RATE,
    )  # fmt: skip
    sections: ClassVar[Mapping[str, type[Settings]]] = {}
    takes_counts: ClassVar[bool] = True

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's shares, metric by metric."""
        pane, numeric = window.pane, len(reference.schema.numeric)
        numbers, texts = pane.counts.sum(axis=1), text_cells(pane, window.schema.categories)
        cells = all_cells(pane, numbers, texts)
        measurements: list[Measurement] = []
        measurements += _shares(window, MISSING, pane.missing, cells, 0)
        measurements += _increases(window, reference, cells)
        measurements += _gone(window, reference, cells)
        measurements += _shares(window, WRONG_TYPE, pane.wrong_type, cells, 0)
        measurements += _shares(window, OUT_OF_RANGE, *_beyond(window, reference, numbers), 0)
        measurements += _shares(window, UNSEEN, _unseen(window, reference), texts, numeric)
        measurements += _error_rates(window)
        return measurements


def _increases(window: Window, reference: Reference, cells: F64) -> Iterator[Measurement]:
    """Return how much larger each feature's missing share is than in the reference."""
    before = reference.prepared(_missing_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        increase = np.clip(window.pane.missing / cells, 0.0, 1.0) - before
        rows = reference.prepared(_rows), cells * rows_per_weight(window.pane)
        chance = -float(ndtri(CHANCE / 2.0)) * np.sqrt(before * (1.0 - before) * (1.0 / rows[0] + 1.0 / rows[1]))
        told = (cells > 0) & ~((increase > TOLERATED) & (increase <= chance))
    return _points(window, MISSING_INCREASE, np.where(told, increase, np.nan), 0)


def _rows(reference: Reference) -> F64:
    """Return the number of cells behind each column's share of missing ones."""
    pane = reference.pane
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, reference.schema.categories))
    return cells * rows_per_weight(pane)


def _gone(window: Window, reference: Reference, cells: F64) -> Iterator[Measurement]:
    """Return how many of the expected cells of each column are missing, where enough are expected."""
    present = 1.0 - reference.prepared(_missing_share)
    expected = cells * present
    enough = expected * rows_per_weight(window.pane) >= GONE_CELLS * (1.0 - 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.clip(1.0 - (cells - window.pane.missing) / expected, 0.0, 1.0)
    return _points(window, GONE, np.where(enough, gone, np.nan), 0)


def _error_rates(window: Window) -> Iterator[Measurement]:
    """Return the share of failed predictions of all rows and of each segment value that has any."""
    rows, failed = window.pane.group_rows.T
    for group in np.flatnonzero(rows > 0).tolist():
        rate = min(max(float(failed[group] / rows[group]), 0.0), 1.0)
        attributes = group_attributes(window.model, window.schema, group)
        yield Measurement(ERROR_RATE.name, rate, ERROR_RATE.unit, attributes, window.end_ns)


def _missing_share(reference: Reference) -> F64:
    """Return the share of missing cells of each column of the reference, NaN for a column without cells."""
    pane = reference.pane
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, reference.schema.categories))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(cells > 0, np.clip(pane.missing / cells, 0.0, 1.0), np.nan)


def _beyond(window: Window, reference: Reference, numbers: F64) -> tuple[F64, F64]:
    """Return the numbers out of range and all numbers, ``[F]`` each; 0 where the reference has no range."""
    outside = reference.prepared(_outside)
    return np.einsum("fb,fb->f", window.pane.counts, outside), np.where(np.isfinite(reference.schema.low), numbers, 0.0)


def _outside(reference: Reference) -> F64:
    """Return 1 for every bin below or above the range of the reference's column, else 0, ``[F, B]``.

    A side on which the reference has numbers outside its finite range has infinite ones, and nothing is beyond those.
    """
    schema, counts = reference.schema, reference.pane.counts
    bounds = np.concatenate((schema.edges, np.full((len(schema.edges), 1), np.inf)), axis=1)
    below = (bounds <= schema.low[:, None]).astype(np.float64)
    above = np.zeros_like(below)
    above[:, 1:] = np.isfinite(schema.edges) & (schema.edges > schema.high[:, None])
    for side in (below, above):
        side[(counts * side).sum(axis=1) > 0.0] = 0.0
    return below + above


def _unseen(window: Window, reference: Reference) -> F64:
    """Count the texts of each categorical column that the reference does not have, ``[columns]``; NaN if too many."""
    known, columns = len(reference.schema.categories), len(reference.schema.categorical)
    unseen = text_cells(window.pane, window.schema.categories, known)
    other = grown(window.pane.category_counts, (len(window.schema.categories),))[:columns]
    return unseen + np.where(reference.pane.category_counts[:columns] > 0, 0.0, other) + reference.prepared(_sparse)


def _sparse(reference: Reference) -> F64:
    """Return NaN for each categorical column in which most texts came once, else 0, ``[columns]``."""
    pane, categories = reference.pane, reference.schema.categories
    seen = pane.category_counts * rows_per_weight(pane)
    once = np.where((seen > 0.0) & (seen < 1.5), pane.category_counts, 0.0)
    owners = np.fromiter(map(categories.owner, range(len(once))), np.int64, len(once))
    alone = np.bincount(owners, once, len(categories.columns))
    texts = text_cells(pane, categories)
    enough = texts * rows_per_weight(pane) >= GONE_CELLS
    return np.where(enough & (alone > MOSTLY_ONCE * texts), np.nan, 0.0)


def _shares(window: Window, metric: Metric, part: F64, whole: F64, first: int) -> Iterator[Measurement]:
    """Return one share per column, for the columns from position ``first`` on."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.clip(part / whole, 0.0, 1.0)
    return _points(window, metric, np.where(whole > 0, shares, np.nan), first)


def _points(window: Window, metric: Metric, values: F64, first: int) -> Iterator[Measurement]:
    """Return one value per feature and output, for the columns from position ``first`` on; NaN is omitted."""
    columns = window.schema.columns[first : first + len(values)]
    measured = np.array([column.role != "label" for column in columns], np.bool_) & ~np.isnan(values)
    return _measured(window, metric, values, np.flatnonzero(measured), quality_attributes(window.model, columns))


def feature_points(window: Window, metric: Metric, values: F64, first: int) -> Iterator[Measurement]:
    """Return one value per feature, for the columns from position ``first`` on; NaN is omitted."""
    columns = window.schema.columns[first : first + len(values)]
    of_feature = np.array([column.role == "feature" for column in columns], np.bool_)
    places = np.flatnonzero(of_feature & ~np.isnan(values))
    return _measured(window, metric, values, places, feature_attributes(window.model, columns))


def _measured(
    window: Window, metric: Metric, values: F64, places: I64, attributes: Sequence[Attributes]
) -> Iterator[Measurement]:
    return map(
        Measurement,
        repeat(metric.name),
        values[places].tolist(),
        repeat(metric.unit),
        [attributes[place] for place in places.tolist()],
        repeat(window.end_ns),
    )
