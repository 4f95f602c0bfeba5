"""What the usual rules cost: false alarms a day on features that do not change, and delays when they do."""

from __future__ import annotations

import numpy as np

from verification.race import delays, false_alarms
from verification.rules import BONFERRONI, CHI2_P, DRIFTED, KS, NOISE, PSI, RULES, Sliding
from verification.streams import SHIFTS, Columns
from verification.topic import Check, Findings, Progress, Table, Topic, versions

DAY = 1440
RATES = (1000, 20)
WINDOWS = (1, 60)
REFERENCE = 50_000
HONEST = (BONFERRONI, DRIFTED, PSI, KS)
"""Rules that ring rarely enough for a delay to mean something."""


def run(quick: bool, progress: Progress) -> Findings:
    """Watch features for a day (quick: ten for an hour and a half)."""
    features, panes = (10, 90) if quick else (1000, DAY)
    random = np.random.default_rng(1)
    progress(f"{features} references")
    columns = Columns.drawn(random, features, REFERENCE, 100, peers=True)
    names = {(rule.name, size): (rule, size) for rule in RULES for size in WINDOWS}
    rates: dict[int, dict[tuple[str, int], int]] = {}
    for rows in RATES:
        progress(f"no shift, {rows} rows a minute")
        runs = {f"{name}|{size}": Sliding(rule, columns, size) for (name, size), (rule, _) in names.items()}
        counted = false_alarms(random, columns, runs, rows, panes)
        rates[rows] = {key: counted[f"{key[0]}|{key[1]}"] for key in names}
    share = {key: count / (features * panes) for key, count in rates[1000].items()}
    lost: dict[int, list[list[object]]] = {rows: [] for rows in RATES}
    some = columns if quick else Columns.drawn(random, 100, REFERENCE, 100, peers=True)
    for shift in SHIFTS[2:4] if quick else SHIFTS:
        for rows in RATES:
            progress(f"{shift.name}, {rows} rows a minute")
            runs = {rule.name: Sliding(rule, some, 60) for rule in HONEST}
            found = delays(random, some, runs, shift, rows, most=60 if quick else DAY)
            lost[rows].append([shift.name, *(each.words() for each in found.values())])
    slack = 0.02 if quick else 0.002
    what = "share of single minutes that begin a breach, 1,000 rows each"
    return Findings(
        data=f"{features:,} simulated features, references of {REFERENCE:,} rows, {panes:,} minutes",
        checks=[
            Check.at_most(f"χ² p < .05: {what}", share[CHI2_P.name, 1], 0.05 + slack),
            Check.at_most(f"`drift.alpha` = .001 alone: {what}", share[NOISE.name, 1], 0.001 + slack),
        ],
        tables=[
            Table(
                f"Alarms in {panes:,} minutes without any change, summed over {features:,} features. An alarm is a "
                "minute on which a rule begins to be in breach.",
                ["rule", *(f"{size} min, {rows} rows/min" for rows in RATES for size in WINDOWS)],
                [
                    [rule.name, *(f"{rates[rows][rule.name, size]:,}" for rows in RATES for size in WINDOWS)]
                    for rule in RULES
                ],
            ),
            *(
                Table(
                    f"Median minutes until the rules that ring rarely find a change, {rows:,} rows a minute, window of "
                    "an hour, after an hour without a change, within a day:",
                    ["change", *(rule.name for rule in HONEST)],
                    lost[rows],
                )
                for rows in RATES
            ),
        ],
        versions=versions("numpy", "scipy"),
    )


TOPIC = Topic("The usual rules: false alarms and delays", run)
