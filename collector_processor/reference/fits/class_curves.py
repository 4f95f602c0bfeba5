"""Fit the calibration of each class of a multiclass model, and cut its scores into bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.calibration import (
    LEAST_ROWS,
    fitted_curve,
    read_curve,
    slot_of,
    written_curve,
)
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.fits.calibration import Curve
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.schema import Schema

BINS: Final = 3072
"""Bins of the scores of all classes together, if each then has 64 to 1,024."""
MOST_BINS: Final = 1024
LEAST_BINS: Final = 64
NOT_ESTIMATED: Final = "performance is not estimated before labels come"
OTHERS: Final = 0.01
"""Share of labels of classes without a score from which on nothing is fitted: probabilities have no sum then."""


class ClassCurvesFitter:
    """The calibration of each class beside all others, as that of a binary model (:class:`.CalibrationFitter`).

    A class with fewer than ten labels keeps its score as its probability.
    """

    name: ClassVar[str] = "class_curves"
    kind = ClassCurves
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> ClassCurves | None:
        """Return the curves; None without labels, or without a score of each class in every row."""
        schema, outcomes, batch = rows.schema, rows.outcomes, rows.batch
        if schema.task != "multiclass_classification" or outcomes is None or outcomes.labels is None:
            return None
        found = {schema.classes.find(0, name): scores for name, scores in batch.scores.items()}
        by_slot = {slot: scores for slot, scores in found.items() if slot is not None}
        slots = np.array(sorted(by_slot), np.int32)
        if len(slots) < 2 or len(slots) < len(batch.scores):
            return None
        scores = np.stack([by_slot[slot] for slot in slots.tolist()], axis=1)
        used = known_classes(outcomes.labels) & np.isfinite(scores).all(axis=1) & (outcomes.weights > 0.0)
        if batch.error is not None:
            used &= ~batch.error.is_text()
        scores, labels, weights = scores[used], outcomes.labels[used], outcomes.weights[used]
        other = ~np.isin(labels, slots)
        if len(labels) < LEAST_ROWS or weights @ other > OTHERS * weights.sum():
            return None
        if scores.min() < 0.0 or scores.max() > 1.0:
            rows.note(f"{NOT_ESTIMATED}: scores of classes are not from 0 to 1")
            return None
        curves: list[Curve] = []
        for place, slot in enumerate(slots.tolist()):
            curve = fitted_curve(scores[:, place], labels, slot, weights)
            if curve is None and np.count_nonzero(labels == slot) >= 10:
                name = schema.classes.name(slot)
                rows.note(f"{NOT_ESTIMATED}: class {name!r} is rarer with higher scores")
                return None
            curves.append(curve or Curve.identity())
        return ClassCurves(slots, tuple(curves), _edges(scores))

    def written(self, fit: ClassCurves) -> Mapping[str, Json]:
        """Return curve and edges by the slot of each class."""
        return {
            str(slot): {
                **written_curve(curve),
                "edges": [number(x) for x in edges[np.isfinite(edges)].tolist()],
            }
            for slot, curve, edges in zip(fit.slots.tolist(), fit.curves, fit.edges, strict=True)
        }

    def read(self, node: Node, schema: Schema) -> ClassCurves:
        """Return the curves that were written."""
        items = {slot_of(item, key, len(schema.classes)): item for key, item in node.items()}
        if len(items) < 2:
            node.fail("must have two classes or more")
        slots = sorted(items)
        edges = [items[slot]["edges"].numbers() for slot in slots]
        for slot, each in zip(slots, edges, strict=True):
            if not 0 < len(each) <= MOST_BINS or not (each[1:] > each[:-1]).all():
                items[slot]["edges"].fail(f"must be 1 to {MOST_BINS} numbers that ascend")
        return ClassCurves(np.array(slots, np.int32), tuple(read_curve(items[slot]) for slot in slots), _padded(edges))


def _edges(scores: F64) -> F64:
    """Return the edges of the bins of each class ``[K, E]``: half of equal count, half of equal width."""
    bins = min(max(BINS // scores.shape[1], LEAST_BINS), MOST_BINS) // 2
    levels, even = np.arange(1, bins) / bins, np.linspace(0.0, 1.0, bins + 1)
    return _padded([np.unique(np.append(np.quantile(column, levels).round(9), even)) for column in scores.T])


def _padded(edges: list[F64]) -> F64:
    table = np.full((len(edges), max(map(len, edges))), np.inf)
    for row, values in zip(table, edges, strict=True):
        row[: len(values)] = values
    return table
