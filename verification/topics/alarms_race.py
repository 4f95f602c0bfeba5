"""One table: false alarms and delays of the processor's alarms and of the usual rules, on the same streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from collector_processor.columns.batch import F64, Mask
from verification.detectors import Alarms
from verification.race import Delays, Detector, delays, false_alarms
from verification.rules import CHI2_P, DRIFTED, KS_P, PSI, THREE_SIGMA, Sliding
from verification.streams import SHIFTS, Columns
from verification.topic import Check, Findings, Progress, Table, Topic, versions

DAY = 1440
RATES = (1000, 20)
WINDOW = 60
FEATURES = 100
REFERENCE = 50_000
ALARMS = "**alarms, one false a year**"
RULES = (KS_P, CHI2_P, THREE_SIGMA, PSI, DRIFTED)
BEFORE = 120
"""Minutes without a change: windows are full, and what a rule's luck is shows."""


def run(quick: bool, progress: Progress) -> Findings:
    """Watch 100 features for a day without a change, then with each (quick: ten, an hour and a half, two changes)."""
    features, panes, most = (10, 90, 60) if quick else (FEATURES, DAY, DAY)
    random = np.random.default_rng(12)
    progress(f"{features} references")
    columns = Columns.drawn(random, features, REFERENCE, 100, peers=True)
    calm: dict[int, dict[str, int]] = {}
    for rows in RATES:
        progress(f"no change, {rows} rows a minute")
        calm[rows] = false_alarms(random, columns, _detectors(columns, Sliding), rows, panes)
    found: dict[tuple[str, int], dict[str, Delays]] = {}
    shifts = SHIFTS[2:4] if quick else SHIFTS
    for shift in shifts:
        for rows in RATES:
            progress(f"{shift.name}, {rows} rows a minute")
            found[shift.name, rows] = delays(
                random, columns, _detectors(columns, _InBreach), shift, rows, before=BEFORE, most=most
            )
    names = (ALARMS, *(rule.name for rule in RULES))
    return Findings(
        data=f"{features} simulated features, references of {REFERENCE:,} rows; the rules judge the last hour, every "
        "minute",
        checks=[
            Check.at_most(f"alarms in {panes:,} minutes without a change, {rows} rows a minute", calm[rows][ALARMS], 0)
            for rows in RATES
        ],
        tables=[
            Table(
                f"First line of each rate: alarms in {panes:,} minutes without a change, of {features} features "
                "together; one of a rule is a minute on which it begins to be in breach. Below: median minutes until a "
                "change is found, within a day. A rule that is in breach by chance already has found it in the first "
                "minute, so delays of rules with many alarms are those of luck.",
                ["rows a minute", "change", *names],
                [line for rows in RATES for line in _lines(rows, calm[rows], found, names)],
            )
        ],
        versions=versions("numpy", "scipy"),
    )


class _InBreach(Sliding):
    """A rule that raises an alarm on every pane on which it is in breach."""

    def step(self, counts: F64) -> Mask:
        """Add a pane and return which features are in breach."""
        super().step(counts)
        return self.in_breach


def _lines(
    rows: int, calm: Mapping[str, int], found: Mapping[tuple[str, int], Mapping[str, Delays]], names: Sequence[str]
) -> list[list[object]]:
    """Return the lines of one rate."""
    delayed = [
        [f"{rows:,}", change, *(of_change[name].words() for name in names)]
        for (change, rate), of_change in found.items()
        if rate == rows
    ]
    return [[f"{rows:,}", "none: alarms", *(f"{calm[name]:,}" for name in names)], *delayed]


def _detectors(columns: Columns, rule: type[Sliding]) -> Mapping[str, Detector]:
    """Return all of them, with nothing seen; the alarms have the threshold of a model of 1,000 features."""
    alarms = Alarms(columns, f"{(len(columns.edges) + 1) / 1000:g} per year")
    return {ALARMS: alarms, **{each.name: rule(each, columns, WINDOW) for each in RULES}}


TOPIC = Topic("Alarms beside the usual rules, on the same streams", run, page="methods/e_detectors.md")
