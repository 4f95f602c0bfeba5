"""Alarms that keep a promise: whether a column has changed at any time, with a promised number of false alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
from pydantic import Field, field_validator

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.detectors.dependence import Tempering, alike_share, tempering
from collector_processor.detectors.promise import MINUTE_NS, log_threshold
from collector_processor.detectors.shiryaev_roberts import selected
from collector_processor.monitors.alarm_cells import Block, alarm_attributes
from collector_processor.monitors.alarm_figures import has_latency, lacks_caps
from collector_processor.monitors.alarm_plan import Plan, Planned
from collector_processor.monitors.alarm_state import LOWEST, PER_PAIR, U16, AlarmState, ages, coded, tables, times
from collector_processor.monitors.attributes import COLUMN_KEYS, MODEL_KEYS, Attributes, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.drift_words import MOST, cut, percent
from collector_processor.monitors.independence import expected_alike
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration, Rate, alarms_per_minute
from collector_processor.statistics.latency import LATENCY
from collector_processor.statistics.parts.calls import SIZES, Calls
from collector_processor.window.closed import Window
from otel_ml import semconv

CHANGE_KEYS = (*COLUMN_KEYS, semconv.DRIFT_CHANGE)
EVIDENCE = Metric(
    semconv.DRIFT_EVIDENCE,
    semconv.UNIT_EVIDENCE,
    "evidence that the column has changed at some time, as a power of ten: an alarm is raised above "
    f"`{semconv.DRIFT_EVIDENCE_THRESHOLD}`",
    COLUMN_KEYS,
)
THRESHOLD = Metric(
    semconv.DRIFT_EVIDENCE_THRESHOLD,
    semconv.UNIT_EVIDENCE,
    "evidence at which a column raises an alarm, by the promised number of false alarms and the number of columns",
    MODEL_KEYS,
)
ALARM = Metric(
    semconv.DRIFT_ALARM,
    semconv.UNIT_BREACH,
    "1 from the alarm of a column until it has looked like the reference for three times as long as the alarm took; "
    "else 0",
    COLUMN_KEYS,
)
CHANGED_AT = Metric(
    semconv.DRIFT_CHANGED_AT,
    semconv.UNIT_SECOND,
    "when the change that an alarm is about began, as Unix time; absent without an alarm",
    CHANGE_KEYS,
)
ALARM_SHARE = Metric(
    semconv.DRIFT_ALARM_SHARE,
    semconv.UNIT_RATIO,
    "share of the evaluated features that have changed: those with an alarm, and those that are selected with them "
    "at the same error over patience",
    MODEL_KEYS,
)
HOLD: Final = 3.0
"""An alarm stays for this many times as long as it took to find the change, unless it is raised again."""
LEAST_HOLD: Final = 10
"""Panes for which an alarm stays at least."""
LEAST_CELLS: Final = 0.5
"""A column with fewer cells in a pane takes no step: retracted labels leave rounding errors."""
RECENT_PAIRS: Final = 512.0
"""Pairs of rows after which older ones are forgotten."""
_LN10: Final = float(np.log(10.0))


class AlarmSettings(Settings):
    """How many false alarms a model may raise, and what counts as no change."""

    false_alarms: Rate = Field(
        default="1 per year",
        description="false alarms of one model version, whatever its number of columns and however often one looks: "
        "`N per day`, `week`, `month` or `year`; 0 raises no alarms",
    )
    tolerance: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        description="share of the rows that may be elsewhere than in the reference without an alarm, as over a day",
    )
    latency_objective: Duration | None = Field(
        default=None,
        description="calls that take longer are counted, and an alarm says that there are more of them than in the "
        "reference. That must be a learned one: one built from a table has no durations. When absent, there is no such "
        "alarm",
    )
    dependent_rows: int = Field(
        default=1,
        ge=1,
        description="rows that may be alike although they come in several calls, such as those of one customer; rows "
        "of one call are measured",
    )

    @field_validator("latency_objective")
    @classmethod
    def _is_a_duration_of_calls(cls, value: int | None) -> int | None:
        if value is not None and not LATENCY.low_s <= value / 1e9 < LATENCY.high_s:
            raise ValueError("must be at least 1us and less than 1000s: bins of durations end there")
        return value


@dataclass(frozen=True, slots=True)
class _Found:
    """One pane's results for all columns: whether they took a step, and their evidence.

    Of columns whose evidence is enough for an alarm, also the strongest alternative and the age of its change.
    """

    needed: float
    stepped: Mask
    known: Mask
    evidence: F64
    best: I64
    age: F64

    @classmethod
    def nothing(cls, columns: int, needed: float) -> _Found:
        none = np.zeros(columns, np.bool_)
        return cls(needed, none, none.copy(), np.full(columns, -np.inf), np.zeros(columns, np.int64), np.zeros(columns))


class AlarmMonitor:
    """Sequential alarms of every column: features, predictions, scores, labels; and of figures of a model.

    The figures are the share of failed predictions, the squared error of the scores of labeled rows, the share of slow
    calls if there is an objective, and the mean absolute attribution of each feature (:mod:`.alarm_figures`).

    Every pane adds evidence for each of about 45 ways in which a column may change (:mod:`.dictionary`), and a column
    raises an alarm when the mean of them reaches the number of columns divided by the false alarms per minute
    (:mod:`.shiryaev_roberts`). Then it restarts, and the alarm stays for three times as long as the change took to
    find: a change that lasts raises it again before. See ``docs/methods/e_detectors.md``.

    The reference's error, rows that are alike within a call, and changes within the tolerance do not count. There is no
    least number of rows. A column whose reference has too few rows for any alternative to ever gain is left out.
    """

    name: ClassVar[str] = "alarms"
    metrics: ClassVar[Sequence[Metric]] = (EVIDENCE, THRESHOLD, ALARM, CHANGED_AT, ALARM_SHARE)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"drift": AlarmSettings}
    state_version: ClassVar[int] = 2

    def __init__(self, settings: AlarmSettings) -> None:
        # Not validated again: a duration is read from a text, and is a number since then.
        given = {name: getattr(settings, name) for name in AlarmSettings.model_fields}
        self.settings = AlarmSettings.model_construct(**given)
        self._rate = alarms_per_minute(settings.false_alarms)
        self._plan = Planned(settings.tolerance, settings.latency_objective)

    @property
    def raises(self) -> bool:
        """Whether it raises alarms at all."""
        return self._rate > 0.0

    def begin(self, reference: Reference) -> AlarmState:
        """Return the state before the first pane."""
        plan = reference.prepared(self._plan)
        alternatives = sum(block.dictionary.valid.size for block in plan.blocks)
        columns = plan.columns
        return AlarmState(
            evidence=np.zeros(alternatives, np.uint16),
            since=np.zeros(alternatives, np.uint16),
            pairs=np.zeros(columns, np.uint16),
            alike=np.zeros(columns, np.int16),
            left=np.zeros(columns, np.float32),
            change=np.zeros(columns, np.uint8),
            changed_s=np.zeros(columns, np.uint32),
            calls=np.zeros((2, len(SIZES)), np.float32),
            unit_ns=np.array(0, np.int64),
        )

    def step(self, pane: Window, reference: Reference, state: AlarmState) -> tuple[AlarmState, list[Measurement]]:
        """Add the pane's evidence; raise and end alarms."""
        if not self.raises:
            return state, []
        plan = reference.prepared(self._plan)
        width = max(pane.end_ns - pane.start_ns, 1)
        state = self._dependence(plan, pane, reference, state, width)
        now = pane.start_ns // int(state.unit_ns)
        by_column = self._temperings(plan, pane, state)
        found = _Found.nothing(plan.columns, log_threshold(self._rate, plan.columns))
        evidence, since = np.empty_like(state.evidence), np.empty_like(state.since)
        first, place = 0, 0
        for block in plan.blocks:
            shape = block.dictionary.valid.shape
            columns, codes = slice(first, first + shape[0]), slice(place, place + shape[0] * shape[1])
            before = state.evidence[codes].reshape(shape)
            age = ages(state.since[codes], now).reshape(shape)
            after, age = _stepped(block, pane, by_column, columns, before, age, width / MINUTE_NS, found)
            evidence[codes], since[codes] = after.ravel(), times(age, now).ravel()
            first, place = columns.stop, codes.stop
        return self._judged(plan, pane, replace(state, evidence=evidence, since=since), found, width)

    def figures(self, reference: Reference) -> tuple[str, ...]:
        """Return the roles of the figures that are watched beside the columns."""
        return reference.prepared(self._plan).figures

    def left_out(self, reference: Reference) -> Iterator[str]:
        """Yield what is asked for and cannot be watched."""
        if self.settings.latency_objective is not None and not has_latency(reference):
            yield "its reference has too few durations of calls: no alarm says that more of them are slow"
        if self.raises and lacks_caps(reference):
            yield (
                "its reference does not say how large attributions get, so none of their means has an alarm: build it "
                "again, or run `otel-ml relearn`"
            )

    def _dependence(self, plan: Plan, pane: Window, reference: Reference, state: AlarmState, width: int) -> AlarmState:
        """Return the state with the pane's calls."""
        unit_ns = state.unit_ns if state.unit_ns > 0 else np.array(width, np.int64)
        calls = pane.pane.further[Calls]
        recent = np.stack((calls.by_row, calls.by_call)) + 0.99 * state.calls
        pairs, alike = state.pairs, state.alike
        if calls.pairs.any():
            chance = expected_alike(pane.pane, pane.schema, reference)
            seen, extra = state.pairs / PER_PAIR, state.alike / PER_PAIR
            seen[: len(chance)] += calls.pairs
            extra[: len(chance)] += calls.alike - calls.pairs * chance
            kept = PER_PAIR * np.minimum(1.0, RECENT_PAIRS / np.maximum(seen, 1.0))
            pairs, alike = np.rint(seen * kept).astype(np.uint16), np.rint(extra * kept).astype(np.int16)
        return replace(
            state,
            pairs=pairs,
            alike=alike,
            calls=recent.astype(np.float32),
            unit_ns=unit_ns,
        )

    def _temperings(self, plan: Plan, pane: Window, state: AlarmState) -> Tempering:
        """Return the tempering of each column."""
        calls, weight = pane.pane.further[Calls], float(pane.pane.rows[0])
        least = self.settings.dependent_rows * (weight / max(float(pane.pane.rows[1]), 1.0))
        pairs = state.pairs / PER_PAIR
        share = alike_share(pairs, state.alike / PER_PAIR + pairs * plan.chance, plan.chance)
        share = np.where(np.isnan(plan.shares), share, plan.shares)
        of_pane = _tempered(calls.by_row, calls.by_call, least, share)
        recent = state.calls.astype(np.float64)
        total = float(recent[0].sum())
        labels = float(pane.pane.outcomes.labels[0]) if len(pane.pane.outcomes.labels) else 0.0
        recent *= max(labels, 0.0) / total if total > 0.0 else 0.0
        of_labels = _tempered(recent[0], recent[1], least, share)
        return Tempering(
            np.where(plan.of_labels, of_labels.divisor, of_pane.divisor),
            np.where(plan.of_labels, of_labels.excess, of_pane.excess),
        )

    def _judged(
        self, plan: Plan, pane: Window, state: AlarmState, found: _Found, width: int
    ) -> tuple[AlarmState, list[Measurement]]:
        """Return the state after alarms were raised and ended, and the measurements."""
        raised = found.stepped & (found.evidence >= found.needed)
        minutes = width / MINUTE_NS
        unit_ns = int(state.unit_ns)
        left = np.maximum(state.left - np.where(found.stepped, minutes, 0.0), 0.0)
        started = pane.start_ns - (found.age * unit_ns)
        took = (pane.end_ns - started) / MINUTE_NS
        going = left > 0.0
        left = np.where(raised, np.maximum(HOLD * took, LEAST_HOLD * minutes), left)
        change = np.where(raised, found.best, state.change).astype(np.uint8)
        seconds = np.clip(started / 1e9, 0.0, 2.0**32 - 1.0)
        changed_s = np.where(raised & ~going, seconds, state.changed_s).astype(np.uint32)
        evidence = state.evidence
        if raised.any():
            evidence = evidence.copy()
            evidence[_alternatives(plan, raised)] = 0
        after = replace(state, evidence=evidence, left=left.astype(np.float32), change=change, changed_s=changed_s)
        return after, list(self._measured(plan, pane, after, found))

    def _measured(self, plan: Plan, pane: Window, state: AlarmState, found: _Found) -> Iterator[Measurement]:
        attributes, end_ns = alarm_attributes(pane, plan.figures, plan.features), pane.end_ns
        shown = found.stepped & found.known
        alarmed = (state.left > 0.0) & found.known
        values = (np.maximum(found.evidence, LOWEST) / _LN10).tolist()
        yield Measurement(THRESHOLD.name, found.needed / _LN10, THRESHOLD.unit, model_attributes(pane.model), end_ns)
        going = set(np.flatnonzero(alarmed).tolist())
        for column in np.flatnonzero(shown).tolist():
            keys = attributes[column]
            yield Measurement(EVIDENCE.name, values[column], EVIDENCE.unit, keys, end_ns)
            if column in going:
                words = self._words(plan, pane, state, column)
                yield Measurement(ALARM.name, 1.0, ALARM.unit, keys, end_ns, words=words)
                yield self._changed_at(plan, pane, state, column, keys)
            else:
                yield Measurement(ALARM.name, 0.0, ALARM.unit, keys, end_ns)
        yield from self._share(plan, pane, state, found, alarmed)

    def _share(
        self, plan: Plan, pane: Window, state: AlarmState, found: _Found, alarmed: Mask
    ) -> Iterator[Measurement]:
        """Yield the share of features that have changed, with their names."""
        features = plan.of_features & found.known
        if not (features & found.stepped).any():
            return
        evidence = np.where(alarmed, np.inf, np.where(found.known, found.evidence, -np.inf))
        chosen = features & (selected(evidence, self._rate) | alarmed)
        share = float(np.count_nonzero(chosen) / np.count_nonzero(features))
        words = ""
        if chosen.any():
            order = [int(column) for column in np.argsort(-evidence, kind="stable") if chosen[column]]
            named = [self._named(plan, pane, state, column) for column in order[:MOST]]
            rest = f" and {len(order) - MOST} more" if len(order) > MOST else ""
            words = f"{percent(share)} of features changed: {', '.join(named)}{rest}"
        yield Measurement(
            ALARM_SHARE.name, share, ALARM_SHARE.unit, model_attributes(pane.model), pane.end_ns, words=words
        )

    def _named(self, plan: Plan, pane: Window, state: AlarmState, column: int) -> str:
        name = cut(pane.schema.columns[column].name)
        return f"{name} ({self._words(plan, pane, state, column)})" if state.left[column] > 0.0 else name

    def _changed_at(self, plan: Plan, pane: Window, state: AlarmState, column: int, keys: Attributes) -> Measurement:
        block, row = _block_of(plan, column)
        shape, cell = block.dictionary.shape_of(int(state.change[column]))
        gained = shape == "gain"
        change = shape if cell is None or shape not in ("gain", "loss") else block.change(row, cell, gained=gained)
        return Measurement(
            CHANGED_AT.name,
            float(state.changed_s[column]),
            CHANGED_AT.unit,
            (*keys, (semconv.DRIFT_CHANGE, change)),
            pane.end_ns,
        )

    def _words(self, plan: Plan, pane: Window, state: AlarmState, column: int) -> str:
        """Return what changed in a column, and when."""
        block, row = _block_of(plan, column)
        shape, cell = block.dictionary.shape_of(int(state.change[column]))
        changed = shape.replace("_", " ") if cell is None else block.words(row, cell, pane, gained=shape == "gain")
        at = np.datetime_as_string(np.datetime64(int(state.changed_s[column]), "s"), unit="m").replace("T", " ")
        return f"{changed}, since {at} UTC"


def _tempered(by_row: F64, by_call: F64, least: float, share: F64) -> Tempering:
    rows = tempering(by_row, SIZES, least)
    return rows.toward(tempering(by_call, SIZES, least), share)


def _stepped(
    block: Block,
    pane: Window,
    by_column: Tempering,
    columns: slice,
    before: U16,
    age: F64,
    minutes: float,
    found: _Found,
) -> tuple[U16, F64]:
    """Return the codes of evidence and the ages of one block after a pane; put what it shows into ``found``."""
    dictionary, cells, table = block.dictionary, block.cells(pane), tables(minutes)
    due = cells.sum(axis=1) >= LEAST_CELLS
    mine = Tempering(np.asarray(by_column.divisor)[columns], np.asarray(by_column.excess)[columns])
    places = before.astype(np.intp)
    log_m = dictionary.increments(cells, mine)
    log_m += table.grown.take(places)
    after, grown = coded(log_m), age / table.shrinks.take(places)
    if not due.all():
        after, grown = np.where(due[:, None], after, before), np.where(due[:, None], grown, age)
    with np.errstate(divide="ignore"):
        evidence = np.log(np.einsum("ca,ca->c", table.m.take(after), dictionary.share))
    found.stepped[columns] = due
    found.known[columns] = dictionary.valid.any(axis=1)
    found.evidence[columns] = evidence
    enough = np.flatnonzero(due & (evidence >= found.needed))
    if len(enough):
        # As it was before it was rounded to what a state can hold, where several may be at the upper end.
        best = np.where(dictionary.valid[enough], log_m[enough], -np.inf).argmax(axis=1)
        found.best[columns.start + enough] = best
        found.age[columns.start + enough] = grown[enough, best]
    return after, grown


def _alternatives(plan: Plan, columns: Mask) -> Mask:
    """Return which places of a state belong to the columns."""
    places: list[Mask] = []
    first = 0
    for block in plan.blocks:
        count, size = block.dictionary.valid.shape
        places.append(np.repeat(columns[first : first + count], size))
        first += count
    return np.concatenate(places)


def _block_of(plan: Plan, column: int) -> tuple[Block, int]:
    """Return the block of a column, and its place in it."""
    row = column
    for block in plan.blocks:
        count = len(block.dictionary.valid)
        if row < count:
            return block, row
        row -= count
    raise IndexError(column)
