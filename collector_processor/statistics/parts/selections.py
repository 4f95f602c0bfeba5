"""What each group was predicted, of all predictions: what fairness compares, with or without labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics.calls import calls_of
from collector_processor.statistics.classes import class_slots, known_classes
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

JOINT_VALUES: Final = 16
"""Values of a segment, the first that came, that are counted jointly with those of another; the rest are together."""
JOINT_CLASSES: Final = 8
"""Classes that are counted jointly with two segments, the first that came; the rest are together."""


@dataclass(slots=True)
class Selections(Part):
    """Predictions by group and class, with the sums that the noise of their shares follows from.

    ``G`` = groups + 1, ``K`` = class slots. Only for models with segments; ``K`` = 0 in a regression. The row of all
    groups stays empty, except that of labels: groups are compared, not added.

    - ``chosen`` ``[G, K]``: rows with a predicted class, by class, weighted.
    - ``squares`` and ``products`` ``[G, K]``: Σ s² and Σ s·m over calls, with the rows s of a class and m of all
      classes that a call has in a group, weighted. So Σ (s − p·m)², the variance of Σ s with any dependence inside
      calls, is known for every p.
    - ``weights`` ``[G, 2]``: Σ w² of the rows with a class, and Σ w·abs(w) of the joined labels.
    - ``joint`` ``[J, V, V, C]``: rows by the values of two segments and class, for each pair of segments in order.
      The first value and class are those beyond :data:`JOINT_VALUES` and :data:`JOINT_CLASSES`.
    """

    chosen: F64
    squares: F64
    products: F64
    weights: F64
    joint: F64

    name: ClassVar[str] = "selections"
    of_positive: ClassVar[tuple[str, ...]] = ("chosen", "squares", "products", "joint")

    @classmethod
    def empty(cls, schema: Schema) -> Selections:
        """Return the sums of nothing."""
        groups, classes, pairs = _sizes(schema)
        values = JOINT_VALUES + 1
        return cls(
            np.zeros((groups, classes)),
            np.zeros((groups, classes)),
            np.zeros((groups, classes)),
            np.zeros((groups, 2)),
            np.zeros((pairs, values, values, min(classes, JOINT_CLASSES + 1))),
        )

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions with a class; failed ones have none."""
        if not schema.groups.columns or schema.task == "regression":
            return
        codes = predicted_codes(schema, rows.batch)
        counted = known_classes(codes)
        if rows.failed is not None:
            counted &= ~rows.failed
        self._grow(schema)
        slots, weights, calls, groups = class_slots(codes), rows.batch.weights, calls_of(rows.batch), rows.groups
        if not counted.all():
            slots, weights, groups = slots[counted], weights[counted], groups[counted]
            calls = None if calls is None else calls[counted]
        if not len(slots):
            return
        even = bool((weights == 1.0).all())
        for group in groups.T:
            member = group >= 0
            if member.all():
                self._add_segment(group, slots, None if even else weights, calls)
            else:
                call = None if calls is None else calls[member]
                self._add_segment(group[member], slots[member], None if even else weights[member], call)
        self._add_joint(schema, groups, slots, weights)

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add the squared weights of joined labels, or take them back."""
        if not schema.groups.columns:
            return
        self._grow(schema)
        squares = outcomes.weights * np.abs(outcomes.weights)
        self.weights[0, 1] += squares.sum()
        for group in outcomes.groups.T:
            self.weights[:, 1] += np.bincount(group + 1, squares, len(self.weights) + 1)[1:]

    def _grow(self, schema: Schema) -> None:
        groups, classes, pairs = _sizes(schema)
        self.chosen, self.squares, self.products = (
            grown(values, (groups, classes)) for values in (self.chosen, self.squares, self.products)
        )
        self.weights = grown(self.weights, (groups, 2))
        values = JOINT_VALUES + 1
        self.joint = grown(self.joint, (pairs, values, values, min(classes, JOINT_CLASSES + 1)))

    def _add_segment(self, group: I32, slots: I32, weights: F64 | None, calls: I64 | None) -> None:
        """Add the rows of one segment; without weights, each counts as one."""
        shape = self.chosen.shape
        size = self.chosen.size
        cell = group.astype(np.int64) * shape[1] + slots
        chosen = np.bincount(cell, weights, size).astype(np.float64, copy=False)
        alone = chosen if weights is None else np.bincount(cell, weights**2, size)
        squares, products = (alone, alone) if calls is None else _in_calls(calls, cell, weights, shape)
        self.chosen += chosen.reshape(shape)
        self.weights[:, 0] += alone.reshape(shape).sum(axis=1)
        self.squares += squares.reshape(shape)
        self.products += products.reshape(shape)

    def _add_joint(self, schema: Schema, groups: I32, slots: I32, weights: F64) -> None:
        values, classes = JOINT_VALUES + 1, self.joint.shape[3]
        if not len(self.joint):
            return
        ranks = joint_ranks(schema)[np.maximum(groups, 0)]
        classed = np.where(slots < classes, slots, 0).astype(np.int64)
        for place, (first, second) in enumerate(combinations(range(groups.shape[1]), 2)):
            both = (groups[:, first] >= 0) & (groups[:, second] >= 0)
            cell = ((ranks[:, first] * values + ranks[:, second]) * classes + classed)[both]
            size = values * values * classes
            self.joint[place] += np.bincount(cell, weights[both], size).reshape(values, values, classes)


def _in_calls(calls: I64, cell: I64, weights: F64 | None, shape: tuple[int, int]) -> tuple[F64, F64]:
    """Return Σ s² and Σ s·m over calls of each cell ``[G · K]``: s rows of the cell in a call, m of its group.

    Most batches are dense enough for a table of all calls and cells; others are sorted.
    """
    places, classes = shape
    size = places * classes
    table = (int(calls.max(initial=-1)) + 1) * size
    if table <= 16 * len(cell) + 4096:
        of_class = np.bincount(calls * size + cell, weights, table).reshape(-1, places, classes)
        products = of_class * of_class.sum(axis=2, keepdims=True)
        return (of_class**2).sum(axis=0).reshape(-1), products.sum(axis=0).reshape(-1)
    keys, place = np.unique(calls * size + cell, return_inverse=True)
    of_class = np.bincount(place, weights).astype(np.float64, copy=False)
    owners, owner = np.unique(keys // classes, return_inverse=True)
    in_call = np.bincount(owner, of_class, len(owners))[owner]
    squares, products = np.zeros(size), np.zeros(size)
    np.add.at(squares, keys % size, of_class**2)
    np.add.at(products, keys % size, of_class * in_call)
    return squares, products


def joint_ranks(schema: Schema) -> I64:
    """Return the place of each group among the values of its segment ``[G]``; 0 for ``other`` and for later values."""
    ranks = np.zeros(len(schema.groups) + 1, np.int64)
    for column in range(len(schema.groups.columns)):
        slots = schema.groups.column_slots(column)[1 : JOINT_VALUES + 1]
        ranks[slots + 1] = np.arange(1, len(slots) + 1)
    return ranks


def _sizes(schema: Schema) -> tuple[int, int, int]:
    """Return the numbers of groups, classes and pairs of segments that are counted."""
    segments = len(schema.groups.columns)
    if not segments:
        return 0, 0, 0
    if schema.task == "regression":
        return len(schema.groups) + 1, 0, 0
    return len(schema.groups) + 1, len(schema.classes), segments * (segments - 1) // 2
