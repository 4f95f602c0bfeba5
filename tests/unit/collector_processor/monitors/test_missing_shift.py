"""Rules of the test for shifts of missing shares: river's alarms, joined panes, alarms that start again."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.missing_shift import (
    MissingShiftMonitor,
    MissingShiftSettings,
    MissingShiftState,
    page_hinkley,
)
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("fraud", "7")


def begin(config: MissingShiftSettings, columns: int) -> MissingShiftState:
    reference: Any = SimpleNamespace(schema=SimpleNamespace(columns=range(columns)))
    return MissingShiftMonitor(config).begin(reference)


def alarms(shares: Sequence[float], **config: float) -> list[int]:
    """Positions of the alarms of one column."""
    chosen = MissingShiftSettings(**config)
    state, found = begin(chosen, 1), []
    for position, share in enumerate(shares):
        state, evidence = page_hinkley(chosen, state, np.array([share]), np.array([True]))
        if abs(evidence[0]) > 1.0:
            found.append(position)
    return found


def uniform(count: int) -> list[float]:
    found, state = [], 1
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        found.append(state / 2**32)
    return found


RIVER = {"min_steps": 30, "delta": 0.005, "alpha": 0.9999}


@pytest.mark.parametrize(
    ("kind", "threshold", "expected"),
    [
        ("values", 50, [3187]),
        ("values", 10, [489, 778, 938, 2015, 3020, 3564]),
        ("errors", 50, [3303]),
    ],
)
def test_alarms_are_those_of_river(kind: str, threshold: float, expected: list[int]) -> None:
    # river 0.26.1, PageHinkley(threshold=…), mode both, on the same 6,000 numbers
    numbers = uniform(6000)
    shares = {
        "values": [x + (0.3 if at >= 3000 else 0.0) for at, x in enumerate(numbers)],
        "errors": [float(x < (0.1 if at < 3000 else 0.25)) for at, x in enumerate(numbers)],
    }[kind]
    assert alarms(shares, threshold=threshold, **RIVER) == expected


@given(
    shares=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=60),
    alpha=st.sampled_from([1.0, 0.9999, 0.9]),
    delta=st.sampled_from([0.0, 0.01]),
)
@settings(deadline=None)
def test_all_columns_at_once_are_each_column_alone(shares: list[list[float]], alpha: float, delta: float) -> None:
    config = MissingShiftSettings(min_steps=5, threshold=0.3, alpha=alpha, delta=delta)
    state, together = begin(config, 3), []
    for row in shares:
        state, evidence = page_hinkley(config, state, np.array(row), np.ones(3, np.bool_))
        together.append(evidence)
    for column in range(3):
        state = begin(config, 1)
        for row, evidence in zip(shares, together, strict=True):
            state, alone = page_hinkley(config, state, np.array([row[column]]), np.array([True]))
            assert np.array_equal(alone, evidence[column : column + 1], equal_nan=True)


def test_a_fall_has_the_other_sign() -> None:
    config = MissingShiftSettings(min_steps=5)
    state, signs = begin(config, 2), set()
    for step in range(60):
        shares = np.array([0.1, 0.5]) if step < 30 else np.array([0.5, 0.1])
        state, evidence = page_hinkley(config, state, shares, np.ones(2, np.bool_))
        if (np.abs(evidence) > 1.0).all():
            signs.add(tuple(np.sign(evidence)))
            break
    assert signs == {(1.0, -1.0)}


def test_stationary_features_raise_no_alarm() -> None:
    random, config = np.random.default_rng(5), MissingShiftSettings()
    state, alarmed = begin(config, 200), 0
    for _ in range(1000):
        state, evidence = page_hinkley(config, state, random.binomial(500, 0.1, 200) / 500, np.ones(200, np.bool_))
        alarmed += int(np.count_nonzero(np.abs(evidence) > 1.0))
    assert alarmed == 0


# --- on panes ---------------------------------------------------------------------------------------------------------
def rows(count: int, missing: int) -> PredictionBatch:
    age = np.arange(float(count))
    age[:missing] = np.nan
    plan = Column(None, np.arange(count).astype(np.int32) % 2, ("a", "b"))
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), np.zeros((count, 2), np.uint64), np.ones(count), np.zeros(count),
        {"age": Column(age), "plan": plan}, prediction=plan,
    )  # fmt: skip


REFERENCE = build_reference("fraud", rows(1000, 100))


def pane(count: int, missing: int) -> Window:
    schema = REFERENCE.schema.fork()
    vectors = Pane.empty(schema)
    accumulate(vectors, schema, rows(count, missing))
    return Window(MODEL, 0, 60, schema, vectors)


def test_a_feature_that_loses_cells_is_named_and_the_test_starts_again() -> None:
    monitor = MissingShiftMonitor(MissingShiftSettings())
    state, beyond = monitor.begin(REFERENCE), []
    for step in range(100):
        state, found = monitor.step(pane(500, 50 if step < 50 else 150), REFERENCE, state)
        assert {item.name for item in found} <= {semconv.QUALITY_MISSING_SHIFT}
        assert {dict(item.attributes)[semconv.FEATURE_NAME] for item in found} <= {"age", "plan"}
        assert all(item.time_ns == 60 for item in found)
        assert bool(found) == (step >= 29)
        beyond += [(step, dict(item.attributes)[semconv.FEATURE_NAME]) for item in found if abs(item.value) > 1.0]
    [(step, feature)] = beyond
    assert (50 <= step < 60, feature) == (True, "age")


def test_small_panes_are_joined_until_they_make_a_step() -> None:
    monitor = MissingShiftMonitor(MissingShiftSettings(min_cells=500))
    small, large = monitor.begin(REFERENCE), monitor.begin(REFERENCE)
    for _ in range(5):
        small, _ = monitor.step(pane(100, 10), REFERENCE, small)
    large, _ = monitor.step(pane(500, 50), REFERENCE, large)
    assert small.steps.tolist() == large.steps.tolist()
    assert small.mean.tolist() == large.mean.tolist()
    assert small.steps[0] == 1


def test_sampled_rows_count_as_the_rows_that_were_seen() -> None:
    monitor = MissingShiftMonitor(MissingShiftSettings(min_cells=500))
    schema = REFERENCE.schema.fork()
    vectors = Pane.empty(schema)
    batch = rows(100, 10)
    batch.weights[:] = 10.0
    accumulate(vectors, schema, batch)
    state, _ = monitor.step(Window(MODEL, 0, 60, schema, vectors), REFERENCE, monitor.begin(REFERENCE))
    assert state.steps.sum() == 0
    assert state.cells[0] == pytest.approx(100.0)
