"""Find bins by arithmetic: a grid over each column's edges, several times faster than a search and just as exact."""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.bins import finite_edges

MAX_CELLS: Final = 8192
"""Maximum number of cells in one column's grid, so that its tables stay in the processor's cache."""
ALL_CELLS: Final = 2**21
"""Number of cells of all columns together, which bounds the memory of a model with very many features (6 MB)."""
MIN_CELLS: Final = 256
MAX_PASSES: Final = 3
"""Maximum number of edges of one cell that every value is compared with; a cell with more needs a search as well."""
_SEARCH_COST: Final = 40.0
"""Cost of searching for one value, in passes over one value."""
_RANGES: Final = ((0.0, 1.0), (0.02, 0.98), (0.0, 0.9), (0.1, 1.0), (0.1, 0.9))
"""Ranges of the edges that a grid may span, as shares: heavy tails are better left to its outer cells."""


class Guide:
    """The grids of all numeric columns of a schema, from its ``edges`` ``[F, E]``.

    A value's cell is ``int(clip((x − low) · scale))``. Rounded arithmetic is still monotone, so with the same formula
    applied to the edges, a value's bin lies between the number of edges in lower cells and that number plus those in
    the value's cell: comparing with these few edges gives exactly the result of a search among all edges.

    >>> guide = Guide(np.array([[0.0, 1.0, 4.0], [7.0, np.inf, np.inf]]))
    >>> guide.index(0, np.array([[-np.inf, 0.0, 3.9, 4.0], [np.nan, 6.9, 7.0, np.inf]])).tolist()
    [[0, 1, 2, 3], [4, 4, 5, 5]]
    """

    def __init__(self, edges: F64) -> None:
        columns, width = edges.shape
        self.bins = width + 1
        self.cells = max(MIN_CELLS, min(MAX_CELLS, ALL_CELLS // max(columns, 1)))
        sizes = [finite_edges(row) for row in edges]
        grids = [_best_grid(row[:size], self.cells) for row, size in zip(edges, sizes, strict=True)]
        self.low = np.array([grid.low for grid in grids]).reshape(-1, 1)
        """Where each column's grid begins, ``[F, 1]``."""
        self.scale = np.array([grid.scale for grid in grids]).reshape(-1, 1)
        """Cells per unit, ``[F, 1]``."""
        per_cell = np.array([grid.per_cell for grid in grids]).reshape(columns, self.cells)
        self.below = (np.cumsum(per_cell, axis=1) - per_cell).astype(np.int16).ravel()
        """Edges in lower cells, flat ``[F · cells]``."""
        self._passes = _passes(per_cell)
        remaining = np.maximum(per_cell - self._passes, 0).astype(np.int16).ravel()
        self._remaining = remaining if remaining.any() else None
        # No value is greater than NaN, not even infinity: the bin after the last finite edge is the last.
        padded = np.where(np.isfinite(edges), edges, np.nan)
        self.following = np.concatenate((padded, np.full((columns, 1), np.nan)), axis=1).ravel()
        """The edge above each bin, NaN if there is none, flat ``[F · (E + 1)]``."""
        anchors = np.concatenate((edges[:, :1], edges), axis=1)
        self.anchors = np.append(np.where(np.isfinite(anchors), anchors, 0.0), 0.0)
        """The point from which each bin's ``excess`` is measured, flat ``[F · (E + 1) + 1]``."""
        self.edgeless = np.array(sizes, np.int64) == 0
        """Which columns have no edges, bool ``[F]``."""

    def index(self, first: int, values: F64) -> I64:
        """Return the bin of each value of neighboring columns: ``values`` ``[k, n]`` belong to those from ``first`` on.

        Returns int64 ``[k, n]``: bin ``b`` of the ``j``-th of them is ``j · (E + 1) + b``, where ``b`` is that of
        :func:`.bin_index`. NaN gets any bin of its column.
        """
        columns = len(values)
        rank = np.arange(columns).reshape(-1, 1)
        with np.errstate(over="ignore"):
            place = values - self.low[first : first + columns]
            place *= self.scale[first : first + columns]
        np.fmax(place, 0.0, out=place)
        np.minimum(place, self.cells - 1.0, out=place)
        cell = place.astype(np.int64)
        cell += rank * self.cells
        index = self.below[first * self.cells :].take(cell).astype(np.int64)
        index += rank * self.bins
        following = self.following[first * self.bins :]
        for _ in range(self._passes):
            index += values >= following.take(index)
        if self._remaining is not None:
            _search(values.reshape(-1), following, self._remaining[first * self.cells :].take(cell), index.reshape(-1))
        return index


def _search(values: F64, following: F64, remaining: NDArray[np.int16], index: I64) -> None:
    """Advance ``index`` by bisection for values whose cell has edges ``remaining`` after the passes."""
    unsure = np.flatnonzero(remaining != 0)  # several times faster than np.flatnonzero(remaining)
    unsure = unsure[values.take(unsure) >= following.take(index.take(unsure))]  # these passed an edge in every pass
    wanted, low = values.take(unsure), index.take(unsure)
    count = remaining.reshape(-1).take(unsure).astype(np.int64)
    while count.any():
        half = count >> 1
        beyond = (wanted >= following.take(low + half)) & (count > 0)
        low += np.where(beyond, half + 1, 0)
        count = np.where(beyond, count - half - 1, half)
    index[unsure] = low


def _passes(per_cell: I64) -> int:
    """Return the number of passes that costs the least time, given the edges in each cell."""
    most = min(MAX_PASSES, int(per_cell.max(initial=0)))
    edges = max(1, int(per_cell.sum()))
    costs = [passes + _SEARCH_COST * per_cell[per_cell > passes].sum() / edges for passes in range(most + 1)]
    return int(np.argmin(costs))


class _Grid:
    """Equal cells over a range of the edges, and how many edges lie in each; the outer cells extend to infinity."""

    def __init__(self, edges: F64, cells: int, first: float, last: float) -> None:
        low, high = (float(edges[round(share * (len(edges) - 1))]) if len(edges) else 0.0 for share in (first, last))
        with np.errstate(over="ignore", divide="ignore"):
            scale = float(np.float64(cells) / (np.float64(high) - np.float64(low)))
            self.low, self.scale = low, scale if 0.0 < scale < np.inf else 1.0
            place = np.minimum(np.fmax((edges - self.low) * self.scale, 0.0), cells - 1.0)
        self.per_cell: NDArray[np.int64] = np.bincount(place.astype(np.int64), minlength=cells)
        self.searched = int(self.per_cell[self.per_cell > 1].sum())


def _best_grid(edges: F64, cells: int) -> _Grid:
    """Return the grid with the fewest edges that share a cell; for few edges, the full range."""
    ranges = _RANGES if len(edges) > 64 else _RANGES[:1]
    return min((_Grid(edges, cells, *part) for part in ranges), key=lambda grid: grid.searched)


_GUIDES: dict[int, tuple[weakref.ref[F64], Guide]] = {}


def guide_of(edges: F64) -> Guide:
    """Return the guide of a schema's ``edges``, which never change; forks of a schema share it.

    A guide lives exactly as long as its array, so there are never more guides than schemas.
    """
    known = _GUIDES.get(id(edges))
    if known is not None and known[0]() is edges:
        return known[1]
    guide = Guide(edges)
    key = id(edges)

    def forget(gone: weakref.ref[F64]) -> None:
        current = _GUIDES.get(key)
        if current is not None and current[0] is gone:  # the address may belong to another array by now
            del _GUIDES[key]

    _GUIDES[key] = (weakref.ref(edges, forget), guide)
    return guide
