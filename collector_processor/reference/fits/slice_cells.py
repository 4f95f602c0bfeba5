"""Fit the cells of slices: fifths of numbers, the most frequent categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, PredictionBatch
from collector_processor.reference.document import Json, Node
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.pair_scores import spread
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.parts.slice_sums import losses
from collector_processor.statistics.schema import Schema

MOST: Final = 25
"""Features that have cells. Of more, those whose cells explain most of the reference's errors."""
RANGES: Final = 5
CATEGORIES: Final = 6
LEAST_ROWS: Final = 100
_LOOKED_AT: Final = 20_000
_LARGE: Final = 0.99
"""Quantile of a regression's absolute error that counts as 1."""


_Found = tuple[int, tuple[int, ...]]


class SliceCellsFitter:
    """Cut features into a few cells."""

    name: ClassVar[str] = "slice_cells"
    kind: type[SliceCells] = SliceCells
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> SliceCells | None:
        """Return the cells; None without features that vary, and for a regression without labels."""
        schema = rows.schema
        batch = spread(rows.batch, _LOOKED_AT)
        scale = _scale(rows)
        if len(batch) < LEAST_ROWS or not schema.task or not scale > 0.0:
            return None
        found = [
            (place, cut)
            for place, spec in enumerate(schema.columns)
            if spec.role == "feature" and (cut := _cut(schema, batch, place))
        ]
        if len(found) > MOST:
            found = _telling(rows, found, scale)
        if not found:
            return None
        positions = np.array([place for place, _ in found], np.int32)
        return SliceCells.of_cuts(schema, positions, [cut for _, cut in found], scale)

    def written(self, fit: SliceCells) -> Mapping[str, Json]:
        """Return the cuts by position."""
        cuts = {str(place): [*cut] for place, cut in zip(fit.positions.tolist(), fit.cuts, strict=True)}
        return {"cuts": cuts, "scale": fit.scale}

    def read(self, node: Node, schema: Schema) -> SliceCells:
        """Return the cells, checked against the schema."""
        items = [(name, item) for name, item in node["cuts"].items()]
        columns = {str(place): place for place, spec in enumerate(schema.columns) if spec.role == "feature"}
        positions = [columns.get(name, -1) for name, _ in items]
        if not 0 < len(items) <= MOST or positions != sorted({*positions} - {-1}):
            node["cuts"].fail(f"must have 1 to {MOST} positions of features, ascending")
        cuts: list[tuple[int, ...]] = []
        for place, (_, item) in zip(positions, items, strict=True):
            numeric = place < len(schema.numeric)
            cut = item.integers(1, schema.edges.shape[1] if numeric else CATEGORIES).tolist()
            if not 0 < len(cut) <= (RANGES if numeric else 1) or cut != sorted({*cut}):
                item.fail("must be a few ascending numbers")
            cuts.append(tuple(cut))
        scale = node["scale"].real()
        if not 0.0 < scale < np.inf:
            node["scale"].fail("must be above 0")
        return SliceCells.of_cuts(schema, np.array(positions, np.int32), cuts, scale)


def _scale(rows: FitRows) -> float:
    if rows.schema.task != "regression":
        return 1.0
    outcomes = rows.outcomes
    if outcomes is None or outcomes.label_values is None or outcomes.predicted_values is None:
        return 0.0
    errors = np.abs(outcomes.label_values - outcomes.predicted_values)
    errors = errors[np.isfinite(errors)]
    return float(np.quantile(errors, _LARGE)) if len(errors) >= LEAST_ROWS else 0.0


def _cut(schema: Schema, batch: PredictionBatch, place: int) -> tuple[int, ...]:
    """Return the cuts of a feature; none if all its cells would be one."""
    name = schema.columns[place].name
    if place >= len(schema.numeric):
        names = len(schema.categories.names(place - len(schema.numeric)))
        return (min(names, CATEGORIES),) if names > 1 else ()
    bins = fine_bins(schema, np.array([place]), [batch.features.get(name)], len(batch))[0]
    counts = np.bincount(bins[bins >= 0], minlength=finite_edges(schema.edges[place]) + 1)
    filled = np.flatnonzero(counts)
    if len(filled) <= RANGES:
        return tuple(filled[1:].tolist())
    below = np.cumsum(counts) - counts  # how many rows are below each bin
    starts = {int(np.abs(below - share * counts.sum()).argmin()) for share in np.arange(1, RANGES) / RANGES}
    return tuple(sorted(start for start in starts if start > filled[0]))


def _telling(rows: FitRows, found: list[_Found], scale: float) -> list[_Found]:
    """Return the features whose cells explain most of the variance of errors; the first ones without labels."""
    if rows.outcomes is None:
        return found[:MOST]
    step = -(-len(rows.batch) // _LOOKED_AT)
    batch, loss = rows.batch.take(slice(None, None, step)), losses(rows.schema, rows.outcomes, scale)[::step]
    known = np.isfinite(loss)
    gains: list[float] = []
    for place, cut in found:
        cells = SliceCells.of_cuts(rows.schema, np.array([place], np.int32), [cut], scale)
        gains.append(_explained(cells.of(rows.schema, batch)[known, 0], loss[known]))
    best = np.argsort(-np.array(gains), kind="stable")[:MOST]
    return [found[place] for place in sorted(best.tolist())]


def _explained(codes: np.ndarray[tuple[int], np.dtype[np.uint8]], loss: F64) -> float:
    counts, sums = np.bincount(codes), np.bincount(codes, loss)
    filled = counts > 0
    return float((sums[filled] ** 2 / counts[filled]).sum())
