"""How soon alarms find a change, beside the least that is possible, and whether they name it and its time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64
from verification.detectors import MINUTES_A_YEAR, Alarms
from verification.race import Delays
from verification.streams import NONE, SHIFTS, Columns, Shift, drawn
from verification.topic import Check, Findings, Progress, Table, Topic, versions

FEATURES = 100
RATES = (1000, 20)
REFERENCES = (50_000, 5_000)
NATS = math.log(1000 * MINUTES_A_YEAR)
"""The evidence that one false alarm a year over 1,000 features asks for."""
BEFORE = 60


@dataclass(frozen=True, slots=True)
class Found:
    """What the alarms of one shift were like."""

    shift: Shift
    rows: int
    size: float
    limit: float
    delays: Delays
    named: float
    dated: float


def run(quick: bool, progress: Progress) -> Findings:
    """Change all features of a model after an hour (quick: two shifts, ten features)."""
    random = np.random.default_rng(5)
    features, most = (10, 60) if quick else (FEATURES, 1440)
    tables: list[Table] = []
    found: list[Found] = []
    for reference in REFERENCES:
        of_rate = {rows: list[Found]() for rows in RATES}
        for shift in SHIFTS[2:4] if quick else SHIFTS:
            for rows in RATES:
                progress(f"{shift.name}, {rows} rows, reference of {reference}")
                columns = Columns.drawn(random, features, reference)
                of_rate[rows].append(_found(random, columns, shift, rows, most))
        tables.append(_table(reference, of_rate))
        found += [each for each_rate in of_rate.values() for each in each_rate] if reference == REFERENCES[0] else []
    return Findings(
        data=f"{features} simulated features, one false alarm a year over 1,000 features, tolerance 0.01",
        # Medians of ten features are too coarse to be held against a limit.
        checks=[*([] if quick else _delay_checks(found)), *_naming_checks(found)],
        tables=tables,
        versions=versions("numpy", "scipy"),
    )


def _found(random: np.random.Generator, columns: Columns, shift: Shift, rows: int, most: int) -> Found:
    features = len(columns.edges)
    calm, moved = columns.chances(NONE), columns.chances(shift)
    # The threshold of 1,000 features: each has the same share of the model's false alarms.
    alarms = Alarms(columns, f"{(features + 1) / 1000:g} per year")
    first, named, dated = np.full(features, np.nan), 0, 0
    for number in range(BEFORE + most):
        raised = alarms.step(drawn(random, calm if number < BEFORE else moved, rows))
        if number < BEFORE or not raised.any():
            continue
        delay = number - BEFORE + 1
        changes = alarms.changes()
        for feature in np.flatnonzero(raised & np.isnan(first)).tolist():
            change, began = changes[feature]
            first[feature] = delay
            named += change in shift.called
            dated += abs(began - BEFORE) <= max(2.0, 0.2 * delay)
        if not np.isnan(first).any():
            break
    of_those = max(int(np.count_nonzero(~np.isnan(first))), 1)
    return Found(
        shift, rows, float(np.abs(moved - calm).sum(axis=1).mean() / 2.0), _limit(calm, moved, rows),
        Delays(first[~np.isnan(first)], features), named / of_those, dated / of_those,
    )  # fmt: skip


def _limit(calm: F64, moved: F64, rows: int) -> float:
    """Return the panes that a test needs that knows both distributions: nats / (rows · Kullback–Leibler)."""
    divergence = (moved * np.log(moved / calm)).sum(axis=1).mean()
    return NATS / (rows * float(divergence))


def _delay_checks(found: list[Found]) -> list[Check]:
    checks: list[Check] = []
    for low, high, factor in ((0.1, 1.0, 1.5), (0.04, 0.1, 2.5)):
        those = [each for each in found if low <= each.size < high]
        if not those:
            continue
        over = [(each.delays.median - 1.0) / each.limit for each in those]
        worst = those[int(np.argmax(np.nan_to_num(over, nan=np.inf)))]
        checks.append(
            Check.at_most(
                f"median delay less one minute, in information limits, of changes of at least {low:g} of the rows "
                f"(worst: {worst.shift.name}, {worst.rows} rows)",
                max(over) if all(value == value for value in over) else math.nan,
                factor,
            )
        )
    return checks


def _naming_checks(found: list[Found]) -> list[Check]:
    alarms = [len(each.delays.panes) for each in found]
    return [
        Check.at_least("share of alarms that name the change", _mean([each.named for each in found], alarms), 0.95),
        Check.at_least(
            "share of alarms that date it within 2 minutes or 20 % of the delay",
            _mean([each.dated for each in found], alarms),
            0.8,
        ),
    ]


def _mean(shares: list[float], weights: list[int]) -> float:
    return float(np.average(shares, weights=weights)) if sum(weights) else math.nan


def _table(reference: int, of_rate: dict[int, list[Found]]) -> Table:
    rows = [
        [
            each.shift.name,
            f"{each.size:.3f}",
            *(
                cell
                for one in (of_rate[rate][place] for rate in RATES)
                for cell in (f"{max(one.limit, 1.0):.0f}", one.delays.words(), f"{one.named:.0%}", f"{one.dated:.0%}")
            ),
        ]
        for place, each in enumerate(of_rate[RATES[0]])
    ]
    return Table(
        f"Minutes until an alarm, median, with a reference of {reference:,} rows. *Least*: what a test needs that "
        "knows both distributions. *Named*, *dated*: alarms that say what changed, and when within 2 minutes or 20 % "
        "of the delay.",
        ["change", "rows moved", *(f"{name}, {rate} rows/min" for rate in RATES for name in COLUMNS)],
        rows,
    )


COLUMNS = ("least", "alarm", "named", "dated")
TOPIC = Topic("Alarms: delays, names and times of changes", run, page="methods/e_detectors.md")
