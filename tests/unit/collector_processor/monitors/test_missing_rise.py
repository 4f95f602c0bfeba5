"""How much more often a feature is missing than in the reference, at least."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.alerts.rules import DEFAULT_RULES
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.missing_rise import MissingRiseMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("m")
RULE = next(rule for rule in DEFAULT_RULES if rule.name == "missing_rise")


def batch(rows: int, missing: float, seed: int) -> PredictionBatch:
    random = np.random.default_rng(seed)
    number = random.normal(size=rows)
    number[random.random(rows) < missing] = np.nan
    kind = np.where(random.random(rows) < missing, -1, random.integers(0, 3, rows)).astype(np.int32)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        features={"number": Column(number), "kind": Column(None, kind, ("a", "b", "c"))},
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_reference("m", batch(20_000, 0.0001, 0))


def fired(reference: Reference, *batches: PredictionBatch) -> list[str]:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for each in batches:
        accumulate(pane, schema, each)
    found = MissingRiseMonitor().evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    return [dict(item.attributes)[semconv.FEATURE_NAME] for item in found if RULE.breached(item.value)]


@pytest.mark.parametrize("rows", [2000, 20_000])
def test_a_rise_from_a_hundredth_of_a_percent_to_one_percent_is_an_alert(reference, rows):
    assert sorted(fired(reference, batch(rows, 0.01, 1))) == ["kind", "number"]


@pytest.mark.parametrize("rows", [1, 50, 500, 5000])
def test_the_same_share_is_no_alert(reference, rows):
    assert [fired(reference, batch(rows, 0.0001, seed)) for seed in range(1, 60)] == [[]] * 59


def test_a_few_missing_cells_are_no_alert(reference):
    """One row in a hundred: it may be chance, and it is no tenth of a percent in a large window."""
    assert fired(reference, batch(99, 0.0, 1), batch(1, 1.0, 2)) == []
    assert fired(reference, batch(100_000, 0.0005, 1)) == []


def test_a_window_without_rows_has_no_figure(reference):
    schema = reference.schema.fork()
    assert MissingRiseMonitor().evaluate(Window(MODEL, 0, 60, schema, Pane.empty(schema)), reference) == []
