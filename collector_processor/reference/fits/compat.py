"""The limits of another tool: mean + 3 standard deviations of its figures over chunks of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.drift.compat import TOOLS
from collector_processor.reference.compat import compat_figures
from collector_processor.reference.document import Json, Node
from collector_processor.reference.fits.base import FitRows
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.compat import Compat
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

CHUNKS: Final = 10
SIGMAS: Final = 3.0
_UPPER: Final[Mapping[str, float]] = {"kolmogorov_smirnov": 1.0}
"""Figures whose upper limit is capped."""
MAX_BINS: Final = 4096


class CompatFitter:
    """Find the limits of the tool whose bins the schema already has; Evidently's are constants."""

    name: ClassVar[str] = "compat"
    kind: type[Compat] = Compat
    slow: ClassVar[bool] = True

    def fit(self, rows: FitRows) -> Compat | None:
        """Return the bins with their limits; None unless a tool was asked for."""
        compat = rows.schema.fit(Compat)
        if compat is None or compat.tool != "nannyml":
            return compat
        chunks = list(_chunks(rows))
        whole = Pane.empty(rows.schema)
        for chunk in chunks:
            whole.add(chunk)
        values: dict[tuple[int, str], list[float]] = {}
        spread = np.ones(len(rows.schema.numeric))
        for chunk in chunks:
            sides = (rows.schema, whole, 1.0), (rows.schema, chunk, 1.0)
            for position, figure in compat_figures(compat, spread, *sides):
                if figure.breached is None:
                    values.setdefault((position, figure.method), []).append(figure.value)
        limits: dict[int, dict[str, float]] = {}
        for (position, method), found in values.items():
            limits.setdefault(position, {})[method] = _limit(np.array(found), _UPPER.get(method, np.inf))
        return replace(compat, limits=limits)

    def written(self, fit: Compat) -> Mapping[str, Json]:
        """Return the part of the profile."""
        columns: dict[str, Json] = {}
        for position in sorted({*fit.grids, *fit.limits}):
            grids, limits = fit.grids.get(position, {}), fit.limits.get(position, {})
            columns[str(position)] = {
                "bins": {str(bins): edges.tolist() for bins, edges in grids.items()},
                "limits": dict(limits),
            }
        return {"tool": fit.tool, "columns": columns}

    def read(self, node: Node, schema: Schema) -> Compat:
        """Return the part of a profile."""
        tool = node["tool"].text()
        if tool not in TOOLS:
            node["tool"].fail(f"is '{tool}'; allowed: {', '.join(TOOLS)}")
        grids, limits = dict[int, Mapping[int, F64]](), dict[int, Mapping[str, float]]()
        for key, column in node["columns"].items():
            position = _number(column, key, len(schema.columns) - 1)
            limits[position] = {method: item.real() for method, item in column["limits"].items()}
            if position < len(schema.numeric):
                own = schema.edges[position]
                grids[position] = {
                    _number(item, bins, MAX_BINS): _known(item, own) for bins, item in column["bins"].items()
                }
        return Compat(tool, grids, limits)


def _chunks(rows: FitRows) -> Iterator[Pane]:
    """Yield ten parts of the rows, one after another, and what is left as a further one."""
    size = max(len(rows.batch) // CHUNKS, 1)
    for start in range(0, len(rows.batch), size):
        part, pane = slice(start, start + size), Pane.empty(rows.schema)
        accumulate(pane, rows.schema, rows.batch.take(part))
        if rows.outcomes is not None:
            accumulate_outcomes(pane, rows.schema, rows.outcomes.take(part))
        yield pane


def _limit(values: F64, most: float) -> float:
    """Return mean + 3σ (ddof 0), at most ``most``.

    >>> round(_limit(np.array([0.0, 0.2]), np.inf), 9)
    0.4
    """
    return min(float(values.mean()) + SIGMAS * float(values.std()), most)


def _number(node: Node, text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:
        node.fail(f"must have a name from 0 to {most}")
    return int(text)


def _known(node: Node, own: F64) -> F64:
    """Return edges, which must ascend and, except for the outer ones, be among those of the column."""
    edges = node.numbers()
    if len(edges) < 2 or not (np.diff(edges) >= 0.0).all() or not np.isin(edges[1:-1], own).all():
        node.fail("must be two edges or more that ascend, the inner ones among those of the column")
    return edges
