"""Fit trees that correct the calibrated probability by the features, if that makes estimates better on shifted rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.own.install import install
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.boosting import grown, lightgbm, used_inputs, with_steps
from collector_processor.reference.fits.tree_inputs import (
    MAX_CELLS,
    drawn_rows,
    input_ranges,
    read_inputs,
    read_trees,
    schema_inputs,
    written_inputs,
    written_trees,
)
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.estimates import calibrated
from collector_processor.statistics.fits.adaptive import (
    SUPPORT_TREES,
    THIN,
    AdaptiveTrees,
    cells_of,
    logit,
    probability,
)
from collector_processor.statistics.fits.inputs import Inputs
from collector_processor.statistics.fits.trees import Trees
from collector_processor.statistics.schema import Schema

LEAST_ROWS: Final = 2_000
"""Least labeled rows with a score."""
LEAST_OF_CLASS: Final = 100
"""Least of them with and without the positive class."""
QUARTERS: Final = 4
TREES: Final = 60
LEAVES: Final = 8
LEVELS: Final = 8
"""Parts of the calibrated log odds, of equally many rows, whose expected positives are made those of the rows."""
NEWTON_STEPS: Final = 20
LARGEST_STEP: Final = 3.0
"""Parts of one class only would move without end."""
MOST_ROWS: Final = 200_000
"""Of more rows, a part is drawn."""
PARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "num_leaves": LEAVES,
    "learning_rate": 0.15,
    "min_data_in_leaf": 100,
}
TILTS: Final = 40
"""Shifts of the held-out rows on which the estimates are compared."""
STEEPNESS: Final = (0.5, 1.5)
"""How much more likely a row is for one standard deviation of an input, as a logarithm: from the least to the most."""
MAX_LEAVES: Final = 1_289
"""The numbers of three leaves of that many fit into 31 bits."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Labeled rows: inputs ``[n, F]``, of which the last is the calibrated log odds, and weights.

    ``truth`` and ``predicted`` say whether it is the positive class.
    """

    matrix: F64
    truth: F64
    predicted: Mask
    weights: F64

    def take(self, rows: Any) -> _Sample:
        return _Sample(self.matrix[rows], self.truth[rows], self.predicted[rows], self.weights[rows])

    @property
    def log_odds(self) -> F64:
        return self.matrix[:, -1]


class AdaptiveFitter:
    """Sixty boosted trees of at most eight leaves on features and log odds, beginning with the calibrated probability.

    Rows that they were not grown on decide how many of the trees are kept, and whether any: the log loss, and the mean
    error of the expected true and false positives and negatives over 40 shifts, must be less than without trees.
    """

    name: ClassVar[str] = "adaptive"
    kind = AdaptiveTrees
    slow: ClassVar[bool] = True

    def fit(self, rows: FitRows) -> AdaptiveTrees | None:
        """Return the trees; None if the rows are too few, if they do not help, or without LightGBM."""
        schema, outcomes = rows.schema, rows.outcomes
        expected = calibrated(schema, rows.batch)
        if outcomes is None or outcomes.labels is None or outcomes.predicted is None or expected is None:
            return None
        slot = schema.classes.find(0, schema.positive_class)
        used = np.isfinite(expected) & known_classes(outcomes.labels) & known_classes(outcomes.predicted)
        used &= outcomes.weights > 0.0
        truth = (outcomes.labels == slot).astype(np.float64)
        of_class = int(truth[used].sum())
        if slot is None or not any(spec.role == "feature" for spec in schema.columns):
            return None
        if used.sum() < LEAST_ROWS or min(of_class, int(used.sum()) - of_class) < LEAST_OF_CLASS:
            rows.note(
                f"estimated performance does not look at features: that needs {LEAST_ROWS:,} labeled rows with a "
                f"score, {LEAST_OF_CLASS} of each class"
            )
            return None
        if lightgbm() is None:
            rows.note(
                "estimated performance does not look at features, so a shift of the population makes it less accurate: "
                f"LightGBM is not installed ({install('estimate')})"
            )
            return None
        inputs = schema_inputs(schema, rows.batch, THIN)
        drawn = drawn_rows(used, max(len(inputs.names) + 1, MAX_CELLS // MOST_ROWS))
        batch = rows.batch.take(drawn)
        sample = _Sample(
            inputs.matrix(batch, [logit(expected[drawn])]),
            truth[drawn],
            outcomes.predicted[drawn] == slot,
            outcomes.weights[drawn],
        )
        trees = boosted(sample, inputs)
        return None if trees is None else _fit(slot, inputs, sample, trees)

    def written(self, fit: AdaptiveTrees) -> Mapping[str, Json]:
        """Return inputs, trees and cells as lists of numbers."""
        return {
            "class": fit.slot,
            "inputs": {
                **written_inputs(fit.inputs),
                "low": [number(x) for x in fit.low.tolist()],
                "high": [number(x) for x in fit.high.tolist()],
                "unseen": [number(x) for x in fit.unseen.tolist()],
            },
            "trees": written_trees(fit.trees),
            "cells": fit.cells.tolist(),
            "rows": [number(x) for x in fit.rows.tolist()],
        }

    def read(self, node: Node, schema: Schema) -> AdaptiveTrees:
        """Return the trees that were written."""
        inputs = read_inputs(node["inputs"], schema)
        trees = read_trees(node["trees"], len(inputs.names) + 1)
        if len(trees.values) > MAX_LEAVES:
            node["trees"]["values"].fail(f"must have at most {MAX_LEAVES} leaves")
        cells, rows = node["cells"].integers(0, 2**31 - 1), node["rows"].numbers()
        if not len(cells) or (cells[1:] <= cells[:-1]).any() or len(rows) != len(cells):
            node["cells"].fail("must ascend, with as many rows")
        sizes = {"low": len(inputs.numeric), "high": len(inputs.numeric), "unseen": len(inputs.categorical)}
        low, high, unseen = (node["inputs"][name].vector((size,)) for name, size in sizes.items())
        slot = node["class"].integer(1, len(schema.classes) - 1)
        return AdaptiveTrees(slot, inputs, trees, low, high, unseen, cells, rows)


def boosted(sample: _Sample, inputs: Inputs) -> Trees | None:
    """Return the trees, grown on all rows, if those grown on three quarters are better on the fourth; else None.

    Each quarter is left out once, so that all rows decide.
    """
    rng = np.random.default_rng(len(sample.truth))
    quarter = rng.permutation(len(sample.truth)) % QUARTERS
    log_odds = np.empty((len(sample.truth), TREES + 1))
    grown_on = [_grown(sample.take(quarter != left_out), inputs, TREES) for left_out in range(QUARTERS)]
    for left_out, trees in enumerate(grown_on):
        log_odds[quarter == left_out] = _by_count(trees, sample.take(quarter == left_out))
    losses = [log_loss(sample, probability(column)) for column in log_odds.T]
    count = int(np.argmin(losses))
    if not count:
        return None
    found = log_odds[:, count]
    for left_out, trees in enumerate(grown_on):
        rest = sample.take(quarter != left_out)
        edges, steps = leveled(rest, _by_count(trees, rest)[:, count])
        found[quarter == left_out] += steps[np.searchsorted(edges, sample.log_odds[quarter == left_out])]
    before, after = probability(sample.log_odds), probability(found)
    shifts = list(tilted(sample, len(inputs.numeric), rng))
    if log_loss(sample, after) >= log_loss(sample, before):
        return None
    if tilted_error(sample, after, shifts) >= tilted_error(sample, before, shifts):
        return None
    trees = _grown(sample, inputs, count)
    edges, steps = leveled(sample, sample.log_odds + trees.sums(sample.matrix))
    return with_steps(trees, sample.matrix.shape[1] - 1, edges, steps)


def leveled(sample: _Sample, log_odds: F64) -> tuple[F64, F64]:
    """Return edges of the calibrated log odds, and what to add to ``log_odds`` ``[n]`` between them.

    Then the expected positives of each part are those of the sample. Boosting stops before: without this, the expected
    accuracy was half a point off on the very rows that the trees were grown on.
    """
    known = np.unique(sample.log_odds)
    place = np.unique(np.searchsorted(known, np.quantile(sample.log_odds, np.arange(1, LEVELS) / LEVELS)))
    place = place[place < len(known) - 1]
    edges = (known[place] + known[place + 1]) / 2.0
    part = np.searchsorted(edges, sample.log_odds)
    steps = np.zeros(len(edges) + 1)
    for _ in range(NEWTON_STEPS):
        p = probability(log_odds + steps[part])
        gap = np.bincount(part, sample.weights * (sample.truth - p), len(steps))
        slope = np.bincount(part, sample.weights * p * (1.0 - p), len(steps))
        steps += np.clip(np.divide(gap, slope, out=np.zeros_like(gap), where=slope > 0.0), -1.0, 1.0)
    return edges, np.clip(steps, -LARGEST_STEP, LARGEST_STEP)


def _grown(sample: _Sample, inputs: Inputs, count: int) -> Trees:
    """Return the trees that LightGBM grows."""
    coded = range(len(inputs.numeric), len(inputs.names))
    return grown(PARAMETERS, count, sample.matrix, sample.truth, sample.weights, coded, sample.log_odds)


def _by_count(trees: Trees, sample: _Sample) -> F64:
    """Return the log odds of each row without trees, with the first one, with two, …: ``[n, TREES + 1]``."""
    leaves = np.empty((len(sample.truth), len(trees.roots)), np.int32)
    trees.sums(sample.matrix, leaves)
    steps = np.zeros((len(sample.truth), TREES))  # LightGBM stops when no further split helps
    steps[:, : leaves.shape[1]] = trees.values[leaves]
    return sample.log_odds[:, None] + np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)


def log_loss(sample: _Sample, p: F64) -> float:
    """Return the mean log loss of probabilities."""
    right = np.clip(np.where(sample.truth > 0.0, p, 1.0 - p), 1e-15, 1.0)
    return -float(np.average(np.log(right), weights=sample.weights))


def tilted(sample: _Sample, numeric: int, rng: np.random.Generator) -> Iterator[F64]:
    """Yield weights of the rows under 40 shifts, each along one input: its rank, or a random number per category."""
    for _ in range(TILTS):
        place = int(rng.integers(sample.matrix.shape[1]))
        values = sample.matrix[:, place]
        is_number = place < numeric or place == sample.matrix.shape[1] - 1
        direction = _ranks(values) if is_number else rng.normal(size=int(values.max()) + 1)[values.astype(np.int64)]
        steepness = rng.uniform(*STEEPNESS) * rng.choice([-1.0, 1.0])
        yield sample.weights * np.exp(np.clip(steepness * direction, -6.0, 6.0))


def _ranks(values: F64) -> F64:
    """Return ranks of mean 0 and variance 1; missing values are in the middle."""
    order = np.argsort(np.nan_to_num(values, nan=float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0))
    ranks = np.empty(len(values))
    ranks[order] = np.linspace(-np.sqrt(3.0), np.sqrt(3.0), len(values))
    return ranks


def tilted_error(sample: _Sample, p: F64, tilts: Sequence[F64]) -> float:
    """Return the mean error of the expected shares of true and of false positives and negatives, over all shifts."""
    error = np.stack(((p - sample.truth) * sample.predicted, (p - sample.truth) * ~sample.predicted))
    return float(np.mean([np.abs(error @ weights).sum() / weights.sum() for weights in tilts]))


def _fit(slot: int, inputs: Inputs, sample: _Sample, trees: Trees) -> AdaptiveTrees:
    """Return the trees with the inputs that they look at, the log odds last, and the rows in each cell."""
    width = len(inputs.names)
    trees, looked_at = used_inputs(trees, always=width)
    kept = inputs.select(looked_at.tolist())
    matrix = sample.matrix[:, looked_at]
    leaves = np.empty((len(matrix), min(SUPPORT_TREES, len(trees.roots))), np.int32)
    trees.sums(matrix, leaves)
    cells, place = np.unique(cells_of(leaves, len(trees.values)), return_inverse=True)
    rows: F64 = np.bincount(place).astype(np.float64)
    low, high, unseen = input_ranges(kept, matrix, np.ones(len(matrix)))
    return AdaptiveTrees(slot, kept, trees, low, high, unseen, cells.astype(np.int32), rows)
