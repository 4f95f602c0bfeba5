"""What a release would publish: the wheel, built from the source distribution, in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from stack import ROOT, Server, Stack, free_port, merged, samples, value_of, wait

pytestmark = pytest.mark.timeout(600)  # it compiles, and installs numpy, scipy and pyarrow


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Runs a command with no trace of the tree in its environment; gives what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it alone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an empty environment into which the wheel was installed."""
    home = tmp_path_factory.mktemp("installed")
    [wheel] = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    scripts = home / "venv" / "bin"
    run(scripts / "python", "-m", "pip", "install", "--quiet", f"otel-ml[processor,otlp] @ {wheel.as_uri()}", cwd=home)
    return scripts


def test_the_wheel_has_the_compiled_parts_and_no_sources_of_them(dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    parts = {path.stem for kind in ("*.pyx", "*.pxd") for path in (ROOT / "collector_processor").rglob(kind)}
    assert {Path(name).name.partition(".")[0] for name in names if name.endswith(".so")} == parts
    assert {"otel_ml/py.typed", "collector_processor/py.typed"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"otel_ml", "collector_processor"}
    assert [name for name in names if name.endswith((".pyx", ".pxi", ".pxd", ".c"))] == []


def test_the_installed_package_works_outside_of_the_tree(installed: Path, tmp_path: Path) -> None:
    assert "works" in run(installed / "python", ROOT / "tools" / "check_installed.py", cwd=tmp_path)


def test_the_first_example_of_the_readme_gets_to_its_figures(installed: Path, stack: Stack, tmp_path: Path) -> None:
    grpc, http, prometheus, health, own = (free_port() for _ in range(5))
    example: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "otel-ml.yaml").read_text(encoding="utf-8"))
    ports: dict[str, Any] = {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"localhost:{grpc}"},
                    "http": {"endpoint": f"localhost:{http}"},
                }
            }
        },
        "connectors": {"ml_monitor": {"window": {"every": "1s", "allowed_lateness": "1s"}}},
        "exporters": {"prometheus": {"endpoint": f"localhost:{prometheus}"}},
        "extensions": {"health_check": {"endpoint": f"localhost:{health}"}},
        "service": {"telemetry": {"metrics": {"endpoint": f"localhost:{own}"}}},
    }
    config = tmp_path / "otel-ml.yaml"
    config.write_text(yaml.safe_dump(merged(example, ports)), encoding="utf-8")
    service: Server = stack.start(
        "installed",
        [str(installed / "otel-ml"), "serve", "--config", str(config)],
        env={"PYTHONPATH": ""},
        ready=lambda: requests.get(f"http://localhost:{health}/", timeout=5).ok,
    )
    printed = run(
        installed / "opentelemetry-instrument",
        *("--service_name", "shop", installed / "python", ROOT / "examples" / "manual.py"),
        cwd=tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://localhost:{grpc}",
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )
    assert "200 predictions and labels" in printed
    model = {"ml_model_name": "basket-value", "ml_model_version": "3"}
    wait(lambda: value_of(samples(prometheus), "ml_window_labels", model) == 200, told=service.log_text)
    assert value_of(samples(prometheus), "ml_window_rows", model) == 200
    assert service.stop() == 0
