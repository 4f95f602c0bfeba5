"""How often equal rows leave the limits of the reconstruction error, and which changes it finds and names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import F64
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.reconstruction import ReconstructionMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions
from verification.topics.pair_drift import MODEL, batch

FEATURES, FACTORS = 20, 4
REFERENCE_ROWS = 10_000
"""Its ten parts have 1,000 rows each."""
SIZES = (500, 1000, 10_000)
MONITOR = ReconstructionMonitor(LeastRows())
CHANGED = "f03"


def cells(random: Generator, rows: int) -> F64:
    """Return 20 features that four factors explain by two thirds."""
    factors = random.standard_normal((rows, FACTORS))
    loads = np.eye(FACTORS)[np.arange(FEATURES) % FACTORS]
    return np.sqrt(2.0 / 3.0) * factors @ loads.T + np.sqrt(1.0 / 3.0) * random.standard_normal((rows, FEATURES))


def measured(reference: Reference, x: F64) -> tuple[bool, str]:
    """Return whether a window of these rows is outside of the limits, and the feature that it names first."""
    schema = reference.schema
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch(x))
    found = MONITOR.evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    named = [dict(item.attributes)[semconv.FEATURE_NAME] for item in found if len(item.attributes) > 2]
    breached = [item.value for item in found if item.name == semconv.MULTIVARIATE_RECONSTRUCTION_BREACHED]
    return bool(breached[0]), named[0] if named else ""


def _shuffled(random: Generator, x: F64) -> None:
    x[:, 3] = random.permutation(x[:, 3])


def _turned(_: Generator, x: F64) -> None:
    x[:, 3] = -x[:, 3]


def _half(random: Generator, x: F64) -> None:
    rows = random.random(len(x)) < 0.5
    x[rows, 3] = random.permutation(x[rows, 3])


def _shifted(_: Generator, x: F64) -> None:
    x += 0.5


CHANGES: dict[str, Callable[[Generator, F64], None]] = {
    "one feature belongs to other rows": _shuffled,
    "so in half of the rows": _half,
    "one feature has the other sign": _turned,
    "all features rise by .5 standard deviations": _shifted,
}


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate references and windows: equal ones, then changed ones of 1,000 rows."""
    random = np.random.default_rng(5)
    references, windows = (3, 4) if quick else (100, 20)
    alarms, found, right = dict.fromkeys(SIZES, 0), dict.fromkeys(CHANGES, 0), dict.fromkeys(CHANGES, 0)
    for number in range(references):
        if number % 10 == 0:
            progress(f"reference {number + 1} of {references}")
        reference = build_reference("pairs", batch(cells(random, REFERENCE_ROWS)))
        for rows in SIZES:
            alarms[rows] += sum(measured(reference, cells(random, rows))[0] for _ in range(windows))
        for name, change in CHANGES.items():
            x = cells(random, 1000)
            change(random, x)
            breached, first = measured(reference, x)
            found[name] += breached
            right[name] += breached and first == CHANGED
    every = references * windows
    worst = max(alarms.values()) / every
    certain = list(CHANGES)[0:3:2]
    return Findings(
        data=f"{references} references of {REFERENCE_ROWS:,} rows of {FEATURES} features that four factors explain by "
        f"two thirds, {windows} equal windows of each size and one of 1,000 rows with each change",
        checks=[
            Check.at_most("share of equal windows outside of the limits, worst size", worst, 0.2 if quick else 0.04),
            *(
                Check.at_least(f"windows that are found and name the feature: {name}", right[name] / references, 0.95)
                for name in certain
            ),
        ],
        tables=[
            Table(
                "Equal windows outside of the limits. Ten parts know their spread only roughly, so that a window of "
                "their size leaves mean ± 3 σ in about 2.4 % of cases (Student's t), not .3 %.",
                ["rows", "windows", "outside"],
                [[f"{rows:,}", every, f"{alarms[rows] / every:.2%}"] for rows in SIZES],
            ),
            Table(
                "Changed windows of 1,000 rows.",
                ["change", "found", "named first"],
                [
                    [name, f"{found[name] / references:.0%}", f"{right[name] / references:.0%}" if at < 3 else "–"]
                    for at, name in enumerate(CHANGES)
                ],
            ),
        ],
        versions=versions("numpy"),
    )


TOPIC = Topic("Limits of the reconstruction error", run, page="methods/reconstruction.md")
