"""How much the outcomes of joined labels vary: what intervals of performance need beside the sums of the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Mask
from collector_processor.statistics.classes import class_slots
from collector_processor.statistics.labeled import (
    EPSILON,
    VALUE_LIMIT,
    Members,
    counted_classes,
    label_shift,
    zero_reach,
)
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

SCORED: Final = ("squares", "brier_2", "brier_3", "loss_2", "loss_3")
ERRORS: Final = (
    "squares", "absolute_3", "error_4", "error_6", "relative_2", "relative_3", "over_2", "over_3",
    "error_2_label", "error_2_label_2", "label_3", "label_4",
)  # fmt: skip
"""The columns of ``errors``, with e = ŷ − y: powers of abs(e), of abs(e)/abs(y), of max(e, 0), and of y − c."""
LIMIT: Final = 1e45
"""Larger errors and labels are cut off, so that sixth powers stay finite. There is no interval then."""


@dataclass(slots=True)
class LabelMoments(Part):
    """Sums over joined labels; those that a task has no use for have size 0.

    A square of weights has the sign of the weight, so that a label that is taken back leaves nothing.

    - ``labels`` ``[G, 2]``: Σ w and Σ w². The former shows whether all of the labels are in this part.
    - ``by_class`` ``[G, 3, K]``: Σ w² of the cells of ``Outcomes.by_class``.
    - ``scored`` ``[G, 5]``: :data:`SCORED`, Σ w², and Σ w of second and third powers of the squared error of the
      score and of the log loss.
    - ``errors`` ``[G, 12]``: :data:`ERRORS` of a regression, Σ w² and Σ w of the powers.
    """

    name: ClassVar[str] = "label_moments"
    of_positive: ClassVar[tuple[str, ...]] = ("scored",)

    labels: F64
    by_class: F64
    scored: F64
    errors: F64

    @classmethod
    def empty(cls, schema: Schema) -> LabelMoments:
        """Return the sums of nothing."""
        groups, regression = len(schema.groups) + 1, schema.task == "regression"
        return cls(
            np.zeros((groups, 2)),
            np.zeros((0 if regression else groups, 3, len(schema.classes))),
            np.zeros((0 if regression else groups, len(SCORED))),
            np.zeros((groups if regression else 0, len(ERRORS))),
        )

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels, all of them known."""
        self._grow(schema)
        members, squares = Members.of(outcomes), outcomes.weights * np.abs(outcomes.weights)
        _add(self.labels, members, (outcomes.weights, squares))
        if outcomes.labels is None:
            if outcomes.label_values is not None and outcomes.predicted_values is not None and len(self.errors):
                self._add_errors(schema, outcomes, outcomes.label_values, outcomes.predicted_values, members)
        elif len(self.by_class):
            self._add_classes(schema, outcomes, outcomes.labels, members)
            self._add_scored(schema, outcomes, outcomes.labels, members)

    def _grow(self, schema: Schema) -> None:
        groups = len(schema.groups) + 1
        for name in ("labels", "by_class", "scored", "errors"):
            values: F64 = getattr(self, name)
            if len(values):
                shape = (groups, 3, len(schema.classes)) if name == "by_class" else (groups, *values.shape[1:])
                extent = tuple(max(sizes) for sizes in zip(values.shape, shape, strict=True))
                setattr(self, name, np.ascontiguousarray(grown(values, extent)))

    def _add_classes(self, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: Members) -> None:
        if outcomes.predicted is None:
            return
        predicted, counted = counted_classes(schema, labels, outcomes.predicted)
        members, size = members.where(counted), self.by_class.shape[2]
        slots, predicted_slots = class_slots(labels).astype(np.int64), class_slots(predicted).astype(np.int64)
        squares = outcomes.weights * np.abs(outcomes.weights)
        members.where(labels == predicted).add(self.by_class, slots, squares)
        members.add(self.by_class, size + slots, squares)
        members.add(self.by_class, 2 * size + predicted_slots, squares)

    def _add_scored(self, schema: Schema, outcomes: OutcomeBatch, labels: I32, members: Members) -> None:
        probability, brier = _probability_of_label(schema, outcomes, labels), np.zeros(len(labels))
        probable = (probability >= 0.0) & (probability <= 1.0)
        p = np.clip(np.where(probable, probability, 1.0), EPSILON, 1.0 - EPSILON)
        if schema.task == "binary_classification":
            brier = np.where(probable, 1.0 - probability, 0.0) ** 2
        loss, weights = -np.log(p), outcomes.weights
        brier_2, loss_2 = weights * brier * brier, weights * loss * loss
        terms = weights * np.abs(weights), brier_2, brier_2 * brier, loss_2, loss_2 * loss
        _add(self.scored, members.where(probable), terms)

    def _add_errors(self, schema: Schema, outcomes: OutcomeBatch, y: F64, predicted: F64, members: Members) -> None:
        counted: Mask = (np.abs(y) <= VALUE_LIMIT) & (np.abs(predicted) <= VALUE_LIMIT)
        y, predicted = np.where(counted, y, 0.0), np.where(counted, predicted, 0.0)
        error = np.clip(predicted - y, -LIMIT, LIMIT)
        size, over = np.abs(error), np.maximum(error, 0.0)
        label = np.clip(y - label_shift(schema), -LIMIT, LIMIT)
        tiny = np.abs(y) <= zero_reach(schema)
        relative = np.where(tiny, 0.0, np.minimum(size / np.where(tiny, 1.0, np.abs(y)), LIMIT))
        square, weights, both = error * error, outcomes.weights, error * label
        fourth, relative_2, over_2, label_2 = square * square, relative * relative, over * over, label * label
        # Products: a power takes ten times as long.
        powers = (
            square * size, fourth, fourth * square, relative_2, relative_2 * relative, over_2, over_2 * over,
            both * error, both * both, label_2 * label, label_2 * label_2,
        )  # fmt: skip
        terms = (weights * np.abs(weights), *(weights * power for power in powers))
        _add(self.errors, members.where(counted), terms)


def _probability_of_label(schema: Schema, outcomes: OutcomeBatch, labels: I32) -> F64:
    """Return the probability that each row gave to its label, ``[n]``, as the outcomes' own sums take it."""
    if schema.task != "binary_classification":
        return outcomes.label_probability
    slot = schema.classes.find(0, schema.positive_class)
    positive = labels == (-1 if slot is None else slot)
    return np.where(positive, outcomes.scores, 1.0 - outcomes.scores)


def _add(target: F64, members: Members, terms: Sequence[F64]) -> None:
    """Add a term to each column of ``target`` ``[G, m]``."""
    for offset, values in enumerate(terms):
        target[:, offset] += np.bincount(members.group, values[members.row], len(target))
