"""How often equal groups are in breach, how often a gap is found, and how often the alert rule fires on nothing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.fairness.counts import Counts, Favorable, counts
from collector_processor.fairness.figures import FIGURES
from collector_processor.fairness.verdict import Limits, Verdict, compared, judged
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from verification.topic import Check, Findings, Progress, Table, Topic, versions

Array = NDArray[Any]
PARITY = FIGURES["demographic_parity_difference"]
RATIO = FIGURES["demographic_parity_ratio"]
SIZES = (50, 200, 1000, 10_000)
GROUPS = (2, 5, 20, 50)
SHARE = 0.2
PROMISED = 0.05
HOLD = 10
"""Minutes for which the rule must be in breach."""
STREAMS = ((2, 100), (2, 300), (5, 200), (20, 200))
"""Groups, and rows of each in an hour."""


def of_selections(selected: F64, rows: F64) -> Counts:
    """Return groups of independent rows without labels."""
    none = np.zeros(len(rows))
    known = {
        "selected": selected,
        "predicted": rows,
        "weight": none + 1.0,
        "label_weight": none + 1.0,
        "doubt": none + 1.0,
    }
    return Counts(**{field.name: known.get(field.name, none) for field in fields(Counts)})


def verdicts(table: Counts, limits: Limits) -> tuple[Verdict | None, Verdict | None]:
    """Return the verdicts on the difference and the ratio of selection rates."""
    mixed = np.zeros(len(table.predicted), np.bool_)
    difference, ratio = (judged(each, compared(each, table, mixed, limits), limits) for each in (PARITY, RATIO))
    return difference, ratio


def rates_of_breach(groups: int, size: int, windows: int, random: np.random.Generator, share: float) -> list[float]:
    """Return the part of windows in breach: of the four-fifths rule alone, of the ratio, of either figure.

    A group has at least 50 rows, so that the limit is measured in all sizes; sizes differ by up to a factor of four.
    """
    limits = Limits(min_rows=50, min_outcomes=5)
    four_fifths = of_ratio = either = 0
    for window in range(windows):
        rows = np.full(groups, float(size))
        if window % 2:
            rows = np.round(rows * np.exp(random.uniform(0.0, np.log(4.0), groups))).astype(np.float64)
        table = of_selections(random.binomial(rows.astype(np.int64), share).astype(np.float64), rows)
        value = table.selected / table.predicted
        four_fifths += bool(value.min() < 0.8 * value.max())
        difference, ratio = verdicts(table, limits)
        of_ratio += bool(ratio and ratio.breached)
        either += bool((ratio and ratio.breached) or (difference and difference.breached))
    return [four_fifths / windows, of_ratio / windows, either / windows]


def found(groups: int, size: int, gap: float, windows: int, random: np.random.Generator) -> float:
    """Return the part of windows in which one group's gap is found, with the settings by default."""
    shares = np.full(groups, 0.5)
    shares[0] -= gap
    rows = np.full(groups, float(size))
    hits = 0
    for _ in range(windows):
        table = of_selections(random.binomial(size, shares).astype(np.float64), rows)
        hits += any(each is not None and each.breached for each in verdicts(table, Limits()))
    return hits / windows


def of_calls(alike: bool, calls: int, windows: int, random: np.random.Generator) -> float:
    """Return the part of windows in breach if equal groups come in calls of ten rows, counted by a real pane."""
    schema, breaches = _schema(), 0
    for _ in range(windows):
        per_call = random.random((calls, 10))
        if alike:
            per_call[:] = per_call[:, :1]
        said, group = (per_call < SHARE).ravel(), np.repeat(np.arange(calls) % 2, 10)
        pane = Pane.empty(schema)
        accumulate(pane, schema, _batch(said, group, np.repeat(np.arange(calls), 10)))
        groups = schema.groups.column_slots(0)[1:].astype(np.int64) + 1
        slot = schema.classes.find(0, "yes")
        assert slot is not None
        table = counts(schema, pane, groups, Favorable(slot))
        breaches += any(each is not None and each.breached for each in verdicts(table, Limits()))
    return breaches / windows


def _batch(said: Array, group: Array, call: Array) -> PredictionBatch:
    size = len(said)
    duration = np.where(np.append(True, call[1:] != call[:-1]), 0.01, np.nan)
    return PredictionBatch(
        ModelKey("m"), call.astype(np.int64), np.zeros((size, 2), np.uint64), np.ones(size), duration,
        features={"x": Column(np.zeros(size))}, prediction=Column(None, said.astype(np.int32), ("no", "yes")),
        segments={"sex": Column(None, group.astype(np.int32), ("female", "male"))},
    )  # fmt: skip


def _schema() -> Schema:
    rows = np.arange(200.0)
    return build_reference("m", _batch(rows % 2, rows % 4 // 2, rows), positive_class="yes", segments=["sex"]).schema


def alerts(groups: int, size: int, days: int, random: np.random.Generator) -> tuple[int, int]:
    """Return how often the rule fires on equal groups that are looked at every minute, and minutes in breach by alpha.

    A window is an hour, of which each minute brings a sixtieth of the rows.
    """
    minutes = days * 1440
    rows = random.poisson(size / 60.0, (minutes, groups)).astype(np.float64)
    selected = random.binomial(rows.astype(np.int64), SHARE).astype(np.float64)
    sums = [np.cumsum(each, axis=0) for each in (selected, rows)]
    fired = held = breaches = 0
    for minute in range(60, minutes):
        inside = [each[minute] - each[minute - 60] for each in sums]
        both = verdicts(of_selections(*inside), Limits())
        beyond = any(each is not None and each.excess > 1.0 for each in both)
        breaches += any(each is not None and each.breached for each in both)
        held = held + 1 if beyond else 0
        fired += held == HOLD
    return fired, breaches


def run(quick: bool, progress: Progress) -> Findings:
    """Measure breaches of equal groups, the power, calls, and the rule over days."""
    random = np.random.default_rng(0)
    windows, days = (20, 0) if quick else (2000, 20)
    equal: list[tuple[object, ...]] = []
    worst = worst_four = 0.0
    for share in (SHARE, 0.5):
        for groups in GROUPS:
            progress(f"{groups} equal groups, rate {share}")
            for size in SIZES:
                four, ratio, either = rates_of_breach(groups, size, windows, random, share)
                worst, worst_four = max(worst, either), max(worst_four, four)
                equal.append((share, groups, size, _percent(four), _percent(ratio), _percent(either)))
    power = [
        (groups, *(_percent(found(groups, size, 0.2, windows, random)) for size in (100, 200, 400, 1000)))
        for groups in (2, 5, 20, 50)
    ]
    two = found(2, 200, 0.2, 4 * windows, random)
    progress("calls of ten rows")
    in_calls = {alike: of_calls(alike, 600, 5 if quick else 500, random) for alike in (True, False)}
    fired = {each: alerts(*each, days, random) for each in STREAMS} if days else {}
    slack = 1.0 if quick else 0.0
    checks = [
        Check.at_most("equal groups in breach, worst of all sizes, %", 100 * worst, 100 * (PROMISED + slack)),
        Check.at_least("gap of .2 between two groups of 200 rows found, %", 100 * two, 0 if quick else 95.0),
        Check.at_most(
            "equal groups in breach, calls of ten equal rows, %", 100 * in_calls[True], 100 if quick else 5.0
        ),
        Check.at_most(
            "equal groups in breach, calls of ten independent rows, %", 100 * in_calls[False], 100 if quick else 5.0
        ),
    ]
    if fired:
        total = sum(each[0] for each in fired.values())
        checks.append(Check.at_most(f"alerts of the rule on equal groups in {4 * days} days", total, 4))
    return Findings(
        data=f"simulated, {windows:,} windows each; the four-fifths rule alone breaks in up to {_percent(worst_four)}",
        checks=checks,
        tables=[
            Table(
                "Windows of equal groups in breach. In half of them groups are of equal size, in half up to four "
                "times as large.",
                ("rate", "groups", "rows a group", "four-fifths alone", "ratio with limit", "ratio or difference"),
                equal,
            ),
            Table(
                "One group is selected in 30 %, the others in 50 %: windows in breach, by rows a group.",
                ("groups", "100", "200", "400", "1,000"),
                power,
            ),
            Table(
                f"The rule `fairness` on equal groups, looked at every minute for {days} days, windows of an hour.",
                ("groups", "rows a group and hour", "alerts", "minutes in breach by alpha, %"),
                [(*each, count[0], 100.0 * count[1] / (days * 1440)) for each, count in fired.items()],
            ),
        ][: 3 if fired else 2],
        versions=versions("numpy", "scipy"),
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


TOPIC = Topic("Fairness: equal groups, real gaps", run, page="methods/fairness.md")
