"""Rules of monitors with state: each closed pane once and in order, through saves, restores, gaps and late rows."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.monitors import registry
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.service.state import StateStore
from collector_processor.settings.base import Settings
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

S = 10**9
NOW_NS = 1_750_000_000 * S
KEY = ModelKey("fraud", "1")
TIMED = {"size": "30s", "every": "10s", "allowed_lateness": "20s"}
COUNTED = {"size": "30 rows", "every": "10 rows"}
SHIFT = {"enabled": True, "min_cells": 8, "min_steps": 2, "threshold": 0.2}


@dataclasses.dataclass(frozen=True, slots=True)
class ChainState:
    steps: np.ndarray
    digest: np.ndarray


class Chain:
    """A state that depends on every pane and on their order."""

    name: ClassVar[str] = "chain"
    metrics: ClassVar[Sequence[Metric]] = (Metric("ml.chain", "1", "rows of the pane"),)
    sections: ClassVar[Mapping[str, type[Settings]]] = {}
    state_version: ClassVar[int] = 1
    settings = Settings()

    def begin(self, reference: Reference) -> ChainState:
        return ChainState(np.zeros((), np.int64), np.zeros(4))

    def step(self, pane: Window, reference: Reference, state: ChainState) -> tuple[ChainState, list[Measurement]]:
        figures = [pane.start_ns / S, pane.end_ns / S, pane.pane.rows[1], pane.pane.excess.sum()]
        digest = np.sin(state.digest[[1, 2, 3, 0]] * 3.0 + np.array(figures))
        found = [Measurement("ml.chain", float(pane.pane.rows[1]), "1", (), pane.end_ns)]
        return ChainState(state.steps + 1, digest), found


@pytest.fixture(scope="module", autouse=True)
def chain() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "MONITOR_TYPES", (*registry.MONITOR_TYPES, Chain))
        yield


def batch(seconds: Sequence[int], key: ModelKey = KEY) -> PredictionBatch:
    """Rows at these seconds, some with a missing cell."""
    times = np.array(seconds, np.int64)
    return PredictionBatch(
        key, NOW_NS + times * S, np.zeros((len(times), 2), np.uint64), np.ones(len(times)), np.zeros(len(times)),
        {"age": Column(np.where(times % 3 == 0, np.nan, times / 7.0)), "size": Column(times % 5.0)},
    )  # fmt: skip


REFERENCE = build_reference("fraud", batch(range(200)))


class Run:
    """A service's statistics in one directory, with the measurements of the monitors that have state."""

    def __init__(self, directory: Path, reference: Reference = REFERENCE, **config: Any) -> None:
        self.directory, self.reference = directory, reference
        self.config = MlMonitor.model_validate({"missing_shift": SHIFT, **config})
        self.said: list[Measurement] = []
        self.start()

    def start(self) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(self.config, {"fraud": self.reference}, self.telemetry, NOW_NS)
        StateStore(self.directory, self.telemetry).restore(self.pipeline, NOW_NS)

    def save(self) -> None:
        StateStore(self.directory, self.telemetry).save(self.pipeline)

    def add(self, seconds: Sequence[int]) -> None:
        self.pipeline.process([Decoded(predictions=(batch(seconds),))], NOW_NS)

    def tick(self, after_s: int = 0) -> None:
        found = self.pipeline.tick(NOW_NS + after_s * S)
        self.said += [item for item in found if item.name in ("ml.chain", "ml.quality.missing_shift")]

    def states(self) -> dict[str, tuple[int | None, dict[str, bytes]]]:
        watch = self.pipeline.models[KEY].watch
        assert watch is not None
        return {
            fold.monitor.name: (
                fold.stepped_ns,
                {field.name: getattr(fold.state, field.name).tobytes() for field in dataclasses.fields(fold.state)},
            )
            for fold in watch.folds
        }

    def misfits(self) -> float:
        by = {"stage": "state", "reason": "does_not_fit", "intentional": "false"}
        return self.telemetry.registry.get_sample_value("otel_ml_dropped_total", by) or 0.0

    def panes(self) -> list[tuple[int, float]]:
        """End (seconds) and rows of each pane that was stepped over."""
        return [((item.time_ns - NOW_NS) // S, item.value) for item in self.said if item.name == "ml.chain"]


def replay(operations: Sequence[Any], window: Mapping[str, str], *, saving: bool = True, ticking: bool = True) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory), window=window)
        for operation in operations:
            if operation == "save":
                if saving:
                    run.save()
                    run.start()
            elif operation == "tick":
                if ticking:
                    run.tick()
            else:
                run.add(operation)
        run.tick(after_s=3600)
        run.save()
        return run


rows = st.lists(st.integers(-400, 0), min_size=1, max_size=12)
anything = st.lists(st.one_of(rows, st.just("tick"), st.just("save")), min_size=1, max_size=14).filter(
    lambda operations: any(isinstance(item, list) for item in operations)
)


@pytest.mark.parametrize("window", [TIMED, COUNTED], ids=["time", "rows"])
@given(operations=anything)
@settings(max_examples=40, deadline=None)
def test_saves_and_restores_anywhere_change_no_step_and_no_bit(window: dict[str, str], operations: list[Any]) -> None:
    whole, parts = replay(operations, window, saving=False), replay(operations, window)
    assert parts.said == whole.said
    assert parts.states() == whole.states()


@st.composite
def nearly_in_order(draw: st.DrawFn) -> list[Any]:
    """Rows at most the allowed lateness behind the newest, over gaps, with ticks and saves anywhere."""
    operations: list[Any] = []
    newest = -4000
    for _ in range(draw(st.integers(1, 10))):
        newest += draw(st.sampled_from([0, 1, 7, 30, 300]))
        operations.append([newest - draw(st.integers(0, 10)) for _ in range(draw(st.integers(1, 8)))])
        operations += draw(st.lists(st.sampled_from(["tick", "save"]), max_size=3))
    return operations


@pytest.mark.parametrize("window", [TIMED, COUNTED], ids=["time", "rows"])
@given(operations=nearly_in_order())
@settings(max_examples=40, deadline=None)
def test_when_windows_are_closed_changes_no_step_and_no_bit(window: dict[str, str], operations: list[Any]) -> None:
    seldom, often = replay(operations, window, saving=False, ticking=False), replay(operations, window)
    assert often.said == seldom.said
    assert often.states() == seldom.states()
    ends = [item.time_ns for item in often.said if item.name == "ml.chain"]
    assert ends == sorted(set(ends))
    added = sum(len(item) for item in operations if isinstance(item, list))
    stepped = sum(count for _, count in often.panes())
    assert stepped == (added if window is TIMED else added // 10 * 10)


def test_a_gap_brings_no_empty_pane_and_a_late_row_changes_no_closed_one(tmp_path: Path) -> None:
    run = Run(tmp_path, window=TIMED)
    run.add([-3000, -2999])
    run.add([-1000])
    run.tick()
    run.add([-3000, -2990, -995])
    run.tick(after_s=3600)
    assert run.panes() == [(-2990, 2.0), (-990, 2.0)]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"window": TIMED}, {"window": {**TIMED, "size": "50s", "every": "5s"}}, "the panes to continue with"),
        ({"window": TIMED}, {"window": COUNTED}, "the panes to continue with are missing"),
        ({"window": TIMED}, {"window": TIMED, "missing_shift": {**SHIFT, "delta": 0.02}}, "its settings changed"),
    ],
)
def test_a_state_that_does_not_fit_is_dropped_counted_and_logged(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, **before)
    run.add(range(-300, 0))
    run.tick(after_s=3600)
    run.save()
    with caplog.at_level(logging.WARNING):
        again = Run(tmp_path, **after)
    (tmp_path / "elsewhere").mkdir()
    fresh = Run(tmp_path / "elsewhere", **after)
    fresh.add([-1])
    assert again.states()["missing_shift"] == fresh.states()["missing_shift"]
    assert again.misfits() >= 1
    assert f"missing_shift: {message}" in caplog.text


def test_a_larger_window_keeps_the_state(tmp_path: Path) -> None:
    run = Run(tmp_path, window=TIMED)
    run.add(range(-300, 0))
    run.tick(after_s=3600)
    run.save()
    again = Run(tmp_path, window={**TIMED, "size": "60s"})
    assert again.states() == run.states()
    assert again.misfits() == 0


def test_a_state_of_another_release_or_another_reference_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, window=TIMED)
    run.add(range(-300, 0))
    run.tick(after_s=3600)
    monkeypatch.setattr(Chain, "state_version", 9)
    run.save()
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "MONITOR_TYPES", (*registry.MONITOR_TYPES, Chain))
        again = Run(tmp_path, window=TIMED)
        assert "chain: its saved state is of version 9, but this release has 1" in caplog.text
        assert again.states()["chain"][0] is None
        assert again.states()["missing_shift"] == run.states()["missing_shift"]
        other = Pane.empty(REFERENCE.schema)
        other.add(REFERENCE.pane)
        other.add(REFERENCE.pane)
        rebuilt = dataclasses.replace(REFERENCE, pane=other, built_at="2026-11-28T00:00:00+00:00")
        again = Run(tmp_path, rebuilt, window=TIMED)
        assert "missing_shift: its reference was built again, from other rows" in caplog.text
        assert again.states()["missing_shift"][0] is None


def test_an_evicted_model_takes_its_state_with_it(tmp_path: Path) -> None:
    run = Run(tmp_path, window=TIMED, limits={"models": 1})
    run.add(range(-300, 0))
    run.tick(after_s=3600)
    assert run.states()["chain"][0] is not None
    for key, later_ns in ((ModelKey("other", "1"), NOW_NS + 7200 * S), (KEY, NOW_NS + 14_400 * S)):
        run.pipeline.process([Decoded(predictions=(batch([0], key),))], later_ns)
    assert run.states()["chain"][0] is None
    assert run.misfits() == 0


def test_a_model_whose_monitor_is_switched_off_has_no_state(tmp_path: Path) -> None:
    run = Run(tmp_path, window=TIMED, models={"fraud": {"missing_shift": {"enabled": False}}})
    run.add([-1])
    assert "chain" in run.states()
    assert "missing_shift" not in run.states()
