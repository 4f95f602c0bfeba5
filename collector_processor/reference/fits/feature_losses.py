"""Fit how wrong the model is in each range and category of a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, PredictionBatch
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.pair_scores import spread
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.fits.feature_losses import FeatureLosses, drift_bins
from collector_processor.statistics.groups import cell_slots
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.parts.cause_sums import row_losses
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts

LEAST_ROWS: Final = 200
MOST: Final = 100
"""Features that are kept: of more, those whose cells explain most of the reference's errors."""
_LOOKED_AT: Final = 100_000


class FeatureLossesFitter:
    """Take the mean loss of the reference rows in each drift bin or category of each feature."""

    name: ClassVar[str] = "feature_losses"
    kind: type[FeatureLosses] = FeatureLosses
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> FeatureLosses | None:
        """Return the means; None without labels."""
        schema = rows.schema
        if rows.outcomes is None:
            return None
        batch = spread(rows.batch, _LOOKED_AT)
        loss = row_losses(schema, rows.outcomes.take(slice(None, None, -(-len(rows.batch) // _LOOKED_AT))))
        known = np.flatnonzero((loss <= VALUE_LIMIT) & (batch.weights > 0.0))
        if len(known) < LEAST_ROWS:
            return None
        batch, loss = batch.take(known), loss[known]
        weighted, mean = batch.weights * loss, float(batch.weights @ loss / batch.weights.sum())
        found: dict[int, F64] = {}
        explained: dict[int, float] = {}
        for place, spec in enumerate(schema.columns):
            if spec.role != "feature":
                continue
            codes, size = _codes(schema, batch, place)
            mass, sums = np.bincount(codes, batch.weights, size), np.bincount(codes, weighted, size)
            losses = np.where(mass > 0.0, sums / np.where(mass > 0.0, mass, 1.0), np.nan)
            explained[place] = float(mass @ np.nan_to_num(losses - mean) ** 2)
            found[place] = np.append(_filled(losses, mean, numeric=place < len(schema.numeric)), mean)
        kept = sorted(sorted(found, key=lambda place: -explained[place])[:MOST])
        if not kept:
            return None
        return FeatureLosses(np.array(kept, np.int32), tuple(found[place] for place in kept))

    def written(self, fit: FeatureLosses) -> Mapping[str, Json]:
        """Return the losses by position."""
        return {
            str(place): [number(x) for x in losses.tolist()]
            for place, losses in zip(fit.positions.tolist(), fit.losses, strict=True)
        }

    def read(self, node: Node, schema: Schema) -> FeatureLosses:
        """Return the losses, checked against the schema."""
        items = node.items()
        columns = {str(place): place for place, spec in enumerate(schema.columns) if spec.role == "feature"}
        positions = [columns.get(name, -1) for name, _ in items]
        if not 0 < len(items) <= MOST or positions != sorted({*positions} - {-1}):
            node.fail(f"must have 1 to {MOST} positions of features, ascending")
        losses: list[F64] = []
        for place, (_, item) in zip(positions, items, strict=True):
            one = item.numbers()
            if place < len(schema.numeric):
                size = len(drift_bins(schema, place)) + 3
                if len(one) != size:
                    item.fail(f"must have {size} numbers")
            elif not 3 <= len(one) <= len(schema.categories.names(place - len(schema.numeric))) + 3:
                item.fail("must have a number for each category, and three more")  # categories may have come since
            losses.append(one)
        return FeatureLosses(np.array(positions, np.int32), tuple(losses))


def _codes(schema: Schema, batch: PredictionBatch, place: int) -> tuple[I64, int]:
    """Return the cell of each row, the last one for missing, and the number of cells."""
    column = batch.features.get(schema.columns[place].name)
    if place < len(schema.numeric):
        last = drift_bins(schema, place)
        bins = fine_bins(schema, np.array([place]), [column], len(batch))[0]
        return np.where(bins < 0, len(last) + 1, np.searchsorted(last, bins)), len(last) + 2
    position = place - len(schema.numeric)
    own = schema.categories.column_slots(position)
    slots = cell_slots(schema.categories, position, as_texts(Column() if column is None else column))
    if column is None:
        slots = np.full(len(batch), -1, np.int32)
    by_slot = np.full(len(schema.categories) + 1, len(own))
    by_slot[own] = np.arange(len(own))
    return by_slot[slots], len(own) + 1


def _filled(losses: F64, mean: float, *, numeric: bool) -> F64:
    """Return losses without NaN: cells without rows have the mean of all; bins beyond a range have that of its end."""
    known = np.flatnonzero(~np.isnan(losses[:-1]))
    filled = np.where(np.isnan(losses), mean, losses)
    if numeric and len(known):
        filled[: known[0]] = filled[known[0]]
        filled[known[-1] + 1 : -1] = filled[known[-1]]
    return filled
