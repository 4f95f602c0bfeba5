"""False alarms: promised and measured, with rows that are alike, small references and seasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verification.detectors import Alarms, per_pane
from verification.race import false_alarms
from verification.streams import NONE, Columns, Shift, mixed
from verification.topic import Check, Findings, Progress, Table, Topic, versions

PROMISES = (1e-2, 1e-3, 1e-4, 1e-5)
DAY = Shift("day", mixed(0.02, 1.0))
NIGHT = Shift("night", mixed(0.02, -1.0))
"""A day and a night that are each 0.8 % of the rows away from the reference (total variation): within the tolerance."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Panes without a change that would matter."""

    name: str
    rows: int
    reference: int = 50_000
    alike: int = 1
    seasons: Sequence[Shift] = (NONE,)


TRAPS = (
    Stream("20 rows", 20),
    Stream("1,000 rows, a reference of 5,000 rows", 1000, 5_000),
    Stream("1,000 rows in calls of 10 equal rows", 1000, alike=10),
    Stream("1,000 rows in calls of 50 equal rows", 1000, alike=50),
    Stream("5,000 rows in calls of 500 equal rows", 5000, alike=500),
    Stream("1,000 rows, day and night within the tolerance", 1000, seasons=(DAY,) * 30 + (NIGHT,) * 30),
)


def run(quick: bool, progress: Progress) -> Findings:
    """Count alarms of 1,000 features (quick: 20)."""
    features, many, some = (20, 30, 10) if quick else (1000, 2500, 1000)
    random = np.random.default_rng(4)
    measured: list[tuple[str, float, int, int]] = []
    for promise in PROMISES:
        progress(f"promise of {promise:g} a pane")
        measured.append(_measured(random, Stream("1,000 rows", 1000), features, many, promise))
    for stream in TRAPS:
        progress(stream.name)
        measured.append(_measured(random, stream, features, some, PROMISES[0]))
    panes = sum(feature_panes for *_, feature_panes in measured)
    return Findings(
        data=f"{features:,} simulated features, {panes:,} feature-panes without a change",
        checks=[
            Check.at_most(f"{name}: alarms per feature and pane", alarms / feature_panes, promise)
            for name, promise, alarms, feature_panes in measured
        ],
        tables=[
            Table(
                "One model of all features is watched by the processor's own monitor, with its default tolerance of "
                "0.01. The promise is for the whole model, and is divided here by its features.",
                ["panes", "promised per feature and pane", "alarms", "feature-panes"],
                [[name, f"{promise:g}", alarms, f"{total:,}"] for name, promise, alarms, total in measured],
            )
        ],
        versions=versions("numpy", "scipy"),
    )


def _measured(
    random: np.random.Generator, stream: Stream, features: int, panes: int, promise: float
) -> tuple[str, float, int, int]:
    columns = Columns.drawn(random, features, stream.reference)
    # The model's failures are one more column.
    alarms = Alarms(columns, per_pane(promise * (features + 1)), alike=stream.alike)
    counted = false_alarms(
        random, columns, {"alarms": alarms}, stream.rows, panes, alike=stream.alike, seasons=stream.seasons
    )
    return stream.name, promise, counted["alarms"], features * panes


TOPIC = Topic("Alarms: promised and measured false alarms", run, page="methods/e_detectors.md")
