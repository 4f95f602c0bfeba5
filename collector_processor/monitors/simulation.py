"""Traffic that is drawn from a reference, unchanged or changed in one column: how alarms keep their promise on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
from numpy.random import Generator
from scipy.special import ndtri, pdtrc

from collector_processor.columns.batch import F64, I32, I64, ModelKey
from collector_processor.monitors.alarms import AlarmMonitor
from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import coarse
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.calls import Calls
from collector_processor.statistics.vectors import grown
from collector_processor.window.closed import Window

MINUTE_NS: Final = 60 * 10**9
HOUR: Final = 60
YEAR_HOURS: Final = 8760
TOP: Final = 10
"""Categories that are drawn one by one; the others are drawn together."""
BEFORE: Final = 60
"""Minutes without a change before one begins."""
LONGEST: Final = 1440
"""Minutes after which a change is not looked for any longer."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Shift:
    """A change of one column: the mean or the spread of its normal score, missing cells, or a new category."""

    name: str
    texts: bool
    mean: float = 0.0
    spread: float = 1.0
    missing: float = 0.0
    new: float = 0.0


SHIFTS: Final = (
    Shift("mean + 0.1 standard deviations", texts=False, mean=0.1),
    Shift("mean + 0.25 standard deviations", texts=False, mean=0.25),
    Shift("mean + 1 standard deviation", texts=False, mean=1.0),
    Shift("spread × 1.5", texts=False, spread=1.5),
    Shift("5 % more cells missing in a number", texts=False, missing=0.05),
    Shift("5 % more cells missing in a category", texts=True, missing=0.05),
    Shift("2 % of rows in a new category", texts=True, new=0.02),
)


@dataclass(frozen=True, slots=True)
class Delay:
    """How long one change took to raise an alarm; ``minutes`` of the runs in which it did within a day."""

    shift: Shift
    runs: int
    minutes: tuple[int, ...]

    @property
    def median(self) -> float | None:
        """The median of all runs; None if it is more than a day."""
        missing = self.runs - len(self.minutes)
        found = median([*self.minutes, *[float("inf")] * missing])
        return None if found == float("inf") else float(found)


class Simulated:
    """Panes of independent rows as the reference has them.

    The reference is a sample, so each stream has other shares: those that could have given the reference's counts.
    Cells are the bins and categories, then the missing ones.
    """

    def __init__(self, reference: Reference, rows: float, random: Generator) -> None:
        self._random, self._rows, self._model = random, rows, ModelKey(reference.model_name, "")
        self._schema = reference.schema.fork()
        self._pane = Pane.empty(self._schema)
        pane, table, first = reference.pane, reference.schema.categories, len(reference.schema.numeric)
        absent = pane.missing + pane.wrong_type
        self._slots = [_slots(table.column_slots(column), pane.category_counts) for column in range(len(table.columns))]
        self._cells = [self._truth(pane.counts[column], absent[column]) for column in range(first)]
        for column, slots in enumerate(self._slots):
            counts = pane.category_counts[table.column_slots(column)]
            top = pane.category_counts[slots[:-1]]
            rest = np.append(top, counts.sum() - top.sum())
            self._cells.append(self._truth(rest, absent[first + column]))
        rows_of, failed = pane.group_rows[0].tolist()
        self._failed = float(random.beta(failed, rows_of - failed)) if 0.0 < failed < rows_of else 0.0
        self._now = 0

    def _truth(self, counts: F64, absent: float) -> F64:
        """Return shares that could have given these counts; a cell without any stays empty."""
        drawn = self._random.standard_gamma(np.maximum(np.append(counts, absent), 0.0))
        return drawn / drawn.sum() if drawn.sum() > 0.0 else drawn

    def columns(self, *, texts: bool) -> list[int]:
        """Return the places of numeric or of categorical features, among all columns, that have more than one cell."""
        first = len(self._schema.numeric)
        return [
            place
            for place, spec in enumerate(self._schema.columns)
            if spec.role == "feature" and (place >= first) == texts and np.count_nonzero(self._cells[place][:-1]) > 1
        ]

    def change(self, shift: Shift, place: int) -> None:
        """Change a column from the next pane on."""
        cells = self._cells[place].copy()
        if shift.mean or shift.spread != 1.0:
            total = cells[:-1].sum()
            cells[:-1] *= np.exp(_exponent(cells[:-1] / total, shift))
            cells[:-1] *= total / cells[:-1].sum()
        cells *= 1.0 - shift.missing - shift.new
        cells[-1] += shift.missing
        if shift.new:
            first = len(self._schema.numeric)
            slots = self._slots[place - first]
            # The slot of what has no slot counts as new.
            self._slots[place - first] = np.append(slots, self._schema.categories.column_slots(place - first)[0])
            cells = np.insert(cells, len(cells) - 1, shift.new)
        self._cells[place] = cells

    def panes(self, count: int, minutes: int) -> Iterator[Window]:
        """Yield that many panes, one after the other; each changes when the next one comes."""
        random, pane = self._random, self._pane
        targets = [self._target(place) for place in range(len(self._cells))]
        calls = pane.further[Calls]
        for _ in range(count):
            rows = int(random.poisson(self._rows * minutes))
            for place, (values, at, shares) in enumerate(targets):
                counts = random.multinomial(rows, shares)
                values[at] = counts[:-1]
                pane.missing[place] = counts[-1]
            pane.rows[:] = rows
            pane.group_rows[0] = rows, random.binomial(rows, self._failed)
            calls.by_row[0] = calls.by_call[0] = rows
            end = self._now + minutes * MINUTE_NS
            yield Window(self._model, self._now, end, self._schema, pane)
            self._now = end

    def _target(self, place: int) -> tuple[F64, I64, F64]:
        """Return the vector of a pane that holds a column's cells, at which places, and the shares of these cells."""
        schema, pane, cells, first = self._schema, self._pane, self._cells[place], len(self._schema.numeric)
        if place >= first:
            pane.category_counts = grown(pane.category_counts, (len(schema.categories),))
            return pane.category_counts, self._slots[place - first], cells
        edges = schema.drift_edges[place]
        bins = coarse(cells[None, :-1], edges[None, :])[0]
        used = np.flatnonzero(bins > 0.0)
        # The bins between two coarse edges count as the first of them.
        at = np.append(0, edges + 1)[used].astype(np.int64)
        pane.counts[place] = 0.0
        shares = np.append(bins[used], cells[-1])
        return pane.counts[place], at, shares / max(shares.sum(), 1e-300)


def _slots(slots: I32, counts: F64) -> I64:
    """Return the slots of the most frequent categories, and one for all others."""
    ranked = slots[1:][np.argsort(-counts[slots[1:]], kind="stable")]
    return np.append(ranked[:TOP], ranked[TOP] if len(ranked) > TOP else slots[0]).astype(np.int64)


def _exponent(shares: F64, shift: Shift) -> F64:
    """Return what turns the normal scores of bins into those of another mean and spread, before it is normalized."""
    middle = np.clip(np.cumsum(shares) - shares / 2.0, 1e-9, 1.0 - 1e-9)
    score = np.where(shares > 0.0, ndtri(middle), 0.0)
    return shift.mean * score + score**2 * (1.0 - shift.spread**-2) / 2.0


def false_alarms(
    monitor: AlarmMonitor, reference: Reference, rows: float, years: int, random: Generator, progress: Progress
) -> int:
    """Return how many alarms columns raised in years of hours without a change, each year with another truth."""
    alarms = 0
    for year in range(years):
        state = monitor.begin(reference)
        for hour, pane in enumerate(Simulated(reference, rows, random).panes(YEAR_HOURS, HOUR)):
            before = state.left > 0.0
            state, _ = monitor.step(pane, reference, state)
            alarms += int(np.count_nonzero((state.left > 0.0) & ~before))
            if hour % 100 == 0:
                progress(year * YEAR_HOURS + hour, years * YEAR_HOURS, "years without a change")
    return alarms


def delays(
    monitor: AlarmMonitor, reference: Reference, rows: float, runs: int, random: Generator, progress: Progress
) -> list[Delay]:
    """Return how long each change took, in panes of a minute; each run changes another feature, if there are others."""
    found: list[Delay] = []
    for number, shift in enumerate(SHIFTS):
        minutes: list[int] = []
        columns = Simulated(reference, rows, random).columns(texts=shift.texts)
        if not columns:
            continue
        for run in range(runs):
            progress(number * runs + run, len(SHIFTS) * runs, "changes")
            place = columns[int(random.integers(len(columns)))]
            took = _delay(monitor, reference, Simulated(reference, rows, random), shift, place)
            if took is not None:
                minutes.append(took)
        found.append(Delay(shift, runs, tuple(minutes)))
    return found


def _delay(monitor: AlarmMonitor, reference: Reference, stream: Simulated, shift: Shift, place: int) -> int | None:
    """Return the minutes from the change of a column to its alarm; None if it takes longer than a day."""
    state = monitor.begin(reference)
    for pane in stream.panes(BEFORE, 1):
        state, _ = monitor.step(pane, reference, state)
    stream.change(shift, place)
    for minute, pane in enumerate(stream.panes(LONGEST, 1), 1):
        state, _ = monitor.step(pane, reference, state)
        if state.left[place] > 0.0:
            return minute
    return None


def kept(promised: float, measured: int) -> bool:
    """Return whether chance explains the measured number of false alarms: a Poisson number whose mean is the promised
    one is as large or larger in at least 1 % of cases.

    >>> kept(3.0, 8), kept(3.0, 9), kept(0.1, 0)
    (True, False, True)
    """
    return measured == 0 or float(pdtrc(measured - 1, promised)) >= 0.01
