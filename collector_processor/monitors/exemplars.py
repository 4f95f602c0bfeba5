"""Exemplars of measurements: traces of predictions from the cells that a figure is about, where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.base import Exemplar, Measurement
from collector_processor.reference.profile import Reference
from collector_processor.statistics.exemplars import cells
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window
from otel_ml import semconv

MOST: Final = 3
"""Exemplars of one measurement; Prometheus takes the first."""
_NOTABLE: Final = 0.25
"""A cell is named if it gained at least this share of what the cell that gained most did."""
_CELLS_OF_QUALITY: Final[Mapping[str, tuple[int, ...]]] = {
    semconv.QUALITY_MISSING: (cells.MISSING,),
    semconv.QUALITY_MISSING_INCREASE: (cells.MISSING,),
    semconv.QUALITY_MISSING_RISE: (cells.MISSING,),
    semconv.QUALITY_MISSING_SHIFT: (cells.MISSING,),
    semconv.QUALITY_GONE: (cells.MISSING,),
    semconv.QUALITY_WRONG_TYPE: (cells.WRONG_TYPE,),
    semconv.QUALITY_OUT_OF_RANGE: (cells.BELOW, cells.ABOVE),
    semconv.QUALITY_UNSEEN: (cells.UNSEEN,),
}
_DRIFT: Final = semconv.DRIFT_SCORE.removesuffix("score")
_SHARES: Final = "share"
"""The end of the names of drift measurements about all features."""
_OF_METHODS: Final = frozenset((semconv.DRIFT_THRESHOLD, semconv.DRIFT_P_VALUE))
_OF_LABELS: Final = (semconv.SOURCE_LABELS, "")
_BOUNDS: Final = frozenset(
    (
        semconv.PERFORMANCE_LOWER,
        semconv.PERFORMANCE_UPPER,
        semconv.PERFORMANCE_LOWER_LIMIT,
        semconv.PERFORMANCE_UPPER_LIMIT,
    )
)
_DROPS: Final = frozenset((semconv.PERFORMANCE_DROP, semconv.PERFORMANCE_CERTAIN_DROP))
_CONCEPT_ALARMS: Final = frozenset((semconv.CONCEPT_ALARM, semconv.CONCEPT_ERROR_ALARM))


def with_exemplars(measurements: Iterable[Measurement], window: Window, reference: Reference) -> list[Measurement]:
    """Return the measurements of a window, with the traces of some predictions that they are about.

    - Drift of a column that is in breach, has drifted, or has an alarm: predictions in the cells (groups of bins,
      categories, missing) whose share rose most against the reference. Shares of features have those of these columns.
    - Quality above 0: predictions with such a cell, and failed ones.
    - Performance by labels: predictions that the label showed to be wrong, of the figure's segment or class; in a
      regression those with the largest errors.

    Without a sampled trace among them there are no exemplars.
    """
    listed = list(measurements)
    kept = window.pane.exemplars
    if not len(kept.predictions.cells) and not len(kept.errors.cells):
        return listed
    finder = _Finder(window, reference, listed)
    return [_with(item, finder) for item in listed]


def _with(item: Measurement, finder: _Finder) -> Measurement:
    found = finder.of(item)
    return replace(item, exemplars=found) if found else item


class _Finder:
    """Finds the exemplars of the measurements of one window."""

    def __init__(self, window: Window, reference: Reference, measurements: Sequence[Measurement]) -> None:
        self._window = window
        self._reference = reference
        self._kept = window.pane.exemplars
        self._positions: dict[tuple[str, str], int] = {
            (spec.role, spec.name if spec.role == "feature" else ""): position
            for position, spec in enumerate(window.schema.columns)
        }
        moved = [item for item in measurements if _says_drift(item)]
        self._moved = {position: None for item in moved if (position := self._position(item)) is not None}
        self._of_column: dict[int, tuple[float, tuple[Exemplar, ...]]] = {}

    def of(self, item: Measurement) -> tuple[Exemplar, ...]:
        """Return the exemplars of a measurement."""
        if item.kind != "gauge":
            return ()
        if item.name.startswith(_DRIFT):
            return () if item.name in _OF_METHODS else self._of_drift(item)
        if item.name in _CELLS_OF_QUALITY:
            position = self._position(item)
            if position is None or item.value <= 0.0:
                return ()
            return self._predictions(cells.column_cell(position, cell) for cell in _CELLS_OF_QUALITY[item.name])
        if item.name == semconv.QUALITY_ERROR_RATE and item.value > 0.0:
            group = _group(self._window.schema, dict(item.attributes))
            return () if group is None else self._predictions([cells.failed_cell(group)])
        if item.name in _CONCEPT_ALARMS:
            return self._errors([cells.wrong_cell(0)]) if item.value > 0.0 else ()
        if item.name.startswith(semconv.PERFORMANCE):
            return self._of_performance(item)
        return ()

    def _position(self, item: Measurement) -> int | None:
        attributes = dict(item.attributes)
        name = attributes.get(semconv.FEATURE_NAME, "")
        role = attributes.get(semconv.COLUMN_ROLE, "feature" if name else "")
        return self._positions.get((role, name))

    def _of_drift(self, item: Measurement) -> tuple[Exemplar, ...]:
        if item.name.endswith(_SHARES):
            features = [at for at in self._moved if self._window.schema.columns[at].role == "feature"]
            ranked = sorted((self._gained(at) for at in features), key=lambda each: -each[0])
            return tuple(dict.fromkeys(found[0] for _, found in ranked if found))[:MOST] if item.value > 0.0 else ()
        position = self._position(item)
        return () if position is None or position not in self._moved else self._gained(position)[1]

    def _gained(self, position: int) -> tuple[float, tuple[Exemplar, ...]]:
        """Return how much the share of the cell of a column that gained most rose, and exemplars of such cells."""
        known = self._of_column.get(position)
        if known is None:
            gain = _shares(self._window.schema, self._window.pane, position) - _shares(
                self._window.schema, self._reference.pane, position
            )
            most = float(gain.max())
            order = [
                cell for cell in np.argsort(-gain, kind="stable").tolist() if gain[cell] >= max(_NOTABLE * most, 1e-9)
            ]
            found = self._predictions(cells.column_cell(position, cell) for cell in order)
            known = self._of_column[position] = most, found
        return known

    def _of_performance(self, item: Measurement) -> tuple[Exemplar, ...]:
        attributes = dict(item.attributes)
        if attributes.get(semconv.PERFORMANCE_SOURCE, "") not in _OF_LABELS or item.name in _BOUNDS:
            return ()
        if item.name in _DROPS and item.value <= 0.0:
            return ()
        schema = self._window.schema
        group = _group(schema, attributes)
        if group is None:
            return ()
        if schema.task == "regression":
            return self._errors(cells.size_cells(group))
        figure = attributes.get(semconv.PERFORMANCE_METRIC, item.name.removeprefix(semconv.PERFORMANCE))
        name = attributes.get(semconv.PERFORMANCE_CLASS, schema.positive_class if not group else "")
        slot = schema.classes.find(0, name) if name else None
        cell = _CELL_OF_CLASS.get(figure)
        if (
            slot is None
            or cell is None
            or (semconv.PERFORMANCE_AVERAGE in attributes and schema.task != "binary_classification")
        ):
            return self._errors([cells.wrong_cell(group)])
        return self._errors([cell(slot)])

    def _predictions(self, wanted: Iterable[int]) -> tuple[Exemplar, ...]:
        return _exemplars(self._kept.predictions.find(list(wanted)))

    def _errors(self, wanted: Iterable[int]) -> tuple[Exemplar, ...]:
        return _exemplars(self._kept.errors.find(list(wanted)))


_CELL_OF_CLASS: Final[Mapping[str, Callable[[int], int]]] = {
    "precision": cells.predicted_cell,
    "recall": cells.actual_cell,
    "specificity": cells.predicted_cell,
}


def _exemplars(found: Sequence[tuple[int, int, int]]) -> tuple[Exemplar, ...]:
    return tuple(Exemplar(f"{high:016x}{low:016x}", f"{span:016x}") for high, low, span in found[:MOST])


def _says_drift(item: Measurement) -> bool:
    """Return whether a measurement says that a column is in breach, has drifted, or has an alarm."""
    return item.name.startswith(_DRIFT) and item.unit == semconv.UNIT_BREACH and item.value > 0.0


def _group(schema: Schema, attributes: Mapping[str, str]) -> int | None:
    """Return the row of the grouped vectors that a measurement is about, 0 for all; None if it has no cells."""
    name, value = attributes.get(semconv.SEGMENT_NAME), attributes.get(semconv.SEGMENT_VALUE, "")
    if name is None:
        return 0
    if name not in schema.groups.columns:
        return None
    slot = schema.groups.find(schema.groups.columns.index(name), value)
    return None if slot is None or slot + 1 > cells.SEGMENT_VALUES else slot + 1


def _shares(schema: Schema, pane: Pane, position: int) -> F64:
    """Return the share of a column's cells that are in each of its cells of exemplars, ``[WIDTH]``."""
    counts = partial(np.bincount, minlength=cells.WIDTH)
    numeric = len(schema.numeric)
    if position < numeric:
        found = counts(cells.bin_cells(schema)[position, :-1], np.maximum(pane.counts[position], 0.0))
    else:
        slots = schema.categories.column_slots(position - numeric)
        ours = grown(pane.category_counts, (len(schema.categories),))[slots]
        found = counts(cells.slot_cells(schema)[slots], np.maximum(ours, 0.0))
    found = found.astype(np.float64)
    found[cells.MISSING] += max(float(pane.missing[position]), 0.0)
    found[cells.WRONG_TYPE] += max(float(pane.wrong_type[position]), 0.0)
    return found / max(float(found.sum()), 1e-300)
