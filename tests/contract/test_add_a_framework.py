"""To add a framework, add a folder with an instrumentor on the shared base and one entry point: a toy one works."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from otel_ml import frameworks
from otel_ml.frameworks.framework import FrameworkInstrumentor
from otel_ml.testing import capture

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in Path(frameworks.__file__).parent.glob("*/__init__.py"))

FRAMEWORK = """
    class Forest:
        def fit(self, rows):
            self.bias = sum(self.predict(rows)) / len(rows)
            return self

        def predict(self, rows):
            if rows == "broken":
                raise RuntimeError("no rows")
            return [row["age"] / 100 for row in rows]
    """

INSTRUMENTOR = """
    from functools import partial

    from otel_ml.frameworks.base import Started, observing, quietly
    from otel_ml.frameworks.framework import FrameworkInstrumentor
    from otel_ml.frameworks.patches import Patches


    class Observer:
        def __init__(self, options):
            self.patches = Patches()
            self.options = options

        def attach(self, module):
            self.patches.replace(module.Forest, "predict", observing(self.begin, self.options.hooks))
            self.patches.replace(module.Forest, "fit", quietly)

        def begin(self, forest, args, kwargs):
            model = self.options.make_model(type(forest).__name__, task="regression", framework="toyml")
            prediction = model.predict(args[0])
            return Started(prediction, partial(record, prediction))


    def record(prediction, result):
        prediction.record(value=result)
        return True


    class ToymlInstrumentor(FrameworkInstrumentor[Observer]):
        distribution = "toyml"
        versions = ">= 1"
        module = "toyml.forest"

        def observe(self, options):
            return Observer(options)
    """

APP = """
    from toyml.forest import Forest

    rows = [{"age": 40}, {"age": 20}]
    print(Forest().fit(rows).predict(rows[:1]))
    """


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which a framework and its instrumentor are installed."""
    write(tmp_path / "toyml/__init__.py", "")
    write(tmp_path / "toyml/forest.py", FRAMEWORK)
    write(tmp_path / "toyml-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: toyml\nVersion: 1.2\n")
    write(tmp_path / "otel_toyml/__init__.py", "")
    write(tmp_path / "otel_toyml/instrumentor.py", INSTRUMENTOR)
    write(tmp_path / "otel_toyml-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: otel_toyml\nVersion: 0.1\n")
    write(
        tmp_path / "otel_toyml-0.1.dist-info/entry_points.txt",
        "[opentelemetry_instrumentor]\notel_toyml = otel_toyml.instrumentor:ToymlInstrumentor\n",
    )
    write(tmp_path / "app.py", APP)
    return tmp_path


@pytest.fixture
def instrumentor(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrameworkInstrumentor[Any]]:
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    [entry] = entry_points(group="opentelemetry_instrumentor", name="otel_toyml")
    instrumentor = entry.load()()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("toyml", "otel_toyml")]:
        del sys.modules[name]


def test_its_predictions_are_spans_until_it_is_uninstrumented(instrumentor: FrameworkInstrumentor[Any]) -> None:
    instrumentor.instrument(response_hook=lambda prediction, forest, result: prediction.record(id=["a", "b"]))
    assert "toyml" not in sys.modules
    forest = importlib.import_module("toyml.forest").Forest()
    with capture() as captured:
        forest.fit([{"age": 50}])
        assert forest.predict([{"age": 40}, {"age": 20}]) == [0.4, 0.2]
        with pytest.raises(RuntimeError):
            forest.predict("broken")
    first, second, failed = captured.predictions
    assert [(row.model, row.id, dict(row.features), row.value) for row in (first, second)] == [
        ("Forest", "a", {"age": 40}, 0.4),
        ("Forest", "b", {"age": 20}, 0.2),
    ]
    assert failed.error_type == "RuntimeError"
    instrumentor.uninstrument()
    with capture() as captured:
        forest.predict([{"age": 40}])
    assert captured.spans == ()


def test_a_framework_that_is_imported_already_is_instrumented_too(instrumentor: FrameworkInstrumentor[Any]) -> None:
    forest = importlib.import_module("toyml.forest").Forest()
    for _ in range(2):
        instrumentor.instrument()
        with capture() as captured:
            forest.predict([{"age": 40}])
        assert [row.value for row in captured.predictions] == [0.4]
        instrumentor.uninstrument()


def test_opentelemetry_instrument_loads_it_by_its_entry_point(site: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(site / "app.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        },
    )
    assert done.returncode == 0, done.stderr
    answer, _, spans = done.stdout.partition("\n")
    assert answer == "[0.4]"
    span = json.loads(spans)
    assert span["name"] == "predict Forest"
    assert span["attributes"]["ml.feature.age"] == 40
    assert span["attributes"]["ml.prediction.value"] == 0.4


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_framework_is_a_folder_an_entry_point_and_a_requirement(folder: Path) -> None:
    module = importlib.import_module(f"otel_ml.frameworks.{folder.name}")
    [instrumentor] = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, FrameworkInstrumentor) and value is not FrameworkInstrumentor
    }
    assert (folder / "instrumentor.py").exists()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["entry-points"]["opentelemetry_instrumentor"]
    assert entries[f"otel_ml_{folder.name}"] == f"{module.__name__}:{instrumentor.__name__}"
    for distribution in (instrumentor.distribution, *instrumentor.builds):
        requirement = f"{distribution}{instrumentor.versions}".replace(" ", "")
        assert requirement in project["optional-dependencies"]["instruments-any"]
