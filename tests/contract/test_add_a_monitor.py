"""What it takes to add a monitor: one file, and its entry in the registry. On a copy of the tree, for each kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric, OptIn
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.window.closed import Window
"""
OF_WINDOWS = (
    '''"""Half the rows of a window."""
'''
    + HEAD
    + '''
HALF = Metric("ml.toy.half", "{row}", "half of the rows", MODEL_KEYS)


class ToySettings(Settings):
    """How half of the rows are counted."""

    share: float = Field(default=0.5, gt=0, lt=1, description="what half is")


class LeastToyRows(Settings):
    """From how many rows on."""

    min_toy_rows: int = Field(default=3, ge=1, description="half is counted from this many rows on")


class ToyMonitor:
    """Half of the rows of each window."""

    name: ClassVar[str] = "toy"
    metrics: ClassVar[Sequence[Metric]] = (HALF,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"toy": ToySettings, WINDOW: LeastToyRows}

    def __init__(self, settings: ToySettings, least: LeastToyRows) -> None:
        self._share, self._least = settings.share, least.min_toy_rows

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        rows = float(window.pane.rows[1])
        model = model_attributes(window.model)
        return [Measurement(HALF.name, rows * self._share, HALF.unit, model, window.end_ns)] if rows else []
'''
)
OF_PANES = (
    '''"""All rows so far."""
'''
    + HEAD
    + '''
SUM = Metric("ml.toysum.rows", "{row}", "rows of all panes so far", MODEL_KEYS)


class ToySumSettings(OptIn):
    """How rows are added up."""

    first: float = Field(default=0.0, description="where the sum begins")


@dataclass(frozen=True, slots=True)
class ToySumState:
    rows: F64


class ToySum:
    """The rows of all panes so far."""

    name: ClassVar[str] = "toysum"
    metrics: ClassVar[Sequence[Metric]] = (SUM,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"toysum": ToySumSettings}
    state_version: ClassVar[int] = 1

    def __init__(self, settings: ToySumSettings) -> None:
        self.settings = settings

    def begin(self, reference: Reference) -> ToySumState:
        return ToySumState(np.full(1, self.settings.first))

    def step(
        self, pane: Window, reference: Reference, state: ToySumState
    ) -> tuple[ToySumState, list[Measurement]]:
        rows = state.rows + pane.pane.rows[1]
        model = model_attributes(pane.model)
        return ToySumState(rows), [Measurement(SUM.name, float(rows[0]), SUM.unit, model, pane.end_ns)]
'''
)
CONFIG = """
receivers: {otlp: {}}
connectors:
  ml_monitor:
    window: {size: 10 rows, min_toy_rows: 2}
    toy: {share: 0.25}
    toysum: {enabled: true}
    models: {quiet: {toysum: {enabled: false}}, other: {toysum: {enabled: true, first: 1000}}}
exporters: {prometheus: {}}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [ml_monitor]}
    metrics: {receivers: [ml_monitor], exporters: [prometheus]}
"""
RUN = """
import sys
from pathlib import Path
import numpy as np
from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.config import load_config
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.reference.build import build_reference
from collector_processor.service.state import StateStore

config, state = load_config(Path(sys.argv[1])).monitor, Path(sys.argv[2])
state.mkdir()
batches = [
    PredictionBatch(ModelKey(name), np.zeros(10, np.int64), np.zeros((10, 2), np.uint64), np.ones(10), np.ones(10),
                    features={"age": Column(np.arange(10.0))})
    for name in ("fraud", "quiet", "other")
]
references = {batch.model.name: build_reference(batch.model.name, batch) for batch in batches}
for _ in range(2):
    pipeline, store = Pipeline(config, references, Telemetry(), 0), StateStore(state, Telemetry())
    store.restore(pipeline, 0)
    for batch in batches:
        pipeline.process([Decoded(predictions=(batch,))], 0)
    for item in pipeline.tick(0):
        if "toy" in item.name:
            print(item.name, dict(item.attributes)["ml.model.name"], item.value)
    store.save(pipeline)
"""


def ignored(folder: str, names: list[str]) -> set[str]:
    del folder
    return {name for name in names if name == "__pycache__" or name.endswith((".pyx", ".pxi", ".pxd", ".c", ".cpp"))}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with two more monitors, each one file and one entry."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("collector_processor", "otel_ml"):
        shutil.copytree(ROOT / package, root / package, ignore=ignored)
    (root / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "build.py", root / "docs" / "build.py")
    monitors = root / "collector_processor" / "monitors"
    (monitors / "toy.py").write_text(OF_WINDOWS)
    (monitors / "toysum.py").write_text(OF_PANES)
    registry = (monitors / "registry.py").read_text()
    for module, name in (("toy", "ToyMonitor"), ("toysum", "ToySum")):
        place = "from collector_processor.monitors.traffic import"
        assert registry.count(place) == registry.count("    MissingShiftMonitor,\n") == 1
        registry = registry.replace(place, f"from collector_processor.monitors.{module} import {name}\n{place}")
        registry = registry.replace("    MissingShiftMonitor,\n", f"    MissingShiftMonitor,\n    {name},\n")
    (monitors / "registry.py").write_text(registry)
    (root / "otel-ml.yaml").write_text(CONFIG)
    (root / "run.py").write_text(RUN)
    return root


@pytest.fixture
def python(copy: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python on the copy."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )

    return call


Python = Callable[..., subprocess.CompletedProcess[str]]


def test_its_settings_are_keys_of_the_configuration(copy: Path, python: Python) -> None:
    good = python("-m", "collector_processor", "validate", "--config", "otel-ml.yaml")
    assert good.returncode == 0, good.stderr
    wrong = CONFIG.replace("share: 0.25", "shar: 0.25").replace("min_toy_rows: 2", "min_toy_rows: 0")
    (copy / "wrong.yaml").write_text(wrong.replace("first: 1000", "first: many"))
    bad = python("-m", "collector_processor", "validate", "--config", "wrong.yaml")
    assert bad.returncode != 0
    path = "connectors.ml_monitor"
    assert f"{path}.toy.shar: unknown key; allowed: share" in bad.stderr
    assert f"{path}.window.min_toy_rows: must be greater than or equal to 1" in bad.stderr
    assert f"{path}.models.other.toysum.first: expected a number" in bad.stderr


def test_it_is_listed_and_documented(copy: Path, python: Python) -> None:
    listed = python("-m", "collector_processor", "components").stdout
    assert sorted(line.split()[1:] for line in listed.splitlines() if "toy" in line) == [
        ["toy", *["Half", "of", "the", "rows", "of", "each", "window"]],
        ["toysum", *["The", "rows", "of", "all", "panes", "so", "far"]],
    ]
    built = python("docs/build.py")
    assert built.returncode == 0, built.stderr
    metrics, keys = ((copy / "docs" / name).read_text() for name in ("metrics.md", "configuration.md"))
    assert "| `ml.toy.half` | `ml_toy_half` | `{row}` | gauge |" in metrics
    assert "| `ml.toysum.rows` |" in metrics
    for key in ("toy.share", "window.min_toy_rows", "toysum.enabled", "toysum.first", "models.<name>.toysum.first"):
        assert f"| `{key}` |" in keys


def test_it_runs_with_its_settings_and_its_state_survives(python: Python, tmp_path: Path) -> None:
    done = python("run.py", "otel-ml.yaml", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    halves = [f"ml.toy.half {model} 2.5" for model in ("fraud", "quiet", "other")]
    sums = [("fraud", 10.0, 20.0), ("other", 1010.0, 1020.0)]
    for run, lines in enumerate((done.stdout.splitlines()[:5], done.stdout.splitlines()[5:])):
        expected = [*halves, *(f"ml.toysum.rows {model} {values[run]}" for model, *values in sums)]
        assert sorted(lines) == sorted(expected)
