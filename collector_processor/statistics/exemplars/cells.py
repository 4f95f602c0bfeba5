"""The cells of exemplars: what a prediction is an example of, as one number.

A prediction is in one cell of each column: a group of fine bins, a category, or *missing*, *wrong type*, *unseen*. A
failed call is in the cell of failures. A joined label that the prediction missed is in cells of errors: of its groups,
and of its actual and its predicted class; or, in a regression, of the size of the error.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64, Column, Mask, PredictionBatch
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.classes import class_slots, known_classes
from collector_processor.statistics.exemplars.reservoir import NO_CELL, Codes
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Categories, Schema

GROUPS: Final = 32
"""Cells of one column's values: groups of bins within the reference's range, or its first categories."""
CELLS: Final = 4096
"""Cells of the values of all columns; a model with more than 128 columns has fewer, larger ones."""
WIDTH: Final = 64
"""Numbers of cells that a column has room for."""
BELOW, ABOVE, MISSING, WRONG_TYPE, UNSEEN, OTHER = range(GROUPS, GROUPS + 6)
SEGMENT_VALUES: Final = 64
"""Segment values whose errors and failures have cells, the first that came."""
CLASSES: Final = 32
"""Classes whose errors have cells, the first that came."""
_FAILED: Final = 1 << 31
_WRONG, _ACTUAL, _PREDICTED, _ERROR = 0, 1 << 16, 2 << 16, 3 << 16
SIZES: Final = 128
_MIDDLE: Final = SIZES // 2
Cells = NDArray[np.uint8]
_OF_BINS: Final[dict[int, tuple[weakref.ref[F64], Cells]]] = {}
_OF_SLOTS: Final[weakref.WeakKeyDictionary[Categories, Cells]] = weakref.WeakKeyDictionary()


def groups_of(schema: Schema) -> int:
    """Return the number of cells that the values of a column have.

    >>> from types import SimpleNamespace
    >>> [groups_of(SimpleNamespace(columns=range(columns))) for columns in (5, 128, 1000, 5000)]
    [32, 32, 4, 2]
    """
    return max(2, min(GROUPS, CELLS // max(len(schema.columns), 1)))


def column_cell(position: int, cell: int) -> int:
    """Return the number of a cell of a column."""
    return position * WIDTH + cell


def failed_cell(group: int) -> int:
    """Return the cell of failed calls of a row of the grouped vectors; 0 is all."""
    return _FAILED + group


def wrong_cell(group: int) -> int:
    """Return the cell of wrong predictions of a row of the grouped vectors."""
    return _WRONG + group


def actual_cell(slot: int) -> int:
    """Return the cell of wrong predictions that were labeled as a class."""
    return _ACTUAL + slot


def predicted_cell(slot: int) -> int:
    """Return the cell of wrong predictions of a class."""
    return _PREDICTED + slot


def size_cells(group: int) -> list[int]:
    """Return the cells of errors of a regression, the largest errors first."""
    return [_ERROR + group * SIZES + size for size in range(SIZES - 1, -1, -1)]


def bin_cells(schema: Schema) -> Cells:
    """Return the cell of each fine bin within its column ``[F, B + 1]``; the last is for bin −1: missing.

    The bins between two coarse edges, which hold a tenth of the reference, are cut into neighbors of about equal mass.
    """
    edges = schema.edges
    known = _OF_BINS.get(id(edges))
    if known is not None and known[0]() is edges:
        return known[1]
    key, cells = id(edges), _bin_cells(schema)

    def forget(gone: weakref.ref[F64]) -> None:
        current = _OF_BINS.get(key)
        if current is not None and current[0] is gone:  # the address may belong to another array by now
            del _OF_BINS[key]

    _OF_BINS[key] = weakref.ref(edges, forget), cells
    return cells


def slot_cells(schema: Schema) -> Cells:
    """Return the cell of the slot of each category within its column ``[S + 1]``; the last is for slot −1: missing.

    The reference's categories come first, in order, and the last of their cells has all the rest of them.
    """
    table = schema.categories
    known = _OF_SLOTS.get(table)
    if known is not None and len(known) == len(table) + 1:
        return known
    cells = np.full(len(table) + 1, UNSEEN, np.uint8)
    cells[-1] = MISSING
    cells[: len(table.columns)] = OTHER
    groups = groups_of(schema)
    for position in range(len(table.columns)):
        slots = table.column_slots(position)[1:]
        slots = slots[slots < (schema.known or len(table))]
        cells[slots] = np.minimum(np.arange(len(slots)), groups - 1)
    _OF_SLOTS[table] = cells
    return cells


@dataclass(frozen=True, slots=True)
class Slots:
    """A categorical column: ``of_code`` gives the slot of each of its ``codes``, the last one for code −1.

    ``numbers`` are its cells of the wrong type, NaN elsewhere; a row with code −2 has no cell at all.
    """

    codes: I32
    of_code: I32
    numbers: F64 | None

    def among(self, rows: Mask) -> Slots:
        """Return the column of all rows, if this is that of some of them."""
        codes = np.full(len(rows), -2, np.int32)
        codes[rows] = self.codes
        numbers = None if self.numbers is None else np.full(len(rows), np.nan)
        if numbers is not None:
            numbers[rows] = self.numbers
        return Slots(codes, self.of_code, numbers)

    def cells(self, of_slots: Cells, chosen: I64) -> Cells:
        """Return the cells of the chosen rows, given those of slots."""
        cells = of_slots[self.of_code[np.maximum(self.codes[chosen], -1)]]
        if self.numbers is not None:
            cells[~np.isnan(self.numbers[chosen])] = WRONG_TYPE
        return cells


@dataclass(frozen=True, slots=True)
class Counted:
    """The columns of a batch as they were counted.

    ``numeric`` are those of numbers, ``texts`` the others by position, ``withheld`` the positions of features whose
    sender keeps them back.
    """

    numeric: Sequence[Column | None]
    texts: Mapping[int, Slots]
    withheld: Sequence[int] = ()


def row_cells(schema: Schema, batch: PredictionBatch, chosen: I64, groups: I32, counted: Counted) -> Codes:
    """Return the cells of the chosen rows ``[c, k]``: one for each column, and one for each segment of failed calls."""
    failed = None if batch.error is None else batch.error.take(chosen).is_text()
    numbers, of_slots = len(schema.numeric), slot_cells(schema)
    codes = np.empty((len(schema.columns), len(chosen)), np.uint32)
    codes[:numbers] = _numeric(schema, counted.numeric, len(batch), chosen)
    for position, slots in counted.texts.items():
        codes[position] = slots.cells(of_slots, chosen)
    for position in counted.withheld:
        codes[position, codes[position] == MISSING] = NO_CELL
    base = np.arange(len(codes), dtype=np.uint32)[:, None] * np.uint32(WIDTH)
    codes = np.where(codes == NO_CELL, NO_CELL, codes + base)
    roles = [spec.role for spec in schema.columns]
    codes[[role == "label" for role in roles]] = NO_CELL
    if failed is None or not failed.any():
        return codes
    outputs = np.array([role != "feature" for role in roles])
    codes[outputs[:, None] & failed] = NO_CELL
    member = np.column_stack((np.zeros(len(chosen), np.int32), groups[chosen])).T
    cell = np.uint32(_FAILED) + member.astype(np.uint32)
    return np.concatenate((codes, np.where(failed & (member >= 0) & (member <= SEGMENT_VALUES), cell, NO_CELL)))


def outcome_cells(schema: Schema, outcomes: OutcomeBatch) -> Codes:
    """Return the cells of errors of each row ``[c, n]``; a right prediction has none."""
    member = np.column_stack((np.zeros(len(outcomes), np.int32), outcomes.groups)).T
    usable = (member >= 0) & (member <= SEGMENT_VALUES)
    if schema.task == "regression":
        if outcomes.label_values is None or outcomes.predicted_values is None:
            return np.full((0, len(outcomes)), NO_CELL, np.uint32)
        error = np.abs(outcomes.label_values - outcomes.predicted_values)
        _, exponent = np.frexp(np.where(np.isfinite(error), error, 0.0))
        size = np.clip(exponent + _MIDDLE, 0, SIZES - 1)
        cell = _ERROR + member * SIZES + size
        return _coded(cell, usable & np.isfinite(error) & (error > 0.0))
    if outcomes.labels is None or outcomes.predicted is None:
        return np.full((0, len(outcomes)), NO_CELL, np.uint32)
    wrong = known_classes(outcomes.labels) & known_classes(outcomes.predicted) & (outcomes.labels != outcomes.predicted)
    cells, valid = [_WRONG + member], [usable & wrong]
    for kind, codes in ((_ACTUAL, outcomes.labels), (_PREDICTED, outcomes.predicted)):
        slots = class_slots(codes)[None]
        cells.append(kind + slots)
        valid.append(wrong & (slots > 0) & (slots <= CLASSES))
    return _coded(np.concatenate(cells), np.concatenate(valid))


def _coded(cells: I32, valid: Mask) -> Codes:
    return np.where(valid, cells.astype(np.uint32), NO_CELL)


def _numeric(schema: Schema, columns: Sequence[Column | None], rows: int, chosen: I64) -> Cells:
    """Return the cell of the chosen rows in each numeric column ``[F, k]``."""
    bins = fine_bins(schema, np.arange(len(columns)), columns, rows, chosen)
    cells = np.take_along_axis(bin_cells(schema), bins.astype(np.int64), axis=1)  # the last is for −1: missing
    for position, column in enumerate(columns):
        if column is not None and column.codes is not None:
            cells[position, (bins[position] < 0) & (column.codes[chosen] >= 0)] = WRONG_TYPE
    return cells


def _bin_cells(schema: Schema) -> Cells:
    groups, bins = groups_of(schema), schema.edges.shape[1] + 1
    cells = np.full((len(schema.numeric), bins + 1), MISSING, np.uint8)
    place = np.arange(bins)
    for position, edges in enumerate(schema.edges):
        cuts = np.unique(schema.drift_edges[position]).astype(np.int64) + 1
        starts = np.concatenate(([0], cuts))
        ends = np.append(cuts, finite_edges(edges) + 1)
        coarse = np.searchsorted(cuts, place, side="right")
        parts = groups // len(starts)
        if parts:
            inside = (place - starts[coarse]) * parts // np.maximum(ends[coarse] - starts[coarse], 1)
            values = coarse * parts + np.minimum(inside, parts - 1)
        else:
            values = coarse * groups // len(starts)
        upper, lower = np.append(edges, np.inf), np.concatenate(([-np.inf], edges))
        values = np.where(upper <= schema.low[position], BELOW, values)
        cells[position, :-1] = np.where(np.isfinite(lower) & (lower > schema.high[position]), ABOVE, values)
    cells.flags.writeable = False
    return cells
