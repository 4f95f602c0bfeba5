"""Build comparisons from vectors: prepare the reference's side once, and the window's side block by block.

Drift methods take a :class:`.drift.method.Comparison` of many columns at once. Blocks keep their arrays in the
processor's cache and, for categories, limit padding when one column has very many.

Counts are scaled to the independent rows behind them (:func:`.independence.independent_rows`). Sampled rows count with
their weight, so that shares are right; but the noise of a score depends on how many rows were really seen: a row of
weight 10 is one row, and ten equal rows of one call are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.drift.method import Comparison, Fine
from collector_processor.drift.wasserstein import bridge
from collector_processor.monitors.independence import independent_rows
from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import coarse, merge_light
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window

BLOCK = 128
"""Numeric columns compared at once: their fine bins take about 1 MB per vector."""


@dataclass(frozen=True, slots=True)
class Block:
    """The reference's side of a block of numeric columns, which does not change from window to window."""

    start: int
    stop: int
    edges: F64
    coarse: F64
    counts: F64
    excess: F64
    spread: F64
    bridge: F64


def scaled(values: F64, scale: F64) -> F64:
    """Return each row times its scale ``[F]``, without a copy if all are 1."""
    return values if (scale == 1.0).all() else values * scale[:, None]


def reference_blocks(reference: Reference) -> tuple[Block, ...]:
    """Return the numeric columns of a reference, at most :data:`BLOCK` at a time."""
    schema, pane = reference.schema, reference.pane
    independent = independent_rows(pane, schema)
    blocks: list[Block] = []
    for start in range(0, len(schema.numeric), BLOCK):
        part = slice(start, min(start + BLOCK, len(schema.numeric)))
        edges, scale = schema.edges[part], independent[part]
        counts, excess = scaled(pane.counts[part], scale), scaled(pane.excess[part], scale)
        blocks.append(
            Block(
                start=start,
                stop=start + len(edges),
                edges=edges,
                coarse=coarse(counts, schema.drift_edges[part]),
                counts=counts,
                excess=excess,
                spread=reference.spread[part],
                bridge=bridge(edges, counts, excess),
            )
        )
    return tuple(blocks)


def numeric_comparison(block: Block, window: Window, independent: F64) -> Comparison:
    """Return a block of the reference compared with the same columns of the window.

    ``independent`` ``[C]`` are the window's independent rows per row counted.

    Coarse bins are the reference's deciles; a few values outside its range are merged into the neighboring bin, so that
    one outlier does not count as drift (:func:`.bins.merge_light`).
    """
    part = slice(block.start, block.stop)
    scale = independent[part]
    counts, excess = scaled(window.pane.counts[part], scale), scaled(window.pane.excess[part], scale)
    reference, current = merge_light(block.coarse, coarse(counts, window.schema.drift_edges[part]))
    fine = Fine(block.edges, block.counts, counts, block.excess, excess, block.spread, block.bridge)
    return Comparison("numeric", reference, current, fine)


def categorical_comparisons(window: Window, reference: Reference, independent: F64) -> Iterator[tuple[I64, Comparison]]:
    """Yield categorical columns with similar numbers of categories: their positions ``[F]`` and their comparison.

    A comparison has the reference's categories and newer ones, including ``other``, in the window's slots. Columns
    share a block if their numbers of categories have the same power of two, so padding at most doubles the counts.
    """
    categories = window.schema.categories
    slots = [categories.column_slots(column) for column in range(len(categories.columns))]
    if not slots:
        return
    size = max(len(categories), 1 + max(int(of_column.max()) for of_column in slots))
    first = len(reference.schema.numeric)
    scales = reference.prepared(_independent_of_reference)[first:], independent[first:]
    sides = [np.append(grown(pane.category_counts, (size,)), 0.0) for pane in (reference.pane, window.pane)]
    magnitude = np.array([(len(of_column) - 1).bit_length() for of_column in slots])
    for group in np.unique(magnitude):
        columns = np.flatnonzero(magnitude == group)
        widest = max(len(slots[column]) for column in columns)
        table = np.full((len(columns), widest), size)
        for row, column in enumerate(columns):
            table[row, : len(slots[column])] = slots[column]
        reference_counts, current = (
            scaled(side[table], scale[columns]) for side, scale in zip(sides, scales, strict=True)
        )
        yield columns, Comparison("categorical", reference_counts, current)


def _independent_of_reference(reference: Reference) -> F64:
    return independent_rows(reference.pane, reference.schema)


def all_cells(pane: Pane, numbers: F64, texts: F64) -> F64:
    """Return all cells of each column, including missing ones, from its numbers ``[F]`` and :func:`text_cells`."""
    return np.concatenate((numbers, texts)) + pane.missing + pane.wrong_type


def text_cells(pane: Pane, categories: Categories, first_slot: int = 0) -> F64:
    """Count the texts of each categorical column, ``[columns]``, in the slots from ``first_slot`` on."""
    used = np.flatnonzero(pane.category_counts[first_slot:]) + first_slot
    owners = np.fromiter(map(categories.owner, used.tolist()), np.int64, len(used))
    return np.bincount(owners, pane.category_counts[used], len(categories.columns)).astype(np.float64, copy=False)
