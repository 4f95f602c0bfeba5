"""A column with more categories than the limit is in breach when it drifts, and not because of how they were chosen."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

METHODS = ("psi", "js", "hellinger", "l_infinity", "tvd", "chi2")
NAMES = tuple(f"c{number}" for number in range(50_000))
SHARES = {
    "even": np.full(3000, 1 / 3000),
    "ids": np.full(50_000, 1 / 50_000),
    "zipf": (1 / np.arange(1, 20_001)) / (1 / np.arange(1, 20_001)).sum(),
}


def batch(shares: F64, rows: int, seed: int) -> PredictionBatch:
    codes = np.random.default_rng(seed).choice(len(shares), rows, p=shares).astype(np.int32)
    return PredictionBatch(
        ModelKey("m"),
        np.zeros(rows, np.int64),
        np.zeros((rows, 2), np.uint64),
        np.ones(rows),
        np.full(rows, np.nan),
        {"city": Column(None, codes, NAMES[: len(shares)])},
    )


def breaches(reference_shares: F64, shares: F64, seed: int) -> dict[str, float]:
    reference = build_reference("m", batch(reference_shares, 20_000, seed))
    reference = parse_reference(reference_text(reference), "saved")
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch(shares, 5000, seed + 1000))
    monitor = DriftMonitor(DriftSettings(categorical=METHODS), LeastRows())
    found = monitor.evaluate(Window(ModelKey("m"), 0, 1, schema, pane), reference)
    return {
        str(dict(each.attributes)[semconv.DRIFT_METHOD]): each.value
        for each in found
        if each.name == semconv.DRIFT_BREACHED
    }


@pytest.mark.parametrize("name", SHARES)
def test_many_categories_without_drift_are_not_in_breach(name: str) -> None:
    found = [breaches(SHARES[name], SHARES[name], seed) for seed in range(12)]
    assert {method: sum(each[method] for each in found) for method in METHODS} == dict.fromkeys(METHODS, 0.0)


def test_many_categories_that_drift_are_in_breach() -> None:
    drifted = 0.7 * SHARES["zipf"]
    drifted[5] += 0.3
    assert breaches(SHARES["zipf"], drifted, 0) == dict.fromkeys(METHODS, 1.0)
