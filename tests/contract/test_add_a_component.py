"""What it takes to add a component: its folder and one line. An installed package adds one of each kind here.

The package is built into a wheel and installed with pip into an empty folder, then the real command line is asked
about it: ``components``, ``validate``, ``alerts test``, ``serve``, and the page of the configuration's keys.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import requests
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import otel_ml
from collector_processor.components import Component
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.receivers.registry import RECEIVERS
from otel_ml import semconv

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy"
ENTRY_POINTS = """[otel_ml_component]
toy_file = otel_ml_toy.receiver.component:COMPONENT
toy_lines = otel_ml_toy.exporter.component:COMPONENT
toy_door = otel_ml_toy.extension.component:COMPONENT
toy_gone = otel_ml_toy.gone:COMPONENT
toy_text = otel_ml_toy:__doc__
debug = otel_ml_toy.clash:COMPONENT
"""
CLASH = """
from dataclasses import replace
from otel_ml_toy.exporter.component import COMPONENT
COMPONENT = replace(COMPONENT, type="debug")
"""
DEADLINE_S = 60.0
ROWS = 200


def wheel(folder: Path) -> Path:
    """The toy as a wheel: a wheel is an archive with a record, so nothing has to be fetched to build one."""
    files = {path.relative_to(TOY).as_posix(): path.read_bytes() for path in TOY.rglob("*.py")}
    files["otel_ml_toy/clash.py"] = CLASH.encode()
    about = "otel_ml_toy-1.0.dist-info/"
    files[about + "METADATA"] = b"Metadata-Version: 2.1\nName: otel-ml-toy\nVersion: 1.0\n"
    files[about + "WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[about + "entry_points.txt"] = ENTRY_POINTS.encode()
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[about + "RECORD"] = "\n".join([*lines, f"{about}RECORD,,\n"]).encode()
    path = folder / "otel_ml_toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*command, str(wheel(folder))], check=True)
    return target


def environment(installed: Path) -> dict[str, str]:
    # The tree under test goes first, wherever the interpreter has another one.
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(otel_ml.__file__).parents[1]), str(installed)))}


def otel_ml_command(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "collector_processor", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(installed), timeout=DEADLINE_S)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(ROWS):
        span = scope.spans.add(name="predict", end_time_unix_nano=time.time_ns())
        for key, value in ((semconv.MODEL_NAME, "toy"), (semconv.PREDICTION_CLASS, "yes" if number % 2 else "no")):
            span.attributes.add(key=key).value.string_value = value
    (tmp_path / "request.bin").write_bytes(request.SerializeToString())
    path = tmp_path / "otel-ml.yaml"
    path.write_text(yaml.safe_dump({
        "receivers": {"toy_file": {"file": "request.bin"}},
        "connectors": {"ml_monitor": {"reference": {"learn": ROWS // 2}, "window": {"size": f"{ROWS // 2} rows"}}},
        "exporters": {
            "toy_lines/figures": {"file": "figures.txt"},
            "toylines/spans": {"file": "spans.txt"},
            "prometheus": {"endpoint": "localhost:0"},
        },
        "extensions": {"toy_door": {"endpoint": "localhost:0"}, "health_check": {"endpoint": "localhost:0"}},
        "alerts": {"notify": ["toy_lines/figures"]},
        "service": {
            "extensions": ["toy_door", "health_check"],
            "telemetry": {"metrics": {"endpoint": "localhost:0"}},
            "pipelines": {
                "traces": {"receivers": ["toy_file"], "exporters": ["ml_monitor", "toylines/spans"]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["toy_lines/figures", "prometheus"]},
            },
        },
    }))  # fmt: skip
    return path


def changed(file: Path, **changes: dict[str, object]) -> Path:
    document = yaml.safe_load(file.read_text())
    for section, update in changes.items():
        document[section].update(update)
    other = file.with_name("changed.yaml")
    other.write_text(yaml.safe_dump(document))
    return other


def folders() -> list[Path]:
    package = ROOT / "collector_processor"
    rooms = [package / room for room in ("receivers", "exporters", "extensions")]
    return sorted(path.parent for room in rooms for path in room.glob("*/component.py"))


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_every_folder_of_ours_is_registered_and_stands_in_the_contracts(folder: Path) -> None:
    name = f"collector_processor.{folder.parent.name}.{folder.name}"
    module = importlib.import_module(f"{name}.component")
    registry = {"receivers": RECEIVERS, "exporters": EXPORTERS, "extensions": EXTENSIONS}[folder.parent.name]
    own = [value for value in vars(module).values() if isinstance(value, Component)]
    assert own
    assert all(registry.components[component.type] is component for component in own)
    # Once among those that nothing outside may import, once among those that may not import each other.
    assert (ROOT / "pyproject.toml").read_text().count(f'"{name}"') == 2


def test_they_are_listed_and_what_cannot_be_loaded_says_why(installed: Path) -> None:
    done = otel_ml_command(installed, "components")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "receiver toy_file Reads one OTLP request from a file" in lines
    assert "exporter toy_lines Appends a line to a file for each thing that it gets" in lines
    assert "extension toy_door Holds an address, and gives the token that is in its settings" in lines
    [gone] = [line for line in lines if line.startswith("broken toy_gone")]
    assert "'otel_ml_toy.gone:COMPONENT' of the package otel-ml-toy cannot be loaded: ModuleNotFoundError" in gone
    [text] = [line for line in lines if line.startswith("broken toy_text")]
    assert "is a str, not a component" in text
    [clash] = [line for line in lines if line.startswith("broken debug")]
    assert "the exporter type 'debug' is taken" in clash


def test_a_configuration_with_them_is_valid(installed: Path, file: Path) -> None:
    done = otel_ml_command(installed, "validate", "--config", str(file))
    assert done.returncode == 0, done.stderr
    assert "traces: toy_file → ml_monitor, toylines/spans" in done.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exporters": {"toy_lines/figures": {"fil": "x"}}}, "toy_lines/figures.fil: unknown key; allowed: file"),
        ({"receivers": {"toy_file": {"file": "gone.bin"}}}, "receivers.toy_file.file: there is no file gone.bin"),
        ({"receivers": {"toy_gone": None}}, "receivers.toy_gone: entry point 'otel_ml_toy.gone:COMPONENT'"),
        ({"receivers": {"toy": None}}, "receivers.toy: unknown type 'toy'; allowed: otlp, inference_logger, toy_file"),
        (
            {"extensions": {"toy_door": {"endpoint": "localhost:9"}, "health_check": {"endpoint": "127.0.0.1:9"}}},
            "localhost:9 is also ",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_them_are_found_by_the_grammar(
    installed: Path, file: Path, changes: dict[str, dict[str, object]], said: str
) -> None:
    done = otel_ml_command(installed, "validate", "--config", str(changed(file, **changes)))
    assert done.returncode == 2
    assert said in done.stderr.replace("127.0.0.1:9 is also ", "localhost:9 is also ")


def test_an_authenticator_of_theirs_guards_our_receiver(installed: Path, file: Path) -> None:
    guarded = {"otlp": {"protocols": {"http": {"endpoint": "localhost:0", "auth": {"authenticator": "toy_door"}}}}}
    document = yaml.safe_load(changed(file, receivers=guarded).read_text())
    document["service"]["pipelines"]["traces"]["receivers"].append("otlp")
    file.write_text(yaml.safe_dump(document))
    with serving(installed, file) as service:
        url = f"http://localhost:{service.port('http')}/v1/traces"
        content = {"Content-Type": "application/x-protobuf"}
        assert requests.post(url, b"", headers=content, timeout=5).status_code == 401
        content["Authorization"] = "Bearer sesame"
        assert requests.post(url, b"", headers=content, timeout=5).status_code == 200


def test_they_run(installed: Path, file: Path) -> None:
    tried = otel_ml_command(installed, "alerts", "test", "--config", str(file))
    assert tried.returncode == 0, tried.stderr
    assert "toy_lines/figures (toy_lines): sent" in tried.stdout
    with serving(installed, file) as service:
        assert service.port("toy_door")
    figures = file.with_name("figures.txt").read_text().splitlines()
    assert "alert otel_ml_test" in figures
    assert figures[-1] == "end"
    size = file.with_name("request.bin").stat().st_size
    assert f"original traces {size}" in file.with_name("spans.txt").read_text().splitlines()
    assert f"measurement {semconv.PREDICTIONS}" in figures


def test_their_keys_are_on_the_page_of_the_configuration(installed: Path) -> None:
    code = "import sys; sys.path.insert(0, 'docs'); import build; print(build.configuration_page())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(installed), cwd=ROOT, check=True
    )
    for section in ("receivers.toy_file", "exporters.toy_lines", "extensions.toy_door"):
        assert f"## `{section}`" in done.stdout
    assert "| `word` | `sesame` | the token |" in done.stdout


class serving:  # noqa: N801 -- used as a function
    """The real service with the toy installed; stopped at the end, and its exit code is 0."""

    def __init__(self, installed: Path, file: Path) -> None:
        command = [sys.executable, "-m", "collector_processor", "serve", "--config", str(file)]
        self._log = file.with_name("log.txt")
        with self._log.open("w") as out:
            self._process = subprocess.Popen(command, stderr=out, env=environment(installed))

    def __enter__(self) -> serving:
        deadline = time.monotonic() + DEADLINE_S
        while "ready: " not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return self

    def port(self, name: str) -> int:
        ready = self._log.read_text().partition("ready: ")[2].partition("\n")[0]
        return int(dict(part.rsplit(" :", 1) for part in ready.split(", "))[name])

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(DEADLINE_S) == 0, self._log.read_text()
