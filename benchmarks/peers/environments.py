"""An environment of its own for every tool, made from its pinned requirements and kept until these change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

_STAMP: Final = "requirements-installed.txt"
_INSTALL_S: Final = 1800


class NotInstalledError(Exception):
    """An environment that cannot be made, with the reason."""


class Tool(Protocol):
    """What an environment is made of: a name, pinned packages, and the versions of Python that they install on."""

    @property
    def name(self) -> str: ...

    @property
    def pythons(self) -> tuple[str, ...]: ...

    @property
    def requirements(self) -> Path: ...


def python_of(peer: Tool, folder: Path) -> Path:
    """The interpreter of a tool's environment under ``folder``, which is made where it is missing or outdated."""
    place = folder / peer.name
    python, stamp = place / "bin" / "python", place / _STAMP
    wanted = peer.requirements.read_text(encoding="utf-8")
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    base = _interpreter(peer.pythons)
    shutil.rmtree(place, ignore_errors=True)
    _run([base, "-m", "venv", str(place)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(peer.requirements)])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _interpreter(versions: tuple[str, ...]) -> str:
    """A Python of one of the versions: the one that runs this, else the first on the path that starts."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" in versions:
        return sys.executable
    for version in versions:
        found = shutil.which(f"python{version}")
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    raise NotInstalledError(f"it needs Python {' or '.join(versions)}, and none is here")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"its installation took more than {_INSTALL_S} s") from None
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise NotInstalledError(f"not installed: {errors[0] if errors else 'pip gives no reason'}")
