"""Fit how wrong a regression's predictions are expected to be, from features and prediction: NannyML's DLE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.own.install import install
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.boosting import grown, lightgbm
from collector_processor.reference.fits.tree_inputs import (
    drawn_rows,
    read_inputs,
    read_trees,
    schema_inputs,
    written_inputs,
    written_trees,
)
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.fits.trees import Trees
from collector_processor.statistics.labeled import zero_reach
from collector_processor.statistics.schema import Schema

LEAST_ROWS: Final = 1_000
"""Least rows with a prediction and a label."""
TREES: Final = 100
COMMON: Final = 0.999
"""Share of the reference's expected errors that are below the scale of all."""
LOSS_LIMIT: Final = 1e30
"""Rows with a greater loss are left out: LightGBM computes with float32."""
PARAMETERS: Final[Mapping[str, Any]] = {"objective": "regression"}
"""LightGBM's defaults are those of ``LGBMRegressor()``: 31 leaves, learning rate 0.1, 20 rows in a leaf."""


class LossFitter:
    """One LightGBM regression for each loss, with its defaults, on features and prediction.

    The absolute and the squared loss are of all rows; the relative one of those whose label is not 0, as in
    ``ml.performance.mape``; that of logarithms only if no label and no prediction is negative.
    """

    name: ClassVar[str] = "losses"
    kind = LossTrees
    slow: ClassVar[bool] = True

    def fit(self, rows: FitRows) -> LossTrees | None:
        """Return the trees; None for another task, with too few rows, or without LightGBM."""
        outcomes = rows.outcomes
        if rows.schema.task != "regression" or outcomes is None or rows.batch.value is None:
            return None
        y, predicted = outcomes.label_values, outcomes.predicted_values
        if y is None or predicted is None:
            return None
        used = np.isfinite(y) & np.isfinite(predicted) & (outcomes.weights > 0.0)
        if used.sum() < LEAST_ROWS:
            rows.note(f"no errors are estimated: that needs {LEAST_ROWS:,} rows with a label")
            return None
        if lightgbm() is None:
            rows.note(f"no errors are estimated: LightGBM is not installed ({install('estimate')})")
            return None
        inputs = schema_inputs(rows.schema, rows.batch, 1.0)
        drawn = drawn_rows(used, len(inputs.names) + 1)
        matrix = inputs.matrix(rows.batch.take(drawn), [predicted[drawn]])
        weights = outcomes.weights[drawn]
        coded = range(len(inputs.numeric), len(inputs.names))
        trees: dict[str, Trees] = {}
        for name, loss in _losses(y[drawn], predicted[drawn], zero_reach(rows.schema)):
            kept = loss <= LOSS_LIMIT
            if kept.sum() < LEAST_ROWS:
                continue
            trees[name] = grown(PARAMETERS, TREES, matrix[kept], loss[kept], weights[kept], coded)
        if "absolute" not in trees:
            return None
        scale = float(np.quantile(np.maximum(trees["absolute"].sums(matrix), 0.0), COMMON))
        return LossTrees(scale, inputs, trees)

    def written(self, fit: LossTrees) -> Mapping[str, Json]:
        """Return inputs and trees as lists of numbers."""
        trees = {name: written_trees(trees) for name, trees in fit.trees.items()}
        return {"scale": number(fit.scale), "inputs": written_inputs(fit.inputs), "trees": trees}

    def read(self, node: Node, schema: Schema) -> LossTrees:
        """Return the trees that were written."""
        inputs = read_inputs(node["inputs"], schema)
        trees: dict[str, Trees] = {}
        for name, item in node["trees"].items():
            if name not in LOSSES:
                item.fail(f"is not a loss; there are: {', '.join(LOSSES)}")
            trees[name] = read_trees(item, len(inputs.names) + 1)
        if "absolute" not in trees:
            node["trees"].fail("has no 'absolute'")
        return LossTrees(max(node["scale"].real(), 0.0), inputs, trees)


def _losses(y: F64, predicted: F64, zero: float) -> Iterator[tuple[str, F64]]:
    """Yield each loss of every row, NaN where it has none."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.abs(y - predicted)
        yield "absolute", error
        yield "squared", error**2
        yield "relative", np.where(np.abs(y) <= zero, np.nan, error / np.abs(y))
        if min(y.min(), predicted.min()) >= 0.0:
            yield "squared_log", (np.log1p(y) - np.log1p(predicted)) ** 2
