"""Add terms of rows to the sums of everything and of each row's segments, compiled (:mod:`.terms`) or with numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.statistics import built


def add_terms(sums: F64, groups: I32, terms: Sequence[F64], cells: I64 | None = None) -> None:
    """Add each of ``T`` terms ``[n]`` to everything and to each row's segments: ``sums`` is ``[G, C, T]``.

    ``cells`` ``[n]`` are those of the rows, from 0 to ``C`` − 1; None is cell 0. ``groups`` ``[n, s]`` are rows of the
    grouped vectors, −1 where missing.

    >>> sums = np.zeros((3, 2, 1))
    >>> add_terms(sums, np.array([[1], [2], [-1]], np.int32), [np.array([1.0, 2.0, 4.0])], np.array([0, 1, 1]))
    >>> sums[:, :, 0].tolist()
    [[1.0, 6.0], [1.0, 0.0], [0.0, 2.0]]
    """
    if cells is None:  # one sum is faster than its terms one after the other
        sums[0, 0] += [values.sum() for values in terms]
    if cells is not None or groups.shape[1]:
        _add(sums, groups, terms, cells, cells is not None)


def add_segments(sums: F64, groups: I32, terms: Sequence[F64], cells: I64) -> None:
    """Add terms to each row's segments only."""
    _add(sums, groups, terms, cells, False)


def _add(sums: F64, groups: I32, terms: Sequence[F64], cells: I64 | None, everything: bool) -> None:
    add = add_with_numpy if built.terms is None else built.terms.add_terms
    add(sums, groups, [np.ascontiguousarray(values) for values in terms], cells, everything)


def add_with_numpy(sums: F64, groups: I32, terms: Sequence[F64], cells: I64 | None, everything: bool) -> None:
    """Do what :func:`.terms.add_terms` does if that is not built."""
    cells = np.zeros(len(groups), np.int64) if cells is None else cells
    if everything:
        for term, values in enumerate(terms):
            sums[0, :, term] += np.bincount(cells, values, sums.shape[1])
    for group in groups.T:
        member = np.flatnonzero(group > 0)
        at = group[member].astype(np.int64), cells[member]
        for term, values in enumerate(terms):
            np.add.at(sums[:, :, term], at, values[member])
