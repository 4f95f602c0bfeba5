"""A harmful shift before the labels: alarms on real flights whose mix changes, and on calls of equal rows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import F64, I64
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.fold import Fold
from collector_processor.monitors.harm import HarmMonitor
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.harm import HarmSums, alike, harm_sums
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions
from verification.topics.concept import MINUTE, MODEL, POPULATIONS, prepared

PANE, BEFORE, ROWS = 100, 5_000, 20_000
TOLERANCE: Final = EstimateSettings().tolerance
CLEAR: Final = 0.01
"""A drop of accuracy that is this much more than the tolerance must be found."""
CALLS: Final = (1, 10, 100, 500)
DAY_PANES: Final = 24
PANES: Final = 20_000
PROMISE: Final = "1 per week"


def harm_of(expected: F64, predicted: F64) -> F64:
    """Return the probability that each prediction is wrong."""
    return np.where(predicted > 0.0, 1.0 - expected, expected)


def stepped(fold: Fold, reference: Reference, sums: Pane, g: F64, calls: I64 | None, number: int, minutes: int) -> bool:
    """Step over a pane of rows and return whether an alarm stays."""
    part = sums.further[HarmSums]
    part.sums[:] = harm_sums(g, np.ones(len(g)))
    part.calls[:] = alike(g, calls)
    width = minutes * MINUTE
    pane = Window(MODEL, number * width, (number + 1) * width, reference.schema, sums)
    return any(item.name == semconv.ESTIMATE_HARM_ALARM and item.value == 1.0 for item in fold.step(pane, reference))


def first_alarm(reference: Reference, g: F64) -> int:
    """Return after how many rows the first alarm came; −1 for none."""
    fold, sums = Fold.begun(HarmMonitor(EstimateSettings()), reference), Pane.empty(reference.schema)
    for number, start in enumerate(range(0, len(g), PANE)):
        if stepped(fold, reference, sums, g[start : start + PANE], None, number, 1):
            return start + PANE
    return -1


def false_alarms(reference: Reference, g: F64, size: int, panes: int, random: Generator) -> int:
    """Return the false alarms in panes of an hour with 500 rows, in calls of ``size`` equal rows."""
    settings = EstimateSettings.model_validate({"false_alarms": PROMISE})
    fold, sums = Fold.begun(HarmMonitor(settings), reference), Pane.empty(reference.schema)
    calls = None if size == 1 else np.arange(500) // size
    raised, staying = 0, False
    for number in range(panes):
        rows = np.repeat(random.choice(g, 500 // size), size)
        now = stepped(fold, reference, sums, rows, calls, number, 60)
        raised, staying = raised + (now and not staying), now
    return raised


def run(quick: bool, progress: Progress) -> Findings:
    """Count alarms of streams that change, and of streams that do not."""
    progress("a model on flights")
    rows = prepared(16 if quick else 1)
    g = harm_of(rows.expected, rows.predicted)
    every, count = np.arange(len(g)), 1 if quick else 50
    right = 1.0 - (rows.truth != rows.predicted)
    harmful, harmless, late = list[bool](), list[bool](), 0
    table: list[tuple[Any, ...]] = []
    for name, mask_of in POPULATIONS.items():
        progress(name)
        kind, random = np.flatnonzero(mask_of(rows.features).to_numpy()), np.random.default_rng(1)
        change = float(right[kind].mean() - right.mean())
        found = np.array(
            [
                first_alarm(
                    rows.reference,
                    g[np.concatenate((random.choice(every, BEFORE), random.choice(kind, ROWS - BEFORE)))],
                )
                for _ in range(count)
            ]
        )
        early, alarms = int(((found >= 0) & (found <= BEFORE)).sum()), found[found > BEFORE] - BEFORE
        late += early
        if change <= -TOLERANCE - CLEAR:
            harmful += [True] * len(alarms) + [False] * (count - len(alarms))
        elif change > -TOLERANCE:
            harmless += [True] * (len(alarms) + early) + [False] * (count - len(alarms) - early)
        expected = float(g.mean() - g[kind].mean())
        table.append(
            (name, f"{change:+.1%}", f"{expected:+.1%}", f"{len(alarms) / count:.0%}",
             float(np.median(alarms)) if len(alarms) else "–")
        )  # fmt: skip
    panes = 200 if quick else PANES
    promised = panes / (7 * DAY_PANES)
    rates: list[tuple[Any, ...]] = []
    for size in CALLS:
        progress(f"calls of {size} equal rows")
        rates.append((size, promised, false_alarms(rows.reference, g, size, panes, np.random.default_rng(2))))
    return Findings(
        data=f"{len(g):,} flights that neither the model nor the reference has seen; streams of {ROWS:,}, in panes of "
        f"{PANE} rows and a minute, of which all come before the first {BEFORE:,} and those of a kind after; one false "
        "alarm a year",
        checks=[
            Check.at_least("share of streams with an alarm, accuracy at least 3 points lower", _share(harmful), 0.95),
            Check.at_most("share of streams with an alarm, accuracy less than 2 points lower", _share(harmless), 0.0),
            Check.equal("alarms before the change", late, 0),
            Check.at_most(
                f"false alarms in {panes:,} hours at {PROMISE}, the worst size of calls",
                max(float(row[2]) for row in rates),
                promised,
            ),
        ],
        tables=[
            Table(
                "Streams with an alarm; the change of accuracy comes from labels that the alarm did not see:",
                ("population after the change", "accuracy", "expected accuracy", "alarms", "rows until then (median)"),
                table,
            ),
            Table("No change, in calls of equal rows:", ("rows of a call", "promised", "false alarms"), rates),
        ],
        versions=versions("numpy", "scikit-learn", "lightgbm"),
    )


def _share(raised: list[bool]) -> float:
    return float(np.mean(raised)) if raised else float("nan")


TOPIC = Topic("A harmful shift before the labels", run, page="methods/harmful_shift.md")
