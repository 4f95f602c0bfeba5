"""Few labels with the estimates of all rows: beside the authors' own figures, and what the intervals cover."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import F64
from collector_processor.monitors.combined import Combined, combined
from collector_processor.monitors.intervals import BAND
from collector_processor.statistics.parts.combined import CombinedSums
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest
from verification.topics.concept import WORLDS, prepared

ORACLE: Final = Oracle("ppi")
CASES: Final = ((100, 10_000, False), (500, 10_000, False), (1000, 1000, True))
"""Labels, rows of a window, and whether the labels are of these rows."""
WINDOWS: Final = 500
COMPARED: Final = 20


def summed(y: F64, p: F64, every: F64) -> CombinedSums:
    """Return the sums of labeled rows and of all rows."""
    ones = np.ones(len(y))
    return CombinedSums(
        np.array([[len(y), len(y), y.sum(), y @ y]]),
        np.array([[ones.sum(), ones.sum(), y.sum(), p.sum(), y @ p, p @ p]]),
        np.array([[len(every), len(every), every.sum(), every @ every]]),
    )


def drawn(random: Generator, right: F64, expected: F64, labels: int, rows: int, among: bool) -> tuple[F64, F64, F64]:
    """Return Y and p of labeled flights, and p of all flights of a window."""
    chosen = random.choice(len(right), rows if among else rows + labels, replace=False)
    return right[chosen[:labels]], expected[chosen[:labels]], expected[chosen[0 if among else labels :]]


def run(quick: bool, progress: Progress) -> Findings:
    """Compare some windows with the authors' package, and count how often the accuracy of all flights is covered."""
    progress("a model on flights")
    rows = prepared(8 if quick else 1)
    expected = np.where(rows.predicted > 0.0, rows.expected, 1.0 - rows.expected)
    random, asked, ours = np.random.default_rng(3), list[Any](), list[tuple[float, float, float]]()
    table: list[tuple[Any, ...]] = []
    worlds = {"no change": rows.truth, "10 % of labels flipped": WORLDS["10 % of labels flipped"](rows.truth, random)}
    for name, truth in worlds.items():
        right = (truth == rows.predicted).astype(float)
        for labels, size, among in CASES:
            progress(f"{name}, {labels} labels")
            hits, had, widths = 0, 0, list[float]()
            for window in range(50 if quick else WINDOWS):
                y, p, every = drawn(random, right, expected, labels, size, among)
                found: Combined = combined(summed(y, p, every), 50.0, shares=True)
                value, margin = float(found.value[0]), BAND.z * float(found.error[0])
                if window < (2 if quick else COMPARED) and not among:
                    asked.append((y.tolist(), p.tolist(), every.tolist()))
                    ours.append((value, value - margin, value + margin))
                if found.known[0]:
                    had, hits = had + 1, hits + (abs(value - right.mean()) <= margin)
                    widths.append(margin / (BAND.z * float(y.std()) / labels**0.5))
            table.append(
                (
                    name,
                    labels,
                    size,
                    "yes" if among else "no",
                    f"{hits / had:.1%}",
                    f"{had / (50 if quick else WINDOWS):.1%}",
                    float(np.mean(widths)),
                )
            )
    progress("ppi_py")
    answer = ORACLE.ask({"windows": asked})
    errors = [
        abs(mine - other)
        for each, theirs in zip(ours, answer.value, strict=True)
        for mine, other in zip(each, theirs, strict=True)
    ]
    return Findings(
        data=f"{len(rows.truth):,} flights; windows of 1,000 and 10,000 rows",
        checks=[
            Check.at_most("largest difference from ppi_py, of figures and ends", largest(errors), 1e-3),
            Check.at_least("least coverage of the accuracy", min(float(row[4][:-1]) for row in table) / 100.0, 0.92),
        ],
        tables=[
            Table(
                "Intervals that cover the accuracy of all flights, and their width as a share of that of labels alone:",
                ("world", "labels", "rows", "labels of these rows", "covered", "windows with a figure", "width"),
                table,
            )
        ],
        versions=answer.versions,
    )


TOPIC = Topic("Labels and estimates together", run, oracles=("ppi",), page="methods/combined.md")
