"""Whether the world has changed, or only the population: alarms on labels that keep a promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64, I64
from collector_processor.detectors.bounded import bernoulli_increments
from collector_processor.detectors.calibration import ALTERNATIVES, SHIFTS, SLOPES, calibration_increments
from collector_processor.detectors.promise import MINUTE_NS, log_threshold
from collector_processor.detectors.shiryaev_roberts import log_mean, mean_age, updated
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Rate, alarms_per_minute
from collector_processor.statistics.parts.reliability import Reliability, middles
from collector_processor.window.closed import Window
from otel_ml import semconv

CHANGE_KEYS = (*MODEL_KEYS, semconv.CONCEPT_CHANGE)
EVIDENCE = Metric(
    semconv.CONCEPT_EVIDENCE,
    semconv.UNIT_EVIDENCE,
    "evidence that labels no longer have the probability that the scores of their rows stood for in the reference, as "
    f"a power of ten: an alarm is raised above `{semconv.CONCEPT_EVIDENCE_THRESHOLD}`",
    MODEL_KEYS,
)
THRESHOLD = Metric(
    semconv.CONCEPT_EVIDENCE_THRESHOLD,
    semconv.UNIT_EVIDENCE,
    f"evidence at which `{semconv.CONCEPT_EVIDENCE}` or `{semconv.CONCEPT_ERROR_EVIDENCE}` raises an alarm, by the "
    "promised number of false alarms",
    MODEL_KEYS,
)
ALARM = Metric(
    semconv.CONCEPT_ALARM,
    semconv.UNIT_BREACH,
    "1 from the alarm until labels have been as expected for three times as long as the alarm took; else 0",
    MODEL_KEYS,
)
CHANGED_AT = Metric(
    semconv.CONCEPT_CHANGED_AT,
    semconv.UNIT_SECOND,
    "when the change that the alarm is about began, as Unix time; absent without an alarm",
    CHANGE_KEYS,
)
ERROR_EVIDENCE = Metric(
    semconv.CONCEPT_ERROR_EVIDENCE,
    semconv.UNIT_EVIDENCE,
    "evidence that the share of wrong predictions has risen above that of the reference, as a power of ten",
    MODEL_KEYS,
)
ERROR_ALARM = Metric(
    semconv.CONCEPT_ERROR_ALARM,
    semconv.UNIT_BREACH,
    f"1 from the alarm of `{semconv.CONCEPT_ERROR_EVIDENCE}` on, in the same way; else 0",
    MODEL_KEYS,
)
HOLD: Final = 3.0
"""An alarm stays for this many times as long as it took to find the change, unless it is raised again."""
LEAST_HOLD: Final = 10
"""Panes with labels for which an alarm stays at least."""
ERROR_STEPS: Final = (0.01, 0.05, 0.2)
"""How far the alternatives of the error rate are from the usual one: shares of the way to 1."""
LEAST_LABELS: Final = 100
"""Labels that a reference needs."""
STANDARD_ERRORS: Final = 2.6
"""Standard errors that the error rate of the reference may be wrong by: 99 % of references are within."""
RECENT: Final = 1000.0
"""Labels that the error rate in the words of an alarm is about."""
_TESTS: Final = 2
"""Calibration and error rate: each may raise half of the false alarms."""
_LN10: Final = float(np.log(10.0))
_CHANGES: Final = (
    *("positives_up" if shift > 0.0 else "positives_down" for shift in SHIFTS),
    *("overconfident" if slope < 1.0 else "underconfident" for slope in SLOPES),
)
"""What each alternative says has changed."""
_MEANING: Final = {
    "positives_up": "it comes true more often than the scores say",
    "positives_down": "it comes true less often than the scores say",
    "overconfident": "scores are too extreme: high ones come true less often, low ones more often, than before",
    "underconfident": "scores are nearer to the middle than what comes true",
}


class ConceptSettings(Settings):
    """How many false alarms the detectors of a changed world may raise, and what counts as no change."""

    false_alarms: Rate = Field(
        default="1 per year",
        description="false alarms of one model version: `N per day`, `week`, `month` or `year`; 0 raises no alarms",
    )
    tolerance: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        description="difference of a row's true from its calibrated probability, and of the error rate from that of "
        "the reference, that counts as no change; the reference's own error is added",
    )
    dependent_rows: int = Field(
        default=1,
        ge=1,
        description="labels that may be alike for a reason that the features do not show, such as those of a customer",
    )


@dataclass(frozen=True, slots=True)
class ConceptState:
    """Evidence of each alternative, as ``log M``, with the age of the change in minutes; calibration, then errors.

    ``left`` ``[2]`` is for how many minutes an alarm stays, ``changed_s`` ``[2]`` when its change began, ``change``
    what the calibration's says, ``recent`` ``[2]`` the newest labels with a predicted class, and those that were wrong.
    """

    log_m: F64
    age: F64
    left: F64
    changed_s: F64
    change: I64
    recent: F64


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a reference leads to. Arrays by bin of the expected probability; None where it has too few labels."""

    usual: F64
    low: F64
    high: F64
    calibrated: bool
    error: float | None
    error_doubt: float


class ConceptMonitor:
    """Sequential alarms on joined labels: the calibration of estimates (the world), and the error rate (either).

    A label counts in the pane in which it joins. Of each row the detector knows how probable the positive class was,
    by the calibrated score; the evidence is about that probability alone. So a population that changed raises no alarm
    of it, whatever its errors (:mod:`.detectors.calibration`). The error rate's alarm comes with both; its words say
    which. Alarms restart and stay as those of drift do. See ``docs/methods/calibration_detector.md``.

    References without labels, or with fewer than 100, have no evidence.
    """

    name: ClassVar[str] = "concept"
    metrics: ClassVar[Sequence[Metric]] = (EVIDENCE, THRESHOLD, ALARM, CHANGED_AT, ERROR_EVIDENCE, ERROR_ALARM)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"concept": ConceptSettings}
    state_version: ClassVar[int] = 1

    def __init__(self, settings: ConceptSettings) -> None:
        self.settings = ConceptSettings(**{name: getattr(settings, name) for name in ConceptSettings.model_fields})
        self._needed = log_threshold(alarms_per_minute(settings.false_alarms), _TESTS)

    def begin(self, reference: Reference) -> ConceptState:
        """Return the state before the first pane."""
        size = ALTERNATIVES + len(ERROR_STEPS)
        return ConceptState(
            np.full(size, -np.inf), np.zeros(size), np.zeros(2), np.zeros(2), np.zeros((), np.int64), np.zeros(2)
        )

    def step(self, pane: Window, reference: Reference, state: ConceptState) -> tuple[ConceptState, list[Measurement]]:
        """Add the evidence of the pane's labels; raise and end alarms."""
        usual = reference.prepared(_usual)
        if not np.isfinite(self._needed) or (not usual.calibrated and usual.error is None):
            return state, []
        sums = pane.pane.further[Reliability]
        minutes = max(pane.end_ns - pane.start_ns, 1) / MINUTE_NS
        increments = np.full(len(state.log_m), np.nan)
        if usual.calibrated and sums.table[0].sum() >= 1.0:
            increments[:ALTERNATIVES] = self._calibration(usual, sums.table)
        if usual.error is not None and sums.errors[0] >= 1.0:
            increments[ALTERNATIVES:] = self._errors(usual.error, usual.error_doubt, sums.errors)
        stepped = np.isfinite(increments)
        age = state.age + np.where(stepped, minutes, 0.0)
        log_m = np.where(stepped, updated(state.log_m, np.nan_to_num(increments), minutes), state.log_m)
        age = np.where(stepped, mean_age(age, np.where(stepped, state.log_m, 0.0), minutes), age)
        recent = np.maximum(state.recent + sums.errors, 0.0)
        recent *= min(1.0, RECENT / max(float(recent[0]), 1.0))
        after = self._judged(pane, replace(state, log_m=log_m, age=age, recent=recent), stepped, minutes)
        return after, list(self._measured(pane, usual, after, log_m))

    def left_out(self, reference: Reference) -> Iterator[str]:
        """Yield what cannot be measured although the reference has labels, or scores, that would be for it."""
        schema, by_class = reference.schema, reference.pane.outcomes.by_class
        if not schema.task.endswith("_classification") or not np.isfinite(self._needed):
            return
        why, errors = without_alarm(reference), without_alarm(reference, errors=True)
        if errors:
            if len(by_class) and by_class[0, 1].sum() > 0.0:
                yield f"{errors}: whether the world changed is not known"
        elif why and any(column.role == "score" for column in schema.columns):
            yield f"{why}: a changed world and a changed population look alike"

    def _calibration(self, usual: _Usual, table: F64) -> F64:
        tolerance = self.settings.tolerance
        found = calibration_increments(table, usual.usual, usual.low + tolerance, usual.high + tolerance)
        return found / self.settings.dependent_rows

    def _errors(self, error: float, doubt: float, errors: F64) -> F64:
        high = np.array([min(error + doubt + self.settings.tolerance, 1.0)])
        found = bernoulli_increments(errors[:1], errors[1:], high, high, ERROR_STEPS)
        return found[0, : len(ERROR_STEPS)] / self.settings.dependent_rows

    def _judged(
        self, pane: Window, state: ConceptState, stepped: np.ndarray[tuple[int], np.dtype[np.bool_]], minutes: float
    ) -> ConceptState:
        """Return the state after alarms were raised and ended."""
        log_m, left, changed_s, change = state.log_m.copy(), state.left.copy(), state.changed_s.copy(), state.change
        for test, part in enumerate(_PARTS):
            if not stepped[part].any():
                continue
            going, left[test] = left[test] > 0.0, max(left[test] - minutes, 0.0)
            if _evidence(log_m[part]) < self._needed:
                continue
            best = int(np.argmax(log_m[part]))
            took = float(state.age[part][best])
            left[test] = max(HOLD * took, LEAST_HOLD * minutes)
            if not going:
                changed_s[test] = max(pane.end_ns / 1e9 - took * 60.0, 0.0)
            if test == 0:
                change = np.array(best, np.int64)
            log_m[part] = -np.inf
        return replace(state, log_m=log_m, left=left, changed_s=changed_s, change=change)

    def _measured(self, pane: Window, usual: _Usual, state: ConceptState, log_m: F64) -> Iterator[Measurement]:
        """Yield the figures; ``log_m`` is the evidence before alarms took it away."""
        keys, end_ns = model_attributes(pane.model), pane.end_ns
        world, errors = (bool(left > 0.0) for left in state.left)
        yield Measurement(THRESHOLD.name, self._needed / _LN10, THRESHOLD.unit, keys, end_ns)
        if usual.calibrated and np.isfinite(log_m[0]):
            yield Measurement(EVIDENCE.name, _evidence(log_m[_PARTS[0]]) / _LN10, EVIDENCE.unit, keys, end_ns)
        if usual.calibrated and (world or np.isfinite(log_m[0])):
            change = _CHANGES[int(state.change)]
            words = f"the world changed: {_MEANING[change]}" if world else ""
            yield Measurement(ALARM.name, float(world), ALARM.unit, keys, end_ns, words=words)
            if world:
                named = (*keys, (semconv.CONCEPT_CHANGE, change))
                yield Measurement(CHANGED_AT.name, float(state.changed_s[0]), CHANGED_AT.unit, named, end_ns)
        if usual.error is None:
            return
        if np.isfinite(log_m[-1]):
            value = _evidence(log_m[_PARTS[1]]) / _LN10
            yield Measurement(ERROR_EVIDENCE.name, value, ERROR_EVIDENCE.unit, keys, end_ns)
        if errors or np.isfinite(log_m[-1]):
            words = _error_words(usual, state, world) if errors else ""
            yield Measurement(ERROR_ALARM.name, float(errors), ERROR_ALARM.unit, keys, end_ns, words=words)


_PARTS: Final = (slice(0, ALTERNATIVES), slice(ALTERNATIVES, None))


def _evidence(log_m: F64) -> float:
    """Return the log of the mean of M."""
    return float(log_mean(log_m[None], np.ones((1, len(log_m)), np.bool_))[0])


def _error_words(usual: _Usual, state: ConceptState, world: bool) -> str:
    now = state.recent[1] / max(float(state.recent[0]), 1.0)
    words = f"{now:.1%} of the newest predictions were wrong, {usual.error or 0.0:.1%} in the reference"
    if not usual.calibrated:
        return words
    if world:
        return f"{words}, because the world changed: {_MEANING[_CHANGES[int(state.change)]]}"
    return f"{words}: the population so far, because labels are as probable as the scores of their rows say"


def _usual(reference: Reference) -> _Usual:
    """Return what is usual by a reference: of each bin, how far the truth may be from the expected probability."""
    sums, by_class = reference.pane.further[Reliability], reference.pane.outcomes.by_class
    if not sums.table.size:
        none = np.zeros(0)
        return _Usual(none, none, none, calibrated=False, error=None, error_doubt=0.0)
    rows, ones, total = np.maximum(sums.table, 0.0)
    middle = middles()
    mean = np.divide(total, rows, out=middle.copy(), where=rows > 0.0)
    off = ones - total
    # One row more and one half right: a bin without rows says nothing, and one with few not much.
    doubt = np.sqrt(np.maximum(mean * (1.0 - mean), middle * (1.0 - middle)) / (rows + 1.0))
    right, labeled = (float(by_class[0, row].sum()) if len(by_class) else 0.0 for row in (0, 1))
    weight, seen = reference.pane.rows.tolist()
    counted = labeled * (seen / weight if weight > 0.0 else 1.0)
    error = 1.0 - right / labeled if counted >= LEAST_LABELS else None
    return _Usual(
        usual=np.clip(mean, 1e-4, 1.0 - 1e-4),
        low=doubt + np.maximum(-off, 0.0) / (rows + 1.0),
        high=doubt + np.maximum(off, 0.0) / (rows + 1.0),
        calibrated=bool(rows.sum() >= LEAST_LABELS),
        error=error,
        error_doubt=0.0 if error is None else _doubt(error, counted),
    )


def without_alarm(reference: Reference, *, errors: bool = False) -> str:
    """Return why a reference gives no alarm of a changed world, or with ``errors`` of the error rate; else nothing."""
    if not reference.schema.task.endswith("_classification"):
        return "its predictions are not classes"
    usual = reference.prepared(_usual)
    if usual.error is None:
        return f"its reference has fewer than {LEAST_LABELS} labels"
    return "" if errors or usual.calibrated else "its reference has no calibrated scores"


def _doubt(share: float, rows: float) -> float:
    """Return by how much a share of that many rows may be too low, by Wilson's interval."""
    z2 = STANDARD_ERRORS**2
    center = (share + z2 / (2.0 * rows)) / (1.0 + z2 / rows)
    reach = STANDARD_ERRORS / (1.0 + z2 / rows) * np.sqrt(share * (1.0 - share) / rows + z2 / (4.0 * rows**2))
    return float(center + reach - share)
