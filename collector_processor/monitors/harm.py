"""A harmful shift before the labels come: an alarm on how wrong the predictions are expected to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.detectors.bounded import weighted_increments
from collector_processor.detectors.promise import MINUTE_NS, log_threshold
from collector_processor.detectors.shiryaev_roberts import log_mean, mean_age, updated
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import without_estimate
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.settings.values import alarms_per_minute
from collector_processor.statistics.parts.harm import HarmSums
from collector_processor.window.closed import Window
from otel_ml import semconv

EVIDENCE = Metric(
    semconv.ESTIMATE_HARM_EVIDENCE,
    semconv.UNIT_EVIDENCE,
    "evidence that the predictions are expected to be wrong more often than in the reference, or by more, as a power "
    f"of ten: an alarm is raised above `{semconv.ESTIMATE_HARM_EVIDENCE_THRESHOLD}`",
    MODEL_KEYS,
)
THRESHOLD = Metric(
    semconv.ESTIMATE_HARM_EVIDENCE_THRESHOLD,
    semconv.UNIT_EVIDENCE,
    f"evidence at which `{semconv.ESTIMATE_HARM_EVIDENCE}` raises an alarm, by the promised number of false alarms",
    MODEL_KEYS,
)
ALARM = Metric(
    semconv.ESTIMATE_HARM_ALARM,
    semconv.UNIT_BREACH,
    "1 from the alarm until predictions have been as expected for three times as long as the alarm took; else 0",
    MODEL_KEYS,
)
CHANGED_AT = Metric(
    semconv.ESTIMATE_HARM_CHANGED_AT,
    semconv.UNIT_SECOND,
    "when the harmful shift began, as Unix time; absent without an alarm",
    MODEL_KEYS,
)
BETS: Final = (0.03, 0.1, 0.3, 0.6, 0.9)
"""Larger than those of 0/1 values: what is expected of rows varies less than what comes true."""
HOLD: Final = 3.0
"""An alarm stays for this many times as long as it took to find the shift, unless it is raised again."""
LEAST_HOLD: Final = 10
"""Panes with rows for which an alarm stays at least."""
LEAST_ROWS: Final = 100
"""Evaluated rows that a reference needs."""
STANDARD_ERRORS: Final = 2.6
"""Standard errors that the mean of the reference may be wrong by: 99 % of references are within."""
RECENT: Final = 10_000.0
"""Evaluated rows that the words of an alarm, and how alike rows of a call are, are about."""
DOUBT: Final = 20.0
"""Pairs of rows of one call that count as alike before any were seen."""
_LN10: Final = float(np.log(10.0))


@dataclass(frozen=True, slots=True)
class HarmState:
    """Evidence of each bet, as ``log M``, with the age of the shift in minutes ``[B]``.

    ``alarm`` ``[2]`` is for how many minutes the alarm stays, and when the shift began; ``recent`` ``[10]`` the
    :class:`.HarmSums` of the newest rows.
    """

    log_m: F64
    age: F64
    alarm: F64
    recent: F64


@dataclass(frozen=True, slots=True)
class _Usual:
    """Mean of g in the reference, the reach of its error, and whether g is an error rate or a share of a loss."""

    mean: float
    doubt: float
    of_class: bool


class HarmMonitor:
    """Sequential alarm on the mean of g: the probability that a prediction is wrong, or its expected absolute error.

    It comes before any label, when rows come that the model is worse at by more than the tolerance: 2 points of
    accuracy, or a tenth of the error of a regression. That the world has changed it cannot see. Rows of one call that
    are alike count less, by how alike they have been. See ``docs/methods/harmful_shift.md``.

    Source: S. Amoukou et al., "Sequential harmful shift detection without labels", NeurIPS 2024; with a mean instead
    of a quantile.
    """

    name: ClassVar[str] = "harm"
    metrics: ClassVar[Sequence[Metric]] = (EVIDENCE, THRESHOLD, ALARM, CHANGED_AT)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"estimate": EstimateSettings}
    state_version: ClassVar[int] = 1

    def __init__(self, settings: EstimateSettings) -> None:
        self.settings = EstimateSettings(**{name: getattr(settings, name) for name in EstimateSettings.model_fields})
        self._needed = log_threshold(alarms_per_minute(settings.false_alarms), 1)

    def begin(self, reference: Reference) -> HarmState:
        """Return the state before the first pane."""
        return HarmState(np.full(len(BETS), -np.inf), np.zeros(len(BETS)), np.zeros(2), np.zeros(10))

    def step(self, pane: Window, reference: Reference, state: HarmState) -> tuple[HarmState, list[Measurement]]:
        """Add the evidence of the pane's rows; raise and end the alarm."""
        usual, sums = reference.prepared(_usual), pane.pane.further[HarmSums]
        if usual is None or not np.isfinite(self._needed) or not sums.sums.size or sums.sums[0] < 1.0:
            return state, []
        minutes = max(pane.end_ns - pane.start_ns, 1) / MINUTE_NS
        recent = state.recent + np.concatenate((sums.sums, sums.calls))
        recent *= min(1.0, RECENT / float(recent[0]))
        increments = weighted_increments(sums.sums[1:3], sums.sums[3:], self._limit(usual), BETS) / dependence(recent)
        log_m = updated(state.log_m, increments, minutes)
        age = mean_age(state.age + minutes, state.log_m, minutes)
        evidence = float(log_mean(log_m[None], np.ones((1, len(log_m)), np.bool_))[0])
        after = self._judged(pane, HarmState(log_m, age, state.alarm, recent), evidence, minutes)
        return after, list(self._measured(pane, usual, after, evidence))

    def _limit(self, usual: _Usual) -> float:
        tolerance = self.settings.tolerance if usual.of_class else self.settings.error_tolerance * usual.mean
        return usual.mean + usual.doubt + tolerance

    def _judged(self, pane: Window, state: HarmState, evidence: float, minutes: float) -> HarmState:
        """Return the state after the alarm was raised or has ended."""
        left, began = state.alarm.tolist()
        going, left = left > 0.0, max(left - minutes, 0.0)
        log_m = state.log_m
        if evidence >= self._needed:
            took = float(state.age[int(np.argmax(log_m))])
            left = max(HOLD * took, LEAST_HOLD * minutes)
            began = began if going else max(pane.end_ns / 1e9 - took * 60.0, 0.0)
            log_m = np.full(len(log_m), -np.inf)
        return HarmState(log_m, state.age, np.array([left, began]), state.recent)

    def _measured(self, pane: Window, usual: _Usual, state: HarmState, evidence: float) -> Iterator[Measurement]:
        keys, end_ns = model_attributes(pane.model), pane.end_ns
        alarm = bool(state.alarm[0] > 0.0)
        words = _words(usual, float(state.recent[2] / state.recent[1])) if alarm else ""
        yield Measurement(THRESHOLD.name, self._needed / _LN10, THRESHOLD.unit, keys, end_ns)
        yield Measurement(EVIDENCE.name, evidence / _LN10, EVIDENCE.unit, keys, end_ns)
        yield Measurement(ALARM.name, float(alarm), ALARM.unit, keys, end_ns, words=words)
        if alarm:
            yield Measurement(CHANGED_AT.name, float(state.alarm[1]), CHANGED_AT.unit, keys, end_ns)


def dependence(sums: F64) -> float:
    """Return by how much rows of the same call count less, from 1 on: 1 + (rows of a row's call − 1) · correlation.

    ``sums`` ``[10]`` are :class:`.HarmSums`. As long as few calls of several rows were seen, they count as alike.

    >>> equal = np.array([1000.0, 1000.0, 200.0, 1000.0, 200.0, 50.0, 900.0, 45.0, 180.0, 10_000.0])
    >>> round(dependence(equal), 2)  # calls of ten equal rows
    10.0
    >>> round(dependence(equal - [0, 0, 0, 0, 0, 0, 0, 9.0, 0, 0]), 2)  # of ten rows that have nothing in common
    1.2
    """
    rows, _, _, weight, total, squares, pairs, products, halves, sizes = sums.tolist()
    mean = total / weight
    variance = max(squares / weight - mean**2, 0.0)
    together = products - 2.0 * mean * halves + pairs * mean**2
    known = variance * (pairs + DOUBT)
    correlation = min(max((together + DOUBT * variance) / known, 0.0), 1.0) if known > 0.0 else 1.0
    return 1.0 + max(sizes / rows - 1.0, 0.0) * correlation


def _words(usual: _Usual, now: float) -> str:
    if usual.of_class:
        return f"{now:.1%} of the newest predictions are expected to be wrong, {usual.mean:.1%} in the reference"
    return f"the expected error of the newest predictions is {now / usual.mean:.2f} times that of the reference"


def without_alarm(reference: Reference) -> str:
    """Return why a reference gives no alarm before labels come; empty if it does."""
    if reference.prepared(_usual) is not None:
        return ""
    if reference.schema.task == "regression":
        return "its reference has no trees of expected errors"
    return without_estimate(reference) or "its reference has too few rows with an estimate"


def _usual(reference: Reference) -> _Usual | None:
    """Return what is usual by a reference; None without estimates or if the model is never wrong."""
    sums = reference.pane.further[HarmSums].sums
    of_class = reference.schema.task != "regression"
    if not sums.size or sums[0] < LEAST_ROWS:
        return None
    _, weight, total, squares, *products = sums.tolist()
    mean = total / weight
    if not (of_class or mean > 0.0):
        return None
    spread = max(products[1] - 2.0 * mean * products[0] + mean**2 * squares, 0.0)
    return _Usual(mean, STANDARD_ERRORS * spread**0.5 / weight, of_class)
