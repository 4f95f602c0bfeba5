"""The figures of other tools, from the panes of a reference and of a window or chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.drift.compat import TOOLS, categorical_figures, grids, numeric_figures
from collector_processor.drift.compat.sides import Figure, NumericSides
from collector_processor.drift.method import Fine
from collector_processor.reference.columns import Source
from collector_processor.statistics.compat import Compat
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


def asked_grids(tool: str, sources: Sequence[Source], weights: F64) -> Compat | None:
    """Return the tool's bins of each numeric column, without limits yet; None without a tool."""
    if not tool:
        return None
    if tool not in TOOLS:
        raise ValueError(f"compat is '{tool}'; allowed: {', '.join(TOOLS)}")
    if (weights != 1.0).any():
        raise ValueError(f"compat '{tool}' needs rows without weights, because {tool} has none")
    values = [source.numbers(weights)[0] for source in sources]
    found = [grids(tool, of_column[np.isfinite(of_column)]) for of_column in values]
    return Compat(tool, {position: of_column for position, of_column in enumerate(found) if of_column})


def _placed(schema: Schema, position: int, grid: F64) -> I64:
    """Return the positions of a tool's edges among all edges of a column.

    Its first edge is the minimum, for which the edge below the minimum stands. Its last bin has its upper edge, the
    maximum, so the edge above the maximum stands for that.
    """
    edges = schema.edges[position]
    ends = np.searchsorted(edges, [schema.low[position], schema.high[position]], "right") - np.array([1, 0])
    return np.concatenate((ends[:1], np.searchsorted(edges, grid[1:-1]), ends[1:])).astype(np.int64)


def compat_figures(
    compat: Compat,
    spread: F64,
    reference: tuple[Schema, Pane, float],
    current: tuple[Schema, Pane, float],
) -> Iterator[tuple[int, Figure]]:
    """Return the tool's figures of every column with its position; a side is its schema, its pane, and the rows seen
    per row counted.
    """
    schema, before, before_scale = reference
    current_schema, now, now_scale = current
    for position in range(len(schema.numeric)):
        row = slice(position, position + 1)
        fine = Fine(
            schema.edges[row],
            before.counts[row] * before_scale,
            now.counts[row] * now_scale,
            before.excess[row] * before_scale,
            now.excess[row] * now_scale,
            spread[row],
        )
        placed = {bins: _placed(schema, position, grid) for bins, grid in compat.grids.get(position, {}).items()}
        for figure in numeric_figures(compat.tool, NumericSides(fine, placed)):
            yield position, figure
    categories = current_schema.categories
    size = (max(len(categories), len(before.category_counts), len(now.category_counts)),)
    sides = [grown(before.category_counts, size) * before_scale, grown(now.category_counts, size) * now_scale]
    for column in range(len(schema.categorical)):
        slots = categories.column_slots(column)
        for figure in categorical_figures(compat.tool, sides[0][slots], sides[1][slots]):
            yield len(schema.numeric) + column, figure
