"""Fit the cells by which a change of performance is split: where the model is wrong more or less often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.cart import cuts_of, regression_tree
from collector_processor.reference.fits.pair_scores import spread
from collector_processor.reference.fits.tree_inputs import (
    input_ranges,
    read_inputs,
    read_trees,
    schema_inputs,
    written_inputs,
    written_trees,
)
from collector_processor.statistics.fits.cause_cells import LEAVES, RANGES, THIN, CauseCells, ranked
from collector_processor.statistics.fits.trees import Trees
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.parts.cause_sums import row_losses
from collector_processor.statistics.schema import Schema

LEAST_ROWS: Final = 200
LEAST_OF_LEAF: Final = 50.0
SHARE_OF_LEAF: Final = 0.01
MOST_INPUTS: Final = 8
"""Features that every prediction is looked at by: each costs about a hundredth of what counting a row does."""
_LOOKED_AT: Final = 20_000
_HUGE: Final = float(np.finfo(np.float64).max)
_COMMON: Final = 0.99
"""Quantile of a regression's absolute error above which errors count as that one: a few must not decide the tree."""


class CauseCellsFitter:
    """Cut the rows by score into tenths, then by a tree of at most 24 leaves that explains the rest of the errors.

    Without labels, the tree explains the score or the value that was predicted.
    """

    name: ClassVar[str] = "cause_cells"
    kind: type[CauseCells] = CauseCells
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> CauseCells | None:
        """Return the cells; None for few rows, or if all of them would be in one cell."""
        schema = rows.schema
        batch = spread(rows.batch, _LOOKED_AT)
        if not schema.task or len(batch) < LEAST_ROWS:
            return None
        scores = ranked(schema, batch)
        known = np.zeros(0) if scores is None else scores[np.isfinite(scores)]
        cuts = cuts_of(known, RANGES)
        target = _target(rows, scores, cuts, len(batch))
        used = (np.abs(target) <= VALUE_LIMIT) & (batch.weights > 0.0)
        inputs = schema_inputs(schema, batch, THIN)
        matrix = inputs.matrix(batch)
        trees = Trees.of([-1], [], [], [], [], [], [0.0])
        if used.sum() >= LEAST_ROWS and inputs.names:
            least = max(LEAST_OF_LEAF, SHARE_OF_LEAF * float(used.sum()))
            trees = regression_tree(matrix[used], len(inputs.numeric), target[used], batch.weights[used], LEAVES, least)
        if len(trees.values) == 1 and not len(cuts):
            return None
        looked_at = np.unique(trees.feature)
        others = np.setdiff1d(np.arange(len(inputs.names)), looked_at)[: max(MOST_INPUTS - len(looked_at), 0)]
        kept = np.sort(np.append(looked_at, others)).astype(np.int64)
        trees = replace(trees, feature=np.searchsorted(kept, trees.feature).astype(np.int32))
        inputs = inputs.select(kept.tolist())
        # Rows beyond the range are those beyond that of all reference rows, not of those that were looked at.
        everything = matrix[:, kept] if batch is rows.batch else inputs.matrix(rows.batch)
        low, high, unseen = input_ranges(inputs, everything, np.ones(len(everything)))
        low, high = (np.clip(end, -_HUGE, _HUGE) for end in (low, high))  # a profile has finite numbers only
        return CauseCells(inputs, trees, low, high, unseen, cuts)

    def written(self, fit: CauseCells) -> Mapping[str, Json]:
        """Return inputs, tree and cuts as lists of numbers."""
        return {
            "inputs": {
                **written_inputs(fit.inputs),
                "low": [number(x) for x in fit.low.tolist()],
                "high": [number(x) for x in fit.high.tolist()],
                "unseen": [number(x) for x in fit.unseen.tolist()],
            },
            "tree": written_trees(fit.trees),
            "cuts": [number(x) for x in fit.cuts.tolist()],
        }

    def read(self, node: Node, schema: Schema) -> CauseCells:
        """Return the cells that were written."""
        inputs = read_inputs(node["inputs"], schema)
        trees = read_trees(node["tree"], len(inputs.names))
        if len(trees.roots) != 1 or not 0 < len(trees.values) <= LEAVES:
            node["tree"].fail(f"must be one tree with 1 to {LEAVES} leaves")
        cuts = node["cuts"].numbers()
        if len(cuts) >= RANGES or (np.diff(cuts) <= 0.0).any():
            node["cuts"].fail(f"must be at most {RANGES - 1} ascending numbers")
        sizes = {"low": len(inputs.numeric), "high": len(inputs.numeric), "unseen": len(inputs.categorical)}
        low, high, unseen = (node["inputs"][name].vector((size,)) for name, size in sizes.items())
        return CauseCells(inputs, trees, low, high, unseen, cuts)


def _target(rows: FitRows, scores: F64 | None, cuts: F64, count: int) -> F64:
    """Return what the tree explains of each row that is looked at, ``[n]``."""
    step = -(-len(rows.batch) // _LOOKED_AT)
    if rows.outcomes is None:
        return np.full(count, np.nan) if scores is None else np.where(np.isfinite(scores), scores, np.nan)
    loss = row_losses(rows.schema, rows.outcomes.take(slice(None, None, step)))
    known = loss <= VALUE_LIMIT
    if not known.any():
        return loss
    if rows.schema.task == "regression":
        loss = np.minimum(loss, np.quantile(loss[known], _COMMON))
    place = np.zeros(count, np.int64)
    if scores is not None:
        place = np.where(np.isnan(scores), len(cuts) + 1, np.searchsorted(cuts, scores, side="right"))
    counts = np.bincount(place[known], minlength=len(cuts) + 2)
    means = np.bincount(place[known], loss[known], len(cuts) + 2) / np.maximum(counts, 1)
    return loss - means[place]
