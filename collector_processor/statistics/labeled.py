"""What sums of joined labels are made of: the groups of each row, the classes that count, the origin of regressions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64, Mask
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from otel_ml.semconv import ColumnRole

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [ε, 1 − ε] before their logarithm, and |y| to ε in the MAPE, as scikit-learn does."""
VALUE_LIMIT: Final = 1e140
"""Larger labels or predictions of a regression do not count in ``errors``: their squares would be infinite."""
LIMIT_WORDS: Final = f"±{VALUE_LIMIT:.0e}"


def is_extreme(values: F64) -> bool:
    """Return whether some number is beyond the limit, such as infinity; NaN is not.

    >>> is_extreme(np.array([1.0, np.nan])), is_extreme(np.array([1.0, -1e200]))
    (False, True)
    """
    return bool((np.abs(values) > VALUE_LIMIT).any())


def label_shift(schema: Schema) -> float:
    """Return the c of the regression sums: the middle of the label's range in the reference, else of the prediction's,
    else 0.

    It must be the same for all panes of a schema, or they would not add up.
    """
    roles: tuple[ColumnRole, ...] = ("label", "prediction")
    for role in roles:
        position = position_of(schema, role)
        if position is not None and position < len(schema.numeric):
            middle = float(schema.low[position]) / 2.0 + float(schema.high[position]) / 2.0
            if math.isfinite(middle):
                return middle
    return 0.0


def zero_reach(schema: Schema) -> float:
    """Return the size up to which a label counts as 0: rounding (10⁻⁹) of the largest label in the reference."""
    position = position_of(schema, "label")
    if position is None or position >= len(schema.numeric):
        return EPSILON
    largest = max(abs(float(schema.low[position])), abs(float(schema.high[position])))
    return max(EPSILON, 1e-9 * largest) if math.isfinite(largest) else EPSILON


@dataclass(frozen=True, slots=True)
class Members:
    """The groups of each row as pairs ``[m]``: every row is in group 0 and in those of its segments."""

    row: I64
    group: I64

    @classmethod
    def of(cls, outcomes: OutcomeBatch) -> Members:
        """Return the pairs of all rows."""
        rows = np.arange(len(outcomes))
        row, segment = np.nonzero(outcomes.groups > 0)
        groups = outcomes.groups[row, segment].astype(np.int64)
        return cls(np.concatenate((rows, row)), np.concatenate((np.zeros(len(rows), np.int64), groups)))

    def where(self, kept: Mask) -> Members:
        """Return the pairs of the rows that are kept."""
        if kept.all():
            return self
        pairs = kept[self.row]
        return Members(self.row[pairs], self.group[pairs])

    def add(self, target: F64, cell: I64, values: F64) -> None:
        """Add each row's value to its cell (a flat index inside a group) of the vector ``[G, …]``."""
        size = target.size // len(target)
        scatter(target, self.group * size + cell[self.row], values[self.row])


def scatter(target: F64, index: NDArray[np.integer], values: F64) -> None:
    """Add values at flat positions of a vector, which may repeat; a few values touch only their positions."""
    flat = target.reshape(-1)
    if len(index) * 8 < len(flat):
        np.add.at(flat, index, values)
    else:
        flat += np.bincount(index, values, len(flat))


def counted_classes(schema: Schema, labels: I32, predicted: I32) -> tuple[I32, Mask]:
    """Return the predicted classes ``[n]``, and which rows count in sums by class, bool ``[n]``."""
    positive = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
    if positive is not None:
        # Slot 0 is what a score below the threshold means while the negative class has no name.
        predicted = np.where((predicted == 0) & (labels != positive), labels, predicted)
    # Snapshots of earlier versions have slot 0 for any class beyond the limit: which one it was is not known.
    return predicted, known_classes(labels) & known_classes(predicted) & ~((predicted == 0) & (labels <= 0))


def position_of(schema: Schema, role: ColumnRole) -> int | None:
    """Return the position of an output's column in ``schema.columns``."""
    return next((position for position, spec in enumerate(schema.columns) if spec.role == role), None)
