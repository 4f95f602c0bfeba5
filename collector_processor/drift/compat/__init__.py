"""Drift figures of other tools, with their bins, their formulas and their limits, one file a tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.drift.compat import evidently, nannyml
from collector_processor.drift.compat.sides import Figure, NumericSides

TOOLS: Final = ("nannyml", "evidently")
"""Values of ``drift.compat`` and of ``otel-ml reference build --compat``."""
_EDGES: Final[Mapping[str, Callable[[F64], Mapping[int, F64]]]] = {
    "nannyml": nannyml.edges,
    "evidently": evidently.edges,
}
_NUMERIC: Final[Mapping[str, Callable[[NumericSides], Iterator[Figure]]]] = {
    "nannyml": nannyml.numeric,
    "evidently": evidently.numeric,
}
_CATEGORICAL: Final[Mapping[str, Callable[[F64, F64], Iterator[Figure]]]] = {
    "nannyml": nannyml.categorical,
    "evidently": evidently.categorical,
}


def grids(tool: str, values: F64) -> Mapping[int, F64]:
    """Return the edges of the tool's bins by their number, ascending, for the finite values of one reference column.

    Bins are half-open except for the last, which has its upper edge. 0 instead of a number: each bin holds one value.
    Nothing for a column of which the tool's bins cannot be kept.

    >>> {bins: edges.tolist() for bins, edges in grids("nannyml", np.array([0.0, 1.0, 4.0])).items()}
    {4: [0.0, 1.0, 2.0, 3.0, 4.0]}
    """
    return _EDGES[tool](values) if len(values) else {}


def numeric_figures(tool: str, sides: NumericSides) -> Iterator[Figure]:
    """Return the tool's figures of one numeric column; those that bins cannot give are left out."""
    if sides.reference_rows > 0.0 and sides.current_rows > 0.0:
        yield from _NUMERIC[tool](sides)


def categorical_figures(tool: str, reference: F64, current: F64) -> Iterator[Figure]:
    """Return the tool's figures of one categorical column, from the counts ``[K]`` of its categories."""
    if reference.sum() > 0.0 and current.sum() > 0.0:
        yield from _CATEGORICAL[tool](np.maximum(reference, 0.0), np.maximum(current, 0.0))
