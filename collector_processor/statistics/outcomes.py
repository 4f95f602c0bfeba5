"""From joined labels to sums: how good predictions were, in vectors that add up and that a correction can reverse.

``Outcomes.errors`` ``[G, 8]`` holds for a regression, with label y, prediction ŷ and error e = ŷ − y, weighted: count,
Σ abs(e), Σ e², Σ abs(e)/abs(y) of labels that are not 0, Σ (y − c), Σ (y − c)², Σ e, and −1 times the number of labels
that are 0 up to rounding (:func:`zero_reach`). Version 0.1.0 had Σ abs(e) of those in the last place, which is never
negative. c is the schema's :func:`label_shift`, which keeps R² exact for labels far from zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32, I64, Column, Mask
from collector_processor.statistics.accumulate import accumulate_column
from collector_processor.statistics.bins import bin_index
from collector_processor.statistics.classes import class_slots, known_classes
from collector_processor.statistics.latency import delay_bins
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.pane import CALIBRATION_BINS, Outcomes, Pane
from collector_processor.statistics.parts.registry import POSITIVE_SUMS
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown
from otel_ml.semconv import ColumnRole

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [ε, 1 − ε] before their logarithm, and |y| to ε in the MAPE, as scikit-learn does."""
VALUE_LIMIT: Final = 1e140
"""Larger labels or predictions of a regression do not count in ``errors``: their squares would be infinite."""

SCORE_SUMS: Final = POSITIVE_SUMS | {"outcomes.score_hits", "outcomes.calibration", "outcomes.scored"}
CLASS_SUMS: Final = frozenset({"outcomes.by_class"})
"""The sums of a binary task that depend on which class is positive: of scores, and of classes that scores decided."""


def accumulate_outcomes(pane: Pane, schema: Schema, outcomes: OutcomeBatch, *, further: bool = True) -> None:
    """Add joined labels to the pane's ``outcomes``, and to the drift vectors of the label column if there is one.

    Rows without a label add nothing; rows without a prediction add only to ``labels``, ``delay`` and label drift. In a
    binary task every class except the positive one is negative; as long as the positive class is unknown, all are:
    there is one class only, most likely the negative one. Scores outside 0 to 1 are not probabilities: they count for
    ranking (``score_hits``), not for calibration. A schema without a score column has no bins to rank in, and so no ROC
    AUC. ``further`` parts of the pane may be left empty.
    """
    known = _known(outcomes)
    if not known.all():
        outcomes = outcomes.take(known)
    if not len(outcomes):
        return
    _grow(pane.outcomes, schema)
    members = _Members.of(outcomes)
    members.add(pane.outcomes.labels, np.zeros(len(outcomes), np.int64), outcomes.weights)
    _add_delay(pane.outcomes, outcomes)
    if outcomes.labels is None:
        _add_errors(pane.outcomes, schema, outcomes, members)
    else:
        _add_classes(pane.outcomes, schema, outcomes, outcomes.labels, members)
        if schema.task != "binary_classification":
            _add_log_loss(pane.outcomes, outcomes, members)
        else:
            _add_binary(pane.outcomes, schema, outcomes, outcomes.labels, members)
    _add_label_column(pane, schema, outcomes)
    if further:
        pane.further.add_outcomes(schema, outcomes)


def label_shift(schema: Schema) -> float:
    """Return the c of the regression sums: the middle of the label's range in the reference, else of the prediction's,
    else 0.

    It must be the same for all panes of a schema, or they would not add up.
    """
    roles: tuple[ColumnRole, ...] = ("label", "prediction")
    for role in roles:
        position = _position(schema, role)
        if position is not None and position < len(schema.numeric):
            middle = float(schema.low[position]) / 2.0 + float(schema.high[position]) / 2.0
            if math.isfinite(middle):
                return middle
    return 0.0


def zero_reach(schema: Schema) -> float:
    """Return the size up to which a label counts as 0: rounding (10⁻⁹) of the largest label in the reference."""
    position = _position(schema, "label")
    if position is None or position >= len(schema.numeric):
        return EPSILON
    largest = max(abs(float(schema.low[position])), abs(float(schema.high[position])))
    return max(EPSILON, 1e-9 * largest) if math.isfinite(largest) else EPSILON


@dataclass(frozen=True, slots=True)
class _Members:
    """The groups of each row as pairs ``[m]``: every row is in group 0 and in those of its segments."""

    row: I64
    group: I64

    @classmethod
    def of(cls, outcomes: OutcomeBatch) -> _Members:
        rows = np.arange(len(outcomes))
        row, segment = np.nonzero(outcomes.groups > 0)
        groups = outcomes.groups[row, segment].astype(np.int64)
        return cls(np.concatenate((rows, row)), np.concatenate((np.zeros(len(rows), np.int64), groups)))

    def where(self, kept: Mask) -> _Members:
        """Return the pairs of the rows that are kept."""
        if kept.all():
            return self
        pairs = kept[self.row]
        return _Members(self.row[pairs], self.group[pairs])

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


def _known(outcomes: OutcomeBatch) -> Mask:
    if outcomes.labels is not None:
        return known_classes(outcomes.labels)
    if outcomes.label_values is not None:
        return np.isfinite(outcomes.label_values)
    return np.zeros(len(outcomes), np.bool_)


def _grow(sums: Outcomes, schema: Schema) -> None:
    """Grow the vectors to the schema's current size, contiguous, so that flat positions are valid."""
    groups, classes = len(schema.groups) + 1, len(schema.classes)
    for name in ("labels", "score_hits", "calibration", "scored", "errors", "by_class"):
        values: F64 = getattr(sums, name)
        shape = (groups, 3, classes) if name == "by_class" else (groups, *values.shape[1:])
        extent = tuple(max(sizes) for sizes in zip(values.shape, shape, strict=True))
        setattr(sums, name, np.ascontiguousarray(grown(values, extent)))


def _add_delay(sums: Outcomes, outcomes: OutcomeBatch) -> None:
    bins = delay_bins(outcomes.delay_s)
    counted = bins >= 0
    scatter(sums.delay, bins[counted], outcomes.weights[counted])


def _add_classes(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: _Members) -> None:
    """Add what was right, labeled and predicted of each class, for the rows with a predicted class."""
    if outcomes.predicted is None:
        return
    predicted = outcomes.predicted
    positive = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
    if positive is not None:
        # Slot 0 is what a score below the threshold means while the negative class has no name.
        predicted = np.where((predicted == 0) & (labels != positive), labels, predicted)
    # Snapshots of earlier versions have slot 0 for any class beyond the limit: which one it was is not known.
    members = members.where(known_classes(predicted) & ~((predicted == 0) & (labels <= 0)))
    size = sums.by_class.shape[2]
    label_slots, predicted_slots = class_slots(labels).astype(np.int64), class_slots(predicted)
    members.where(labels == predicted).add(sums.by_class, label_slots, outcomes.weights)
    members.add(sums.by_class, size + label_slots, outcomes.weights)
    members.add(sums.by_class, 2 * size + predicted_slots, outcomes.weights)


def _add_binary(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: _Members) -> None:
    """Add to the ranking by fine bins, the calibration table, the Brier score and the log loss."""
    slot = schema.classes.find(0, schema.positive_class)
    positive = labels == (-1 if slot is None else slot)  # if no label was positive yet, all are negative
    score, weights = outcomes.scores, outcomes.weights
    column = _position(schema, "score")
    if column is not None and column < len(schema.numeric):
        bins = bin_index(score, schema.edges[column])
        cells = positive * np.int64(sums.score_hits.shape[2]) + bins
        members.where(np.isfinite(score)).add(sums.score_hits, cells, weights)
    probable = (score >= 0.0) & (score <= 1.0)
    members, p = members.where(probable), np.where(probable, score, 0.0)
    bins = np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    for offset, values in enumerate((weights, weights * p, weights * positive)):
        members.add(sums.calibration, bins + offset * CALIBRATION_BINS, values)
    _add_scored(sums, members, weights, (p - positive) ** 2, np.where(positive, p, 1.0 - p))


def _add_log_loss(sums: Outcomes, outcomes: OutcomeBatch, members: _Members) -> None:
    p = outcomes.label_probability
    probable = (p >= 0.0) & (p <= 1.0)
    _add_scored(sums, members.where(probable), outcomes.weights, np.zeros(len(p)), np.where(probable, p, 1.0))
    unknown = members.where(~probable & ~np.isnan(outcomes.scores))
    unknown.add(sums.scored, np.ones(len(p), np.int64), outcomes.weights)


@np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
def _add_scored(sums: Outcomes, members: _Members, weights: F64, squares: F64, probability: F64) -> None:
    loss = -np.log(np.clip(probability, EPSILON, 1.0 - EPSILON))
    for offset, values in enumerate((weights, weights * squares, weights * loss)):
        members.add(sums.scored, np.full(len(weights), offset), values)


@np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
def _add_errors(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, members: _Members) -> None:
    y, predicted = outcomes.label_values, outcomes.predicted_values
    if y is None or predicted is None:
        return
    counted = (np.abs(y) <= VALUE_LIMIT) & (np.abs(predicted) <= VALUE_LIMIT)
    y, predicted = np.where(counted, y, 0.0), np.where(counted, predicted, 0.0)
    members, error, size = members.where(counted), predicted - y, np.abs(y)
    tiny, from_middle = size <= zero_reach(schema), y - label_shift(schema)
    terms = (
        np.ones(len(y)),
        np.abs(error),
        error**2,
        np.where(tiny, 0.0, np.abs(error) / np.where(tiny, 1.0, size)),
        from_middle,
        from_middle**2,
        error,
        np.where(tiny, -1.0, 0.0),
    )
    for offset, values in enumerate(terms):
        members.add(sums.errors, np.full(len(y), offset), outcomes.weights * values)


def _add_label_column(pane: Pane, schema: Schema, outcomes: OutcomeBatch) -> None:
    position = _position(schema, "label")
    if position is None:
        return
    if outcomes.labels is None:
        column = Column(outcomes.label_values)
    else:
        slots, codes = np.unique(class_slots(outcomes.labels), return_inverse=True)
        column = Column(None, codes.astype(np.int32), tuple(schema.classes.name(slot) for slot in slots.tolist()))
    accumulate_column(pane, schema, position, column, outcomes.weights)


def _position(schema: Schema, role: ColumnRole) -> int | None:
    """Return the position of an output's column in ``schema.columns``."""
    return next((position for position, spec in enumerate(schema.columns) if spec.role == role), None)
