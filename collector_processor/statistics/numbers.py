"""Add numeric columns to bins, compiled (:mod:`.sums`) or with numpy, in blocks that fit into the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, Mask
from collector_processor.statistics import built
from collector_processor.statistics.guide import Guide, guide_of
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

BLOCK_CELLS: Final = 32_768
BLOCK_COLUMNS: Final = 32
EXCESS_LIMIT: Final = 1e290
"""Largest distance that one cell adds to ``excess``, so that sums of absurd values stay finite."""


def add_numbers(
    pane: Pane,
    schema: Schema,
    columns: Sequence[Column | None],
    rows: int,
    weights: F64 | None,
    failed: Mask | None = None,
    first: int = 0,
) -> None:
    """Add ``rows`` cells of each of the numeric columns from position ``first`` on; None is missing in every row.

    ``weights`` None means a weight of 1 each. Rows that ``failed`` have no outputs: in columns other than features,
    their cells are neither counted nor missing.
    """
    values: list[F64 | None] = []
    for position, column in enumerate(columns, first):
        numbers = None if column is None or column.numbers is None else np.ascontiguousarray(column.numbers)
        if numbers is not None and failed is not None and schema.numeric[position].role != "feature":
            numbers = np.where(failed, np.nan, numbers)
        values.append(numbers)
    guide = guide_of(schema.edges)
    add = add_with_numpy if built.sums is None else built.sums.add_numbers
    absent = add(values, weights, rows, max(1, min(rows, BLOCK_CELLS)), first, guide, pane.counts, pane.excess)
    for row, column in enumerate(columns):
        position = first + row
        if column is not None and column.codes is not None:
            numbers = values[row]
            wrong = weight_of(weights, column.is_text() if numbers is None else column.is_text() & np.isnan(numbers))
            pane.wrong_type[position] += wrong
            absent[row] -= wrong
        elif failed is not None and schema.numeric[position].role != "feature":
            absent[row] -= weight_of(weights, failed)
    pane.missing[first : first + len(columns)] += absent


def add_with_numpy(
    columns: Sequence[F64 | None],
    weights: F64 | None,
    rows: int,
    height: int,
    first: int,
    guide: Guide,
    counts: F64,
    excess: F64,
) -> F64:
    """Do what :func:`.sums.add_numbers` does, to the last digit, if that is not built."""
    width = max(1, min(BLOCK_COLUMNS, BLOCK_CELLS // height))
    for start in range(0, rows, height):
        part = slice(start, min(start + height, rows))
        part_weights = None if weights is None else weights[part]
        for left in range(0, len(columns), width):
            values = np.full((len(columns[left : left + width]), part.stop - start), np.nan)
            for row, column in enumerate(columns[left : left + width]):
                if column is not None:
                    values[row] = column[part]
            block = slice(first + left, first + left + len(values))
            _add_block(values, part_weights, guide, block, counts, excess)
    return np.array([_absent(column, weights, rows) for column in columns])


def _absent(column: F64 | None, weights: F64 | None, rows: int) -> float:
    """Return the weighted count of cells that are not numbers, added one after the other."""
    if column is None:
        return float(rows) if weights is None else float(np.bincount(np.zeros(rows, np.int8), weights, 1)[0])
    absent = np.isnan(column)
    if weights is None or not absent.any():
        return float(np.count_nonzero(absent))
    return float(np.bincount(absent, weights, 2)[1])


def _add_block(values: F64, weights: F64 | None, guide: Guide, block: slice, counts: F64, excess: F64) -> None:
    """Add the counts and excess of the cells ``[k, n]`` of neighboring columns that are numbers."""
    index = guide.index(block.start, values)
    size = len(values) * guide.bins
    absent = np.isnan(values)
    if absent.any():
        index[absent] = size  # an extra bin, which is discarded
    flat = index.ravel()
    flat_weights = None if weights is None else np.broadcast_to(weights, values.shape).ravel()
    counts[block] += np.bincount(flat, flat_weights, size + 1)[:size].reshape(len(values), guide.bins)
    total = _excess(values.ravel(), flat, guide.anchors[block.start * guide.bins :], flat_weights, size)
    total = total.reshape(len(values), guide.bins)
    if guide.edgeless[block].any():
        total[guide.edgeless[block]] = 0.0
    excess[block] += total


def weight_of(weights: F64 | None, rows: Mask) -> float:
    """Return the weight of the selected rows; ``weights`` None means a weight of 1 each."""
    return float(np.count_nonzero(rows)) if weights is None else float(weights[rows].sum())


def _excess(values: F64, index: I64, anchors: F64, weights: F64 | None, size: int) -> F64:
    """Return Σ weight · (x − anchor) of each bin; infinite cells add nothing, and absurd ones at most the limit."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = values - anchors.take(index)
        total = _binned(index, distance, weights, size)
        if np.abs(total).max(initial=0.0) < EXCESS_LIMIT:
            return total
    distance = np.where(np.isinf(values), 0.0, np.clip(distance, -EXCESS_LIMIT, EXCESS_LIMIT))
    return _binned(index, distance, weights, size)


def _binned(index: I64, amounts: F64, weights: F64 | None, size: int) -> F64:
    """Return weighted amounts summed by bin, without the last bin."""
    return np.bincount(index, amounts if weights is None else amounts * weights, size + 1)[:size].astype(np.float64)
