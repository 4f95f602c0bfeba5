"""What is known of each group of one segment: selected or not, rightly or not, from the sums of a pane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.pane import Outcomes, Pane
from collector_processor.statistics.parts.selections import Selections
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

ROUNDING: Final = 1e-9
"""Share of the largest sum below which a sum is only the rounding error of retractions."""
_FEW_CALLS: Final = 2.0
"""Calls of which nothing can be learned about how alike the rows of a call are."""


@dataclass(frozen=True, slots=True)
class Favorable:
    """The favorable outcome: a class, or every class except it (``other``), which is how a binary model has two."""

    slot: int
    other: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Weighted sums of ``g`` groups, float64 ``[g]`` each.

    - ``selected`` of ``predicted``: predictions of the favorable outcome, of all predictions with a class.
    - ``tp``, ``fp``, ``fn``, ``tn``: labeled rows by predicted and true outcome, favorable ones are positive.
    - ``right`` of ``judged``: labeled rows whose class was right, whatever the favorable outcome is.
    - ``score_gap``, ``score_squares`` and ``scored``: Σ (score − truth), Σ (score − truth)² and their number, of the
      model's positive class.
    - ``error``, ``size``, ``error_squares`` and ``errors``: Σ e, Σ abs(e), Σ e² and their number, in a regression.
    - ``weight`` and ``label_weight``: the weight of one independent row of predictions, and of labels.
    - ``doubt``: how many times as large the variance of rates of labels is, if the labels are only estimated.
    """

    selected: F64
    predicted: F64
    tp: F64
    fp: F64
    fn: F64
    tn: F64
    right: F64
    judged: F64
    score_gap: F64
    score_squares: F64
    scored: F64
    error: F64
    size: F64
    error_squares: F64
    errors: F64
    weight: F64
    label_weight: F64
    doubt: F64

    def pooled(self, kept: I64, pooled: I64) -> Counts:
        """Return the groups that are kept, followed by the others together, if there are any."""

        def joined(values: F64) -> F64:
            return np.append(values[kept], values[pooled].sum()) if len(pooled) else values[kept]

        def mean(values: F64, sizes: F64) -> F64:
            total = sizes[pooled].sum()
            share = sizes[pooled] / total if total > 0.0 else np.full(len(pooled), 1.0 / max(len(pooled), 1))
            return np.append(values[kept], share @ values[pooled]) if len(pooled) else values[kept]

        names = [name for name in self.__slots__ if name not in ("weight", "label_weight", "doubt")]
        labels = self.judged + self.errors
        return Counts(
            **{name: joined(getattr(self, name)) for name in names},
            weight=mean(self.weight, self.predicted),
            label_weight=mean(self.label_weight, labels),
            doubt=mean(self.doubt, labels),
        )

    def whole(self) -> Counts:
        """Return all groups as one."""
        return self.pooled(np.zeros(0, np.int64), np.arange(len(self.predicted)))


def counts(schema: Schema, pane: Pane, groups: I64, favorable: Favorable | None, unit: float = 1.0) -> Counts:
    """Return the sums of some rows of the grouped vectors; without a favorable outcome, nothing that depends on it.

    Errors of a regression are in multiples of ``unit``.
    """
    size = len(schema.groups) + 1
    part = pane.further[Selections]
    known = len(part.weights) > 0
    weights = grown(part.weights, (size, 2)) if known else np.zeros((size, 2))
    none = np.zeros(len(groups))
    chosen = grown(part.chosen, (size, part.chosen.shape[1]))[groups] if known else np.zeros((len(groups), 0))
    predicted = chosen.sum(axis=1)
    selected = none if favorable is None else _of(favorable, chosen, predicted)
    over = 1.0 if favorable is None or not known else overdispersion(_taken(part, groups, size), favorable)
    labels = _grown(pane.outcomes.labels, size)[groups]
    outcomes = pane.outcomes
    right, judged, table = _confusion(outcomes, groups, size, favorable)
    gap = _calibration(schema, outcomes, groups, size)
    errors = _grown(outcomes.errors, size)[groups]
    errors = np.where(errors[:, :1] > ROUNDING, errors, 0.0)
    return Counts(
        selected=selected,
        predicted=predicted,
        tp=table[0],
        fp=table[1],
        fn=table[2],
        tn=table[3],
        right=right,
        judged=judged,
        score_gap=gap[0],
        score_squares=gap[1],
        scored=gap[2],
        error=errors[:, 6] / unit,
        size=np.maximum(errors[:, 1], 0.0) / unit,
        error_squares=np.maximum(errors[:, 2], 0.0) / unit / unit,
        errors=errors[:, 0],
        weight=_weight(weights[groups, 0], predicted) * over,
        label_weight=_weight(weights[groups, 1], labels) * over,
        doubt=np.ones(len(groups)),
    )


def overdispersion(part: Selections, favorable: Favorable) -> float:
    """Return how many times as much shares vary as those of independent rows of these weights, at least 1.

    Over all groups, Σ (s − p·m)² of the calls divided by what it would be with independent rows: the design effect of
    a cluster sample, by the linearized variance of a ratio. Groups of one or two calls say nothing.
    """
    chosen, slot = part.chosen, favorable.slot
    if slot >= chosen.shape[1]:
        return 1.0
    total, sizes, row = chosen.sum(axis=1), part.products.sum(axis=1), part.weights[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        calls = np.where(sizes > 0.0, total**2 / sizes, 0.0)
        p = np.where(total > 0.0, chosen[:, slot] / total, 0.0)
        seen = part.squares[:, slot] - 2.0 * p * part.products[:, slot] + p**2 * sizes
        rows = np.where(row > 0.0, total**2 / row, 0.0)
        used = calls > _FEW_CALLS
        few = calls / (calls - 1.0) / (rows / (rows - 1.0))
        seen = np.where(used, seen * few, 0.0).sum()
        expected = np.where(used, row * p * (1.0 - p), 0.0).sum()
    return max(float(seen / expected), 1.0) if expected > 0.0 else 1.0


def joint_counts(pane: Pane, pair: int, favorable: Favorable) -> tuple[F64, F64]:
    """Return selected and all rows ``[V, V]`` by the values of a pair of segments (:class:`.Selections`)."""
    table = pane.further[Selections].joint
    if pair >= len(table):
        return np.zeros((0, 0)), np.zeros((0, 0))
    total = table[pair].sum(axis=2)
    return _of(favorable, table[pair], total), total


def _of(favorable: Favorable, by_class: F64, total: F64) -> F64:
    """Return the part of a table ``[…, K]`` that is favorable."""
    part = by_class[..., favorable.slot] if favorable.slot < by_class.shape[-1] else np.zeros(by_class.shape[:-1])
    return total - part if favorable.other else part


def _taken(part: Selections, groups: I64, size: int) -> Selections:
    classes = part.chosen.shape[1]
    chosen, squares, products = (
        grown(values, (size, classes))[groups] for values in (part.chosen, part.squares, part.products)
    )
    return replace(
        part, chosen=chosen, squares=squares, products=products, weights=grown(part.weights, (size, 2))[groups]
    )


def _weight(squares: F64, total: F64) -> F64:
    """Return the weight of a row of which as many equal ones would vary as much (Kish): Σ w² / Σ w; 1 without rows."""
    some = (total > 0.0) & (squares > 0.0)
    return np.where(some, squares / np.where(some, total, 1.0), 1.0)


def _confusion(
    outcomes: Outcomes, groups: I64, size: int, favorable: Favorable | None
) -> tuple[F64, F64, tuple[F64, F64, F64, F64]]:
    """Return how many labels were right, of how many, and tp, fp, fn, tn."""
    by_class = _without_rounding(_grown(outcomes.by_class, size)[groups])
    right, judged = by_class[:, 0].sum(axis=1), by_class[:, 1].sum(axis=1)
    none = np.zeros(len(groups))
    if favorable is None:
        return right, judged, (none, none, none, none)
    hit, labeled, predicted = none, none, none
    if favorable.slot < by_class.shape[2]:
        hit, labeled, predicted = by_class[:, :, favorable.slot].T
    table = hit, predicted - hit, labeled - hit, judged - labeled - predicted + hit
    tp, fp, fn, tn = (np.where(cells > ROUNDING * judged, cells, 0.0) for cells in table)
    return right, judged, (tn, fn, fp, tp) if favorable.other else (tp, fp, fn, tn)


def _calibration(schema: Schema, outcomes: Outcomes, groups: I64, size: int) -> tuple[F64, F64, F64]:
    """Return Σ (score − truth), Σ (score − truth)² and the number of labels with a probability."""
    none = np.zeros(len(groups))
    if schema.task != "binary_classification":
        return none, none, none
    count, score, positive = np.moveaxis(_grown(outcomes.calibration, size)[groups].sum(axis=2), 1, 0)
    scored = _without_rounding(_grown(outcomes.scored, size)[groups])
    count = np.where(count > ROUNDING * np.abs(count).max(initial=0.0), count, 0.0)
    return score - positive, scored[:, 1], count


def _grown(values: F64, groups: int) -> F64:
    return grown(values, (max(groups, len(values)), *values.shape[1:]))


def _without_rounding(sums: F64) -> F64:
    """Return sums ``[g, …]`` of values that are never negative, without the tiny remains of retractions."""
    largest = np.abs(sums).reshape(len(sums), -1).max(axis=1, initial=0.0)
    return np.where(sums > ROUNDING * largest.reshape(-1, *[1] * (sums.ndim - 1)), sums, 0.0)
