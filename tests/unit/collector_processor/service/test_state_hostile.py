"""A snapshot that is whole and wrong: what cannot be used starts afresh, counted and logged, and nothing crashes."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector_processor.columns import batch as columns
from collector_processor.columns.batch import Decoded, LabelBatch, ModelKey
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.file import load_reference
from collector_processor.service.state import StateStore
from collector_processor.service.state_0_1_0 import state_of_0_1_0
from collector_processor.storage.format_1 import Flat
from collector_processor.storage.snapshot import load, save

FIXTURES = Path(__file__).parents[3] / "fixtures" / "v0_1_0"
Path_ = tuple[Any, ...]
scenario = SimpleNamespace(**runpy.run_path(str(FIXTURES / "scenario.py")))
INSTEAD = [None, 7, -1, 0.5, "x", [], {}, [[]], ["a", "b", "c"], np.zeros(3), np.zeros((2, 2), np.uint64), 2**70]
REFERENCES = {model: load_reference(FIXTURES / f"{model}.json") for model in ("loans", "rents")}


def service(directory: Path) -> tuple[Pipeline, Telemetry]:
    """A service that has restored what it could."""
    telemetry = Telemetry()
    pipeline = Pipeline(MlMonitor.model_validate(scenario.SETTINGS), REFERENCES, telemetry, scenario.START_NS)
    StateStore(directory, telemetry).restore(pipeline, scenario.BEFORE_NS)
    return pipeline, telemetry


def misfits(telemetry: Telemetry) -> float:
    return sum(
        sample.value
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "otel_ml_dropped_total" and sample.labels["stage"] == "state"
    )


def counts_on(pipeline: Pipeline) -> None:
    """Rows that come now are counted."""
    for batch in scenario.Scenario(columns, hash_ids).after():
        decoded = Decoded(labels=(batch,)) if isinstance(batch, LabelBatch) else Decoded(predictions=(batch,))
        pipeline.process([decoded], scenario.BEFORE_NS)
    assert {key.name for key in pipeline.models} >= {"loans", "fraud", "rents", "clicks"}
    pipeline.tick(scenario.AFTER_NS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Gives what today's service saves of the state of version 0.1.0."""
    directory = tmp_path_factory.mktemp("state")
    shutil.copytree(FIXTURES / "snapshot", directory, dirs_exist_ok=True)
    pipeline, telemetry = service(directory)
    assert misfits(telemetry) == 0
    StateStore(directory, telemetry).save(pipeline)
    snapshot = load(directory, "state", telemetry)
    assert snapshot is not None
    # A function, because Hypothesis writes out the arguments of a test; of the state, that takes 235 kB.
    return lambda: snapshot.state


def paths(tree: Any, here: Path_ = ()) -> Iterator[Path_]:
    """The way to every part of a state."""
    yield here
    for key in range(len(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else ():
        yield from paths(tree[key], (*here, key))


def changed(tree: Any, path: Path_, value: Any) -> Any:
    if not path:
        return value
    copy = tree.copy()
    copy[path[0]] = changed(tree[path[0]], path[1:], value)
    return copy


def without(tree: Any, path: Path_) -> Any:
    copy = tree.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = without(tree[path[0]], path[1:])
    return copy


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2**16), instead=st.integers(0, len(INSTEAD)))
def test_any_part_that_is_gone_or_something_else_starts_afresh(
    saved: Callable[[], Any], tmp_path: Path, place: int, instead: int
) -> None:
    state = saved()
    every = [*paths(state)]
    path = every[place % len(every)]
    tree = changed(state, path, INSTEAD[instead]) if instead < len(INSTEAD) else without(state, path or ("models",))
    save(tmp_path, "state", tree)
    pipeline, _ = service(tmp_path)
    counts_on(pipeline)


@pytest.mark.parametrize("tree", [None, [], 7, "state", {}, {"models": []}, {"join": {}}, {"models": 7, "join": {}}])
def test_a_state_that_is_none_is_logged_counted_and_left_out(
    tmp_path: Path, tree: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, "state", tree)
    pipeline, telemetry = service(tmp_path)
    assert misfits(telemetry) == 1
    assert "the saved state cannot be used; all models start over" in caplog.text
    assert pipeline.models == {}
    counts_on(pipeline)


def test_one_model_that_is_wrong_leaves_the_others(saved: Callable[[], Any], tmp_path: Path) -> None:
    state = saved()
    [position] = [number for number, entry in enumerate(state["models"]) if entry["name"] == "loans"]
    save(tmp_path, "state", changed(state, ("models", position, "panes"), {"rows.layout": 3}))
    pipeline, telemetry = service(tmp_path)
    assert misfits(telemetry) == 1
    assert pipeline.models[ModelKey("fraud", "7")].watch is not None
    counts_on(pipeline)


def test_a_flat_state_of_version_0_1_0_that_lacks_something_is_an_error() -> None:
    for flat in (Flat({}, {}), Flat({"models": []}, {}), Flat({"models": [{}]}, {})):
        with pytest.raises(KeyError):
            state_of_0_1_0(flat)
