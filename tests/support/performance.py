"""Schemas, outcomes and panes from which tests of performance are made."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import ModelKey
from collector_processor.statistics.bins import fine_edges
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema

MODEL = ModelKey("fraud", "7")


def schema_of(task, *, classes=("no", "yes"), positive="yes", numeric=(), segments=()):
    """A schema whose numeric columns (spec, reference values) have the reference's fine bins."""
    bins = [fine_edges(np.asarray(values, float), half=False) for _, values in numeric]
    width = max([1, *(len(found.edges) for found in bins)])
    edges = np.full((len(bins), width), np.inf)
    for row, found in enumerate(bins):
        edges[row, : len(found.edges)] = found.edges
    return Schema(
        task=task,
        positive_class=positive,
        numeric=tuple(ColumnSpec(role, role) for role, _ in numeric),
        edges=edges,
        drift_edges=np.zeros((len(bins), 1), np.int32),
        low=np.array([found.low for found in bins]),
        high=np.array([found.high for found in bins]),
        categorical=(),
        categories=Categories([], 100),
        classes=Categories.from_pairs(("class",), 100, [(0, name) for name in classes]),
        groups=Categories(segments, 50),
        unit="min",
    )


def outcomes_of(
    *, labels=None, predicted=None, label_values=None, predicted_values=None, scores=None,
    label_probability=None, weights=None, groups=None,
):  # fmt: skip
    rows = len(labels if labels is not None else label_values)

    def or_nan(values):
        return np.full(rows, np.nan) if values is None else np.asarray(values, float)

    return OutcomeBatch(
        time_ns=np.zeros(rows, np.int64),
        weights=np.ones(rows) if weights is None else weights,
        scores=or_nan(scores),
        label_probability=or_nan(label_probability),
        groups=np.empty((rows, 0), np.int32) if groups is None else groups,
        delay_s=np.full(rows, 60.0),
        labels=None if labels is None else np.asarray(labels, np.int32),
        label_values=label_values,
        predicted=None if predicted is None else np.asarray(predicted, np.int32),
        predicted_values=predicted_values,
    )


def pane_of(schema, *batches):
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate_outcomes(pane, schema, batch)
    return pane


def binary_rows(seed, rows, rate, concentrated=False):
    """Labels, scores and decisions of a model with some skill; classes "no" and "yes" have slots 1 and 2."""
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < rate
    logit = rng.normal(np.where(truth, 2.0, -2.0) + np.log(rate / (1 - rate)), 2.0)
    scores = 1 / (1 + np.exp(-logit))
    if concentrated:
        scores = np.where(rng.random(rows) < 0.97, 0.01, scores)
    return truth, scores, scores >= 0.5
