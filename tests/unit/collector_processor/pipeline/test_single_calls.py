"""Alarms are slow for a model whose rows come in one call a pane: the log and the state say so."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.pipeline.single_calls import SingleCalls
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

KEY = ModelKey("m", "1")


def batch(sizes, weight=1.0):
    """Calls of these sizes, one after the other."""
    rows = sum(sizes)
    duration = np.full(rows, np.nan)
    duration[np.cumsum([0, *sizes[:-1]])] = 0.1
    random = np.random.default_rng(rows)
    return PredictionBatch(
        KEY, np.zeros(rows, np.int64), random.integers(0, 2**63, (rows, 2)).astype(np.uint64), np.full(rows, weight),
        duration, {"x": Column(random.normal(size=rows))},
    )  # fmt: skip


REFERENCE = build_reference("m", batch([1] * 2000))


def pane(sizes, weight=1.0):
    found = Pane.empty(REFERENCE.schema)
    if sizes:
        accumulate(found, REFERENCE.schema, batch(sizes, weight))
    return Window(KEY, 0, 60, REFERENCE.schema, found)


def said(*panes, watching=True, weight=1.0):
    watched = SingleCalls(watching)
    for sizes in panes:
        watched.see(pane(sizes, weight))
    return watched.text


@pytest.mark.parametrize("rows", [10, 500, 1000])
@pytest.mark.parametrize("weight", [1.0, 10.0])
def test_three_panes_of_one_call_each_are_said_with_the_line_to_add(rows, weight):
    text = said([rows], [rows], [rows], weight=weight)
    assert text.startswith(f"its rows come in one call a pane, {rows:,} in the newest: up to 1,000 rows")
    assert text.endswith("`alerts: {rules: {feature_drift: {}}}`")
    assert said([rows], [rows]) == ""


def test_stray_calls_and_small_panes_change_nothing():
    assert said([500, 1, 1], [500], [], [3], [400, 2])


@pytest.mark.parametrize("sizes", [[1] * 500, [250, 250], [1001], [5000], [9]])
def test_other_panes_say_nothing(sizes):
    assert said(sizes, sizes, sizes, sizes) == ""


def test_a_pane_of_several_calls_ends_it():
    assert said([500], [500], [500], [1] * 500) == ""


def test_without_alarms_there_is_nothing_to_say():
    assert said([500], [500], [500], watching=False) == ""
