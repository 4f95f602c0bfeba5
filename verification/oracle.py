"""Ask another tool, in its own environment, by a script of ``verification/oracles``.

An oracle is a file ``NAME.py`` there, and its requirements: ``requirements-NAME.txt`` beside it, or those of the tool
of the same name in ``benchmarks/peers``. Its environment is made once, in the folder of :mod:`benchmarks.peers`.

The script reads a JSON object from its standard input and calls ``answer(function)`` of ``oracles/protocol.py`` with a
function of that object. What it returns comes back, with the versions of the packages that it names.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.bench_peers import CACHE
from benchmarks.peers import catalog
from benchmarks.peers.environments import NotInstalledError, python_of
from benchmarks.peers.runs import environment

FOLDER: Final = Path(__file__).parent / "oracles"
_TIMEOUT_S: Final = 3600
_START: Final = "import runpy, sys; sys.path.append(sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"
"""Runs a script that may have the name of the tool that it imports."""


class OracleError(Exception):
    """A tool that cannot be asked, with the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool computed, with the versions of its packages."""

    value: Any
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Oracle:
    """A tool and the interpreters that it can run on, the best first."""

    name: str
    pythons: tuple[str, ...] = ("3.11", "3.12")

    @property
    def requirements(self) -> Path:
        """The pinned packages of its environment."""
        here = FOLDER / f"requirements-{self.name}.txt"
        return here if here.exists() else catalog.FOLDER / here.name

    def ask(self, question: Mapping[str, Any], script: str = "", cache: Path = CACHE, threads: int = 1) -> Answer:
        """Run ``oracles/NAME.py``, or another script, with this question. Raises :class:`OracleError`."""
        file = FOLDER / f"{script or self.name.replace('-', '_')}.py"
        try:
            command = [str(python_of(self, cache)), "-P", "-c", _START, str(FOLDER), str(file)]
            done = subprocess.run(
                command, input=json.dumps(question), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
                env=environment(threads),
            )  # fmt: skip
        except NotInstalledError as error:
            raise OracleError(f"{self.name}: {error}") from None
        except subprocess.TimeoutExpired:
            raise OracleError(f"{self.name}: it took more than {_TIMEOUT_S} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise OracleError(f"{self.name}: {lines[-1] if lines else f'it ended with {done.returncode}'}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return Answer(found["value"], found["versions"])
