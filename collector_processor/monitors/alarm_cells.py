"""Cells of columns as alarms see them: bins or categories, what is new, what is missing, and calls that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.detectors.dependence import Tempering
from collector_processor.detectors.dictionary import Dictionary, Shape, dictionary
from collector_processor.monitors.attributes import column_attributes, figure_attributes
from collector_processor.monitors.drift_words import percent, quoted
from collector_processor.monitors.independence import independent_rows
from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import coarse, finite_edges
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml.semconv import Change

TOP: Final = 10
"""Categories of a column that are watched one by one; the others are watched together."""
_REST, _NEW, _ABSENT = TOP, TOP + 1, TOP + 2
"""The cells behind the top categories: known ones, those that the reference does not have, missing ones."""


class Alternatives(Protocol):
    """In which ways columns may change, and the evidence of a pane's sums for each (:class:`.Dictionary`)."""

    @property
    def valid(self) -> Mask:
        """Which alternatives each column has, ``[C, A]``."""
        ...

    @property
    def share(self) -> F64:
        """1 over the number of a column's alternatives for each of them, ``[C, A]``."""
        ...

    def increments(self, cells: F64, tempering: Tempering) -> F64:
        """Return the log of the e-values of a pane, ``[C, A]``."""
        ...

    def shape_of(self, alternative: int) -> tuple[Shape, int | None]:
        """Return what an alternative is, and its cell; None without one."""
        ...


class Block(Protocol):
    """Columns of one kind: their cells in a pane, and what a change of a cell means."""

    @property
    def dictionary(self) -> Alternatives:
        """The alternatives."""
        ...

    def cells(self, window: Window) -> F64:
        """Return the cells of each column in a pane, ``[C, K]``."""
        ...

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        ...

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        ...


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numeric columns: their coarse bins, then missing cells and those of the wrong kind together."""

    dictionary: Dictionary
    schema: Schema
    shares: F64

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float) -> Numbers:
        """Return the block of a reference."""
        schema, columns = reference.schema, len(reference.schema.numeric)
        cells = _number_cells(schema, reference.pane)
        edges = schema.drift_edges
        width = np.array([finite_edges(row) for row in schema.edges], np.int64)[:, None]
        real = np.ones(cells.shape, np.bool_)
        real[:, 1:-2] = (edges[:, 1:] > edges[:, :-1]) & (edges[:, 1:] < width)
        real[:, -1] = [spec.role != "label" for spec in schema.numeric]
        independent = independent_rows(reference.pane, schema)[:columns, None]
        found = dictionary(cells * independent, real, cells.shape[1] - 1, tolerance, doubt)
        return cls(found, schema, _shares(cells))

    def cells(self, window: Window) -> F64:
        """Return the cells of each column in a pane, ``[C, K]``."""
        return np.maximum(_number_cells(self.schema, window.pane), 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        if cell < self.shares.shape[1] - 1:
            return "bin"
        return "missing_up" if gained else "missing_down"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        if cell == self.shares.shape[1] - 1:
            return _missing_words(self.shares[column, cell], gained=gained)
        edges = self.schema.edges[column]
        places = self.schema.drift_edges[column]
        below = "−∞" if cell == 0 else f"{edges[places[cell - 1]]:.4g}"
        above = "∞" if cell >= len(places) else f"{edges[places[cell]]:.4g}"
        return f"bin [{below}, {above}) {'gained' if gained else 'lost'}, before {percent(self.shares[column, cell])}"


def _number_cells(schema: Schema, pane: Pane) -> F64:
    columns = len(schema.numeric)
    absent = pane.missing[:columns] + pane.wrong_type[:columns]
    return np.concatenate((coarse(pane.counts, schema.drift_edges), absent[:, None]), axis=1)


@dataclass(frozen=True, slots=True)
class Texts:
    """Categorical columns: the most frequent categories, the other ones, new ones, and missing cells."""

    dictionary: Dictionary
    shares: F64
    cell_of_slot: I64
    """The cell of each slot of the reference, counted through all columns."""
    top: tuple[tuple[str, ...], ...]
    position: int
    """The place of the first categorical column among all columns."""
    roles: tuple[str, ...]

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float) -> Texts:
        """Return the block of a reference."""
        schema, table = reference.schema, reference.schema.categories
        columns, first = len(schema.categorical), len(schema.numeric)
        cell_of_slot = np.empty(len(table), np.int64)
        real = np.zeros((columns, _ABSENT + 1), np.bool_)
        top: list[tuple[str, ...]] = []
        for column in range(columns):
            slots = table.column_slots(column)
            counts = reference.pane.category_counts[slots[1:]]
            ranked = slots[1:][np.argsort(-counts, kind="stable")]
            cell_of_slot[slots] = column * (_ABSENT + 1) + _REST
            cell_of_slot[ranked[:TOP]] = column * (_ABSENT + 1) + np.arange(len(ranked[:TOP]))
            cell_of_slot[column] = column * (_ABSENT + 1) + _NEW
            real[column, : len(ranked[:TOP])] = True
            real[column, _REST] = len(ranked) > TOP
            top.append(tuple(table.name(slot) for slot in ranked[:TOP].tolist()))
        real[:, _NEW] = True
        real[:, _ABSENT] = [spec.role != "label" for spec in schema.categorical]
        cells = _text_cells(cell_of_slot, columns, first, schema, reference.pane)
        independent = independent_rows(reference.pane, schema)[first:, None]
        return cls(
            dictionary(cells * independent, real, 0, tolerance, doubt),
            _shares(cells),
            cell_of_slot,
            tuple(top),
            first,
            tuple(spec.role for spec in schema.categorical),
        )

    def cells(self, window: Window) -> F64:
        """Return the cells of each column in a pane, ``[C, K]``."""
        found = _text_cells(self.cell_of_slot, len(self.top), self.position, window.schema, window.pane)
        return np.maximum(found, 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        if cell == _ABSENT:
            return "missing_up" if gained else "missing_down"
        return "new_category" if cell == _NEW and gained else "category"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        if cell == _ABSENT:
            return _missing_words(self.shares[column, cell], gained=gained)
        kind = "value" if self.roles[column] == "feature" else "class"
        if cell == _NEW and gained:
            return f"new {kind} {self._newest(column, window)}".rstrip()
        names = self.top[column]
        name = f"{kind} {quoted(names[cell])}" if cell < len(names) else f"other {kind}s"
        return f"{name} {'gained' if gained else 'lost'}, before {percent(self.shares[column, cell])}"

    def _newest(self, column: int, window: Window) -> str:
        """Return the most frequent new category of the pane; empty if it has no name."""
        slots = window.schema.categories.column_slots(column)
        fresh = slots[slots >= len(self.cell_of_slot)]
        counts = window.pane.category_counts
        fresh = fresh[fresh < len(counts)]
        if not len(fresh) or counts[fresh].max() <= 0.0:
            return ""
        return quoted(window.schema.categories.name(int(fresh[counts[fresh].argmax()])))


def _text_cells(cell_of_slot: I64, columns: int, first: int, schema: Schema, pane: Pane) -> F64:
    """Return the cells of categorical columns, ``[C, K]``; slots that the reference does not have are new."""
    counts, known = pane.category_counts, len(cell_of_slot)
    places, amounts = cell_of_slot[: len(counts)], counts[:known]
    fresh = np.flatnonzero(counts[known:]) + known
    if len(fresh):
        owners = np.fromiter(map(schema.categories.owner, fresh.tolist()), np.int64, len(fresh))
        places = np.concatenate((places, owners * (_ABSENT + 1) + _NEW))
        amounts = np.concatenate((amounts, counts[fresh]))
    cells = np.bincount(places, amounts, columns * (_ABSENT + 1)).astype(np.float64).reshape(columns, _ABSENT + 1)
    cells[:, _ABSENT] = pane.missing[first:] + pane.wrong_type[first:]
    return cells


@dataclass(frozen=True, slots=True)
class Failures:
    """Calls that failed, as one column of two cells."""

    dictionary: Dictionary
    share: float

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float) -> Failures:
        """Return the block of a reference."""
        cells = _failure_cells(reference.pane)
        real = np.array([[False, True]])
        independent = float(independent_rows(reference.pane, reference.schema).min(initial=1.0))
        found = dictionary(cells * independent, real, 0, tolerance, doubt)
        return cls(found, float(_shares(cells)[0, 1]))

    def cells(self, window: Window) -> F64:
        """Return rows that succeeded and that failed, ``[1, 2]``."""
        return np.maximum(_failure_cells(window.pane), 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        return "errors_up" if gained else "errors_down"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        return f"{'more' if gained else 'fewer'} predictions fail, before {percent(self.share)}"


def _failure_cells(pane: Pane) -> F64:
    rows, failed = pane.group_rows[0].tolist()
    return np.array([[rows - failed, failed]])


def _shares(cells: F64) -> F64:
    return cells / np.maximum(cells.sum(axis=1, keepdims=True), 1e-300)


def _missing_words(before: float, *, gained: bool) -> str:
    return f"{'more' if gained else 'fewer'} cells are missing, before {percent(before)}"


def alarm_attributes(
    window: Window, roles: tuple[str, ...], features: tuple[str, ...]
) -> Sequence[tuple[tuple[str, str], ...]]:
    """Return the attributes of every column, and of the figures with these roles and features behind them."""
    columns = column_attributes(window.model, window.schema.columns)
    return (*columns, *figure_attributes(window.model, roles, features))
