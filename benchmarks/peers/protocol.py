"""What the script of every tool does, each in its tool's own environment: read, warm up, fit, score, print JSON.

Nothing but the standard library, numpy, pandas and pyarrow is imported here. Reading the tables is not timed: every
tool is handed the same two pandas frames, doubles and Python texts. It is shown 2,000 rows first, so that what is
imported or compiled by the first call is not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

WARM_UP_ROWS = 2000
_STATUS = "/proc/self/status"
Scores = Mapping[str, Mapping[str, float]]
"""Numbers by figure and column."""


class Case:
    """One thing that a tool can do with the two frames.

    ``fit(reference, numeric, categorical)``, given the names of the columns of each kind, returns whatever the tool
    keeps of the reference, ``score(fitted, current)`` what it found; both are timed. ``read(result)`` is not: figures
    of the same name are the same figure of another tool, or meant to be.
    """

    def __init__(
        self,
        name: str,
        fit: Callable[[pd.DataFrame, list[str], list[str]], Any],
        score: Callable[[Any, pd.DataFrame], Any],
        read: Callable[[Any], Scores],
    ) -> None:
        self.name, self.fit, self.score, self.read = name, fit, score, read


def main(cases: Sequence[Case], packages: Sequence[str]) -> None:
    """Runs the case that the command line names and prints what ``runs.py`` reads; ``packages`` tell their versions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True, choices=[case.name for case in cases])
    parser.add_argument("--reference", required=True)
    parser.add_argument("--current", required=True)
    options = parser.parse_args()
    case = next(case for case in cases if case.name == options.case)
    with contextlib.redirect_stdout(sys.stderr):  # what tools print must not get into the answer
        answer = measured(case, frame(options.reference), frame(options.current))
    versions = {package: version(package) for package in packages}
    print(json.dumps({**answer, "versions": versions, "python": platform.python_version()}))


def measured(case: Case, reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Any]:
    """Times and figures of one case."""
    numeric = [name for name in reference.columns if reference[name].dtype.kind == "f"]
    categorical = [name for name in reference.columns if name not in numeric]

    def fit(rows: pd.DataFrame) -> Any:
        return case.fit(rows, numeric, categorical)

    case.read(case.score(fit(reference.head(WARM_UP_ROWS)), current.head(WARM_UP_ROWS)))
    _forget()
    loaded = _status_bytes("VmRSS")
    fitted, fit_times = _timed(lambda: fit(reference))
    result, score_times = _timed(lambda: case.score(fitted, current))
    peak = _status_bytes("VmHWM")
    scores = {
        figure: {str(column): float(number) for column, number in columns.items()}
        for figure, columns in case.read(result).items()
    }
    return {"fit": fit_times, "score": score_times, "peak_bytes": peak, "loaded_bytes": loaded, "scores": scores}


def frame(path: str) -> pd.DataFrame:
    """A table of doubles and Python texts (one object for each distinct text), alike in every version of pandas."""
    table = pq.read_table(path)
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    found = table.select(numbers).to_pandas()
    for name in table.column_names:
        if name not in numbers:
            texts = pa.concat_arrays(table.column(name).chunks).dictionary_encode()
            objects = np.array(texts.dictionary.to_pylist(), dtype=object)
            found[name] = pd.Series(objects[texts.indices.to_numpy()], dtype=object)
    return found


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What the work gives, with its time on the clock and the CPU time of all threads and child processes."""
    wall, cpu = time.perf_counter(), _cpu_s()
    found = work()
    return found, {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu}


def _cpu_s() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _forget() -> None:
    """Gives back what reading and warming up took, and lets the peak of memory start anew where it can (Linux)."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def _status_bytes(name: str) -> int:
    """Resident memory as Linux tells it, elsewhere the peak of the process's life."""
    try:
        with open(_STATUS) as status:
            line = next(line for line in status if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
