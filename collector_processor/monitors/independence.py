"""How many independent rows stand behind counted ones: rows may be sampled, or alike within a call."""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.detectors.dependence import alike_share, design_effect
from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import coarse
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.calls import SIZES, Calls
from collector_processor.statistics.schema import Schema

MANY_CALLS: Final = 0.5
"""Up to this part of the rows in one call, chance is read from the pane itself, so that drift is not dependence."""


def rows_per_weight(pane: Pane) -> float:
    """Return the rows seen per row counted: 1 without sampling, 0.1 if every row represents ten."""
    weighted, seen = pane.rows.tolist()
    return seen / weighted if weighted > 0 and seen > 0 else 1.0


def independent_rows(pane: Pane, schema: Schema, reference: Reference | None = None) -> F64:
    """Return the independent rows per row counted, for each column ``[C]``.

    ``schema`` is the pane's. Without a ``reference``, the pane is one.

    In a pane of few calls, rows that moved together look as rows that are alike do. But rows that are alike are so in
    every column, so there the least column counts, or what the calls of the reference showed if that is more.
    """
    calls = pane.further[Calls]
    if not calls.by_row.any():  # from an earlier version
        return np.full(len(schema.columns), rows_per_weight(pane))
    by_row, by_call = design_effect(calls.by_row, SIZES), design_effect(calls.by_call, SIZES)
    if by_call == by_row:
        return np.full(len(schema.columns), float(_exact(np.array(1.0 / by_row))))
    share = alike_share(calls.pairs, calls.alike, expected_alike(pane, schema, reference))
    if reference is not None and _within(calls) > MANY_CALLS:
        share = np.maximum(share[calls.pairs > 0.0].min(initial=1.0), reference.prepared(_dependence))
    return _exact(1.0 / (by_row + (by_call - by_row) * share))


def _within(calls: Calls) -> float:
    """Return the part of the rows that is in the call of a row, on average."""
    total = float(calls.by_call.sum())
    return design_effect(calls.by_call, SIZES) / total if total > 0.0 else 1.0


def _dependence(reference: Reference) -> F64:
    """Return how far the rows of a call depend on each other in a reference, ``[C]``; 0 where it does not show."""
    calls = reference.pane.further[Calls]
    if not calls.pairs.any() or _within(calls) > MANY_CALLS:
        return np.zeros(len(reference.schema.columns))
    return alike_share(calls.pairs, calls.alike, expected_alike(reference.pane, reference.schema))


def _exact(scale: F64) -> F64:
    """Return a scale of ten binary digits, rounded down: counts times it are exact, and shares stay what they were."""
    digits, power = np.frexp(scale)
    return np.ldexp(np.floor(digits * 1024.0) / 1024.0, power)


def expected_alike(pane: Pane, schema: Schema, reference: Reference | None = None) -> F64:
    """Return the share of pairs that chance alone puts into one cell, ``[C]``.

    Read from the pane, less what is alike within its calls. A pane of few calls does not show it: there it is that of
    the reference.
    """
    calls, found = pane.further[Calls], _collisions(pane, schema)
    within = _within(calls)
    if within > MANY_CALLS:
        return found if reference is None else reference.prepared(reference_alike)
    alike = np.divide(calls.alike, calls.pairs, out=found.copy(), where=calls.pairs > 0.0)
    return np.clip((found - within * alike) / (1.0 - within), 0.0, 1.0)


def reference_alike(reference: Reference) -> F64:
    """Return the same for a reference."""
    return expected_alike(reference.pane, reference.schema)


def _collisions(pane: Pane, schema: Schema) -> F64:
    """Return Σ share² over coarse bins or categories and the missing cell of each column, ``[C]``."""
    bins = np.maximum(coarse(pane.counts, schema.drift_edges), 0.0)
    counts = np.maximum(pane.category_counts, 0.0)
    used = np.flatnonzero(counts)
    owners = np.fromiter(map(schema.categories.owner, used.tolist()), np.int64, len(used))
    texts, squares = (np.bincount(owners, x[used], len(schema.categorical)) for x in (counts, counts**2))
    absent = np.maximum(pane.missing + pane.wrong_type, 0.0)
    cells = np.concatenate((bins.sum(axis=1), texts)) + absent
    squares = np.concatenate(((bins**2).sum(axis=1), squares)) + absent**2
    return squares / np.where(cells > 0.0, cells, 1.0) ** 2
