"""Runs the tools' scripts, each case in a process of its own, and puts the repetitions together."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

_TIMEOUT_S: Final = 3600
_THREADS: Final = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
_SILENT: Final = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True"}
"""No tool reports its use to anybody."""
_PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "LANG")


class RunError(Exception):
    """A script that did not answer, with the last thing that it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one case: seconds of fit and score, on the clock and of CPU, bytes, and the figures themselves.

    ``loaded_bytes`` are resident before the fit, with both tables; ``peak_bytes`` is the most until the end.
    """

    fit_wall_s: float
    fit_cpu_s: float
    score_wall_s: float
    score_cpu_s: float
    loaded_bytes: int
    peak_bytes: int
    python: str
    versions: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]

    @property
    def cpu_s(self) -> float:
        """CPU time of fit and score."""
        return self.fit_cpu_s + self.score_cpu_s

    @property
    def wall_s(self) -> float:
        """Fit and score on the clock."""
        return self.fit_wall_s + self.score_wall_s


@dataclass(frozen=True, slots=True)
class Tables:
    """The two Parquet files."""

    reference: Path
    current: Path


def run(python: Path | str, script: Path, case: str, tables: Tables, threads: int, packages: Path | None = None) -> Run:
    """Runs one case in a fresh process; ``packages`` is a folder to import from. Raises :class:`RunError`."""
    command = [str(python), str(script), "--case", case]
    command += ["--reference", str(tables.reference), "--current", str(tables.current)]
    variables = environment(threads) | ({} if packages is None else {"PYTHONPATH": str(packages)})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=variables)
    except subprocess.TimeoutExpired:
        raise RunError(f"took more than {_TIMEOUT_S} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise RunError(said[-1].strip() if said else f"ended with {done.returncode} and said nothing")
    return parsed(done.stdout)


def environment(threads: int) -> dict[str, str]:
    """The variables that every tool gets: the same number of threads, and nobody told."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, **dict.fromkeys(_THREADS, str(threads)), **_SILENT, "PYTHONWARNINGS": "ignore"}


def parsed(output: str) -> Run:
    """The run that a script printed, as its last line. Raises :class:`RunError` for anything else."""
    try:
        found: Any = json.loads(output.strip().splitlines()[-1])
        return Run(
            fit_wall_s=float(found["fit"]["wall_s"]),
            fit_cpu_s=float(found["fit"]["cpu_s"]),
            score_wall_s=float(found["score"]["wall_s"]),
            score_cpu_s=float(found["score"]["cpu_s"]),
            loaded_bytes=int(found["loaded_bytes"]),
            peak_bytes=int(found["peak_bytes"]),
            python=str(found["python"]),
            versions={str(name): str(number) for name, number in found["versions"].items()},
            scores=found["scores"],
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"its answer is not what the protocol says: {error!r}") from None


def typical(runs: Sequence[Run]) -> Run:
    """The medians of several runs; figures and versions are those of the last."""
    last = runs[-1]
    return Run(
        fit_wall_s=median(each.fit_wall_s for each in runs),
        fit_cpu_s=median(each.fit_cpu_s for each in runs),
        score_wall_s=median(each.score_wall_s for each in runs),
        score_cpu_s=median(each.score_cpu_s for each in runs),
        loaded_bytes=int(median(each.loaded_bytes for each in runs)),
        peak_bytes=int(median(each.peak_bytes for each in runs)),
        python=last.python,
        versions=last.versions,
        scores=last.scores,
    )
