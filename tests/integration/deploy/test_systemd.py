"""The systemd unit: as systemd reads it, and as exposed as it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collector_processor.cli import main as cli
from collector_processor.service.run import STOP_TIMEOUT_S

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "otel-ml.service"
MOST_EXPOSED = 1.5


def lines(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text(encoding="utf-8"))


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the program where it is here."""
    unit = tmp_path / UNIT.name
    program = Path(sys.executable).with_name("otel-ml")
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/otel-ml/bin/otel-ml", str(program)))
    return unit


def analyze(*arguments: str) -> str:
    analyzer = shutil.which("systemd-analyze")
    if analyzer is None:
        pytest.skip("systemd-analyze is not on this machine")
    done = subprocess.run([analyzer, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert UNIT.name not in analyze("verify", "--man=no", str(unit))


def test_the_unit_is_hardly_exposed(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert level is not None
    assert float(level[1]) <= MOST_EXPOSED


def test_the_commands_are_ours() -> None:
    for command in lines("ExecStart") + lines("ExecStartPre"):
        program, *arguments = command.split()
        assert program == "/opt/otel-ml/bin/otel-ml"
        assert cli.parser_of(None).parse_args(arguments).config == Path("${CONFIGURATION_DIRECTORY}/otel-ml.yaml")


def test_a_drain_ends_before_systemd_loses_patience() -> None:
    [timeout] = lines("TimeoutStopSec")
    assert int(timeout.removesuffix("s")) >= STOP_TIMEOUT_S + 5
