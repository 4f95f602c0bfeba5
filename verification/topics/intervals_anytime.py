"""Whether intervals of performance hold at every look: of a sample that grows, looked at whenever labels have come."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.monitors.interval_monitor import IntervalMonitor
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.profile import Reference
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions
from verification.topics.intervals import CASES, MODEL, figures, schema_of, window_of

KINDS: Final = {"binary, 30 % positive": 20, "five classes": 20, "regression, t with 10 degrees": 20}
"""Kinds of rows, and labels of a pane."""
PANES: Final = 60
STREAMS: Final = 100
TWO: Final = (True, "anytime")
FIRST: Final = LeastLabels()
NAMES: Final = ("accuracy", "precision", "recall", "f1", "f1 macro", "roc_auc", "brier", "mcc", "mae", "rmse", "r2")


def ends(window: Window, kind: bool | str) -> dict[str, tuple[float, float]]:
    """Return both ends of each interval."""
    settings = FurtherPerformanceSettings.model_validate({"intervals": kind, "classes": 0})
    reference = Reference(MODEL.name, window.schema, window.pane, np.zeros(len(window.schema.numeric)), "", "")
    found: dict[str, list[float]] = {}
    for item in IntervalMonitor(settings, FIRST).evaluate(window, reference):
        attributes = dict(item.attributes)
        name = attributes[semconv.PERFORMANCE_METRIC]
        name += f" {attributes[semconv.PERFORMANCE_AVERAGE]}" if semconv.PERFORMANCE_AVERAGE in attributes else ""
        found.setdefault(name, []).append(item.value)
    return {name: (low, high) for name, (low, high) in found.items()}


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate streams of labels, and look at the sum of all of them after each pane."""
    streams, panes = (4, 8) if quick else (STREAMS, PANES)
    table: list[tuple[Any, ...]] = []
    for case, size in KINDS.items():
        progress(case)
        (task, draw), random = CASES[case], np.random.default_rng(7)
        schema = schema_of(task, random)
        truth = dict(figures(window_of(schema, draw(random, 200_000 if quick else 2_000_000))))
        missed: dict[tuple[str, bool | str], int] = {}
        width: dict[str, list[float]] = {}
        for _ in range(streams):
            ever, total = set[tuple[str, bool | str]](), None
            for _ in range(panes):
                pane = window_of(schema, draw(random, size))
                if total is None:
                    total = pane
                else:
                    total.pane.add(pane.pane)
                both = {kind: ends(total, kind) for kind in TWO}
                ever |= {
                    (name, kind)
                    for kind in TWO
                    for name, (low, high) in both[kind].items()
                    if name in truth and not low <= truth[name] <= high
                }
            for key in ever:
                missed[key] = missed.get(key, 0) + 1
            for name, (low, high) in both[TWO[1]].items():
                usual = both[TWO[0]][name]
                width.setdefault(name, []).append((high - low) / (usual[1] - usual[0]))
        table += [
            (case, name, *(1.0 - missed.get((name, kind), 0) / streams for kind in TWO), float(np.median(width[name])))
            for name in NAMES
            if name in truth and name in width
        ]
    return Findings(
        data=f"{streams} streams of {panes} panes of 20 labels, of {len(KINDS)} kinds; a look after each pane, from "
        f"{FIRST.min_labels} labels on",
        checks=[
            Check.at_least(
                "streams in which the interval of any time covers the truth at every look, the worst figure",
                min(row[3] for row in table),
                0.5 if quick else 0.95,
            )
        ],
        tables=[
            Table(
                "Share of streams in which the truth is covered at every look:",
                ("rows", "figure", "95 % of one look", "anytime", "times as wide at the end"),
                [(*row[:2], f"{row[2]:.1%}", f"{row[3]:.1%}", f"{row[4]:.2f}") for row in table],
            )
        ],
        versions=versions("numpy", "scipy"),
    )


TOPIC = Topic("Intervals that hold at every look", run, page="methods/intervals.md")
