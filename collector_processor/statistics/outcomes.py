"""From joined labels to sums: how good predictions were, in vectors that add up and that a correction can reverse.

``Outcomes.errors`` ``[G, 8]`` holds for a regression, with label y, prediction ŷ and error e = ŷ − y, weighted: count,
Σ abs(e), Σ e², Σ abs(e)/abs(y) of labels that are not 0, Σ (y − c), Σ (y − c)², Σ e, and −1 times the number of labels
that are 0 up to rounding (:func:`zero_reach`). Version 0.1.0 had Σ abs(e) of those in the last place, which is never
negative. c is the schema's :func:`label_shift`, which keeps R² exact for labels far from zero.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, Mask
from collector_processor.statistics.accumulate import accumulate_column
from collector_processor.statistics.bins import bin_index
from collector_processor.statistics.classes import class_slots, known_classes
from collector_processor.statistics.labeled import (
    EPSILON,
    VALUE_LIMIT,
    Members,
    counted_classes,
    label_shift,
    position_of,
    scatter,
    zero_reach,
)
from collector_processor.statistics.latency import delay_bins
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.pane import CALIBRATION_BINS, Outcomes, Pane
from collector_processor.statistics.parts.label_moments import LabelMoments
from collector_processor.statistics.parts.registry import POSITIVE_SUMS
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

SCORE_SUMS: Final = POSITIVE_SUMS | {"outcomes.score_hits", "outcomes.calibration", "outcomes.scored"}
CLASS_SUMS: Final = frozenset({"outcomes.by_class", f"further.{LabelMoments.name}.by_class"})
"""The sums of a binary task that depend on which class is positive: of scores, and of classes that scores decided."""


def accumulate_outcomes(pane: Pane, schema: Schema, outcomes: OutcomeBatch, *, further: bool = True) -> None:
    """Add joined labels to the pane's ``outcomes``, and to the drift vectors of the label column if there is one.

    Rows without a label add nothing; rows without a prediction add only to ``labels``, ``delay`` and label drift. In a
    binary task every class except the positive one is negative; as long as the positive class is unknown, all are:
    there is one class only, most likely the negative one. Scores outside 0 to 1 are not probabilities: they count for
    ranking (``score_hits``), not for calibration. A schema without a score column has no bins to rank in, and so no ROC
    AUC. All ``further`` parts of the pane but the moments of labels, and its exemplars, may be left empty.
    """
    known = _known(outcomes)
    if not known.all():
        outcomes = outcomes.take(known)
    if not len(outcomes):
        return
    _grow(pane.outcomes, schema)
    members = Members.of(outcomes)
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
        pane.exemplars.add_outcomes(schema, outcomes)
    else:
        pane.further[LabelMoments].add_outcomes(schema, outcomes)


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
        setattr(sums, name, np.ascontiguousarray(grown(values, shape)))


def _add_delay(sums: Outcomes, outcomes: OutcomeBatch) -> None:
    bins = delay_bins(outcomes.delay_s)
    counted = bins >= 0
    scatter(sums.delay, bins[counted], outcomes.weights[counted])


def _add_classes(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: Members) -> None:
    """Add what was right, labeled and predicted of each class, for the rows with a predicted class."""
    if outcomes.predicted is None:
        return
    predicted, counted = counted_classes(schema, labels, outcomes.predicted)
    members = members.where(counted)
    size = sums.by_class.shape[2]
    label_slots, predicted_slots = class_slots(labels).astype(np.int64), class_slots(predicted)
    members.where(labels == predicted).add(sums.by_class, label_slots, outcomes.weights)
    members.add(sums.by_class, size + label_slots, outcomes.weights)
    members.add(sums.by_class, 2 * size + predicted_slots, outcomes.weights)


def _add_binary(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: Members) -> None:
    """Add to the ranking by fine bins, the calibration table, the Brier score and the log loss."""
    slot = schema.classes.find(0, schema.positive_class)
    positive = labels == (-1 if slot is None else slot)  # if no label was positive yet, all are negative
    score, weights = outcomes.scores, outcomes.weights
    column = position_of(schema, "score")
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


def _add_log_loss(sums: Outcomes, outcomes: OutcomeBatch, members: Members) -> None:
    p = outcomes.label_probability
    probable = (p >= 0.0) & (p <= 1.0)
    _add_scored(sums, members.where(probable), outcomes.weights, np.zeros(len(p)), np.where(probable, p, 1.0))
    unknown = members.where(~probable & ~np.isnan(outcomes.scores))
    unknown.add(sums.scored, np.ones(len(p), np.int64), outcomes.weights)


@np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
def _add_scored(sums: Outcomes, members: Members, weights: F64, squares: F64, probability: F64) -> None:
    loss = -np.log(np.clip(probability, EPSILON, 1.0 - EPSILON))
    for offset, values in enumerate((weights, weights * squares, weights * loss)):
        members.add(sums.scored, np.full(len(weights), offset), values)


@np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
def _add_errors(sums: Outcomes, schema: Schema, outcomes: OutcomeBatch, members: Members) -> None:
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
    position = position_of(schema, "label")
    if position is None:
        return
    if outcomes.labels is None:
        column = Column(outcomes.label_values)
    else:
        slots, codes = np.unique(class_slots(outcomes.labels), return_inverse=True)
        column = Column(None, codes.astype(np.int32), tuple(schema.classes.name(slot) for slot in slots.tolist()))
    accumulate_column(pane, schema, position, column, outcomes.weights)
