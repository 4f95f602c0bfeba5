"""Numeric columns into bins: a block of neighbouring columns and rows at a time, so that it stays in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from collector_processor.decode.batch import F64, I64, Column, Mask
from collector_processor.statistics.guide import Guide, guide_of
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

BLOCK_CELLS: Final = 32_768
BLOCK_COLUMNS: Final = 32
EXCESS_LIMIT: Final = 1e290
"""Farthest that one cell counts into ``excess``, so that sums of absurd values stay finite."""


def add_numbers(
    pane: Pane,
    schema: Schema,
    columns: Sequence[Column | None],
    rows: int,
    weights: F64 | None,
    failed: Mask | None = None,
    first: int = 0,
) -> None:
    """Adds ``rows`` cells of each of the numeric columns from position ``first`` on; None is missing in every row.

    ``weights`` None means 1 each. Rows that ``failed`` have no outputs: in columns of another role than feature their
    cells are neither counted nor missing.
    """
    guide = guide_of(schema.edges)
    height = max(1, min(rows, BLOCK_CELLS))
    width = max(1, min(BLOCK_COLUMNS, BLOCK_CELLS // height))
    for start in range(0, rows, height):
        part = slice(start, min(start + height, rows))
        part_weights = None if weights is None else weights[part]
        part_failed = None if failed is None else failed[part]
        for left in range(0, len(columns), width):
            block = [None if column is None else column.take(part) for column in columns[left : left + width]]
            _add_block(pane, schema, guide, first + left, block, part.stop - part.start, part_weights, part_failed)


def _add_block(
    pane: Pane,
    schema: Schema,
    guide: Guide,
    first: int,
    columns: Sequence[Column | None],
    rows: int,
    weights: F64 | None,
    failed: Mask | None,
) -> None:
    """One block: quality first, then counts and excess of the cells that are numbers."""
    values = np.empty((len(columns), rows))
    for row, column in enumerate(columns):
        values[row] = np.nan if column is None or column.numbers is None else column.numbers
        if failed is not None and schema.numeric[first + row].role != "feature":
            values[row, failed] = np.nan
    absent = np.isnan(values)
    some_absent = bool(absent.any())
    if some_absent:
        _add_quality(pane, schema, first, columns, absent, weights, failed)
    index = guide.index(first, values)
    size = len(columns) * guide.bins
    if some_absent:
        index[absent] = size  # one bin more, which is thrown away
    flat = index.ravel()
    flat_weights = None if weights is None else np.broadcast_to(weights, values.shape).ravel()
    block = slice(first, first + len(columns))
    pane.counts[block] += np.bincount(flat, flat_weights, size + 1)[:size].reshape(len(columns), guide.bins)
    excess = _excess(values.ravel(), flat, guide.anchors[first * guide.bins :], flat_weights, size)
    excess = excess.reshape(len(columns), guide.bins)
    if guide.edgeless[block].any():
        excess[guide.edgeless[block]] = 0.0
    pane.excess[block] += excess


def _add_quality(
    pane: Pane,
    schema: Schema,
    first: int,
    columns: Sequence[Column | None],
    absent: Mask,
    weights: F64 | None,
    failed: Mask | None,
) -> None:
    """Cells that are no numbers: of the wrong type where they are texts, missing unless a failed row's output."""
    without = absent.sum(axis=1).astype(np.float64) if weights is None else absent @ weights
    for row, column in enumerate(columns):
        position = first + row
        if column is not None and column.codes is not None:
            wrong = weight_of(weights, column.is_text() & absent[row])
            pane.wrong_type[position] += wrong
            without[row] -= wrong
        elif failed is not None and schema.numeric[position].role != "feature":
            without[row] -= weight_of(weights, failed)
    pane.missing[first : first + len(columns)] += without


def weight_of(weights: F64 | None, rows: Mask) -> float:
    """The weight of the selected rows; None stands for weights of 1."""
    return float(np.count_nonzero(rows)) if weights is None else float(weights[rows].sum())


def _excess(values: F64, index: I64, anchors: F64, weights: F64 | None, size: int) -> F64:
    """Σ weight · (x − anchor) of each bin; infinite cells add nothing and absurd ones no more than the limit."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = values - anchors.take(index)
        total = _binned(index, distance, weights, size)
        if np.abs(total).max(initial=0.0) < EXCESS_LIMIT:
            return total
    distance = np.where(np.isinf(values), 0.0, np.clip(distance, -EXCESS_LIMIT, EXCESS_LIMIT))
    return _binned(index, distance, weights, size)


def _binned(index: I64, amounts: F64, weights: F64 | None, size: int) -> F64:
    """Weighted amounts summed by bin, without the last one."""
    return np.bincount(index, amounts if weights is None else amounts * weights, size + 1)[:size].astype(np.float64)
