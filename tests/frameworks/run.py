"""Runs the tests of frameworks where these are installed, for ``make frameworks``: ``python run.py [NAME …]``.

Each ``requirements-NAME.txt`` beside this file is one environment, made once in ``.frameworks/``. Its lines
``# tests: PATH …`` name what runs there. An environment that cannot be made is reported as skipped, with the reason.
"""

from __future__ import annotations

# ruff: noqa: T201 - a script that reports on the terminal
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.peers.environments import NotInstalledError, python_of  # noqa: E402 - it is found by the line above

CACHE: Final = ROOT / ".frameworks"
_TESTS: Final = re.compile(r"^# tests: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    """One environment, and the tests that run in it."""

    name: str
    requirements: Path
    pythons: tuple[str, ...] = ("3.11",)

    @property
    def tests(self) -> list[str]:
        """The paths of the tests."""
        return [path for line in _TESTS.findall(self.requirements.read_text(encoding="utf-8")) for path in line.split()]


def environments() -> dict[str, Environment]:
    """Return the environments by name."""
    files = sorted(Path(__file__).parent.glob("requirements-*.txt"))
    return {name: Environment(name, file) for file in files for name in [file.stem.removeprefix("requirements-")]}


def main(names: list[str]) -> int:
    """Run the tests of the named environments, or of all; return 1 if any fails."""
    known = environments()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no environment {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    outcomes: dict[str, str] = {}
    for name in names or known:
        print(f"== {name}", flush=True)
        try:
            python = python_of(known[name], CACHE)
        except NotInstalledError as error:
            outcomes[name] = f"skipped: {error}"
            continue
        # The instrumentors' entry points are those of the metadata in the root, where `make check` put them.
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *known[name].tests]
        done = subprocess.run(command, cwd=ROOT, env=environ, check=False)
        outcomes[name] = "passed" if done.returncode == 0 else f"failed ({done.returncode})"
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome}")
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
