"""River's detectors on each labeled row: ADWIN, Page–Hinkley, DDM, EDDM and HDDM_A, with River's exact alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64
from collector_processor.detectors import rows as python_rows
from collector_processor.detectors.built import compiled_rows
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.losses import class_errors, value_errors
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

DETECTIONS = Metric(
    semconv.CONCEPT_DETECTIONS,
    semconv.UNIT_ALARM,
    "alarms of a stream detector since the pane before; without a promised rate of false alarms",
    (*MODEL_KEYS, semconv.CONCEPT_DETECTOR),
)
Name = Literal["adwin", "page_hinkley", "ddm", "eddm", "hddm_a"]


class RowDetector(Protocol):
    """A detector that looks at one value after another."""

    def see(self, x: float) -> bool:
        """Return whether a value raises an alarm."""
        ...

    def state(self) -> list[float]:
        """Return what it keeps: the same number of values at any time."""
        ...

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        ...


_ROWS = python_rows if compiled_rows is None else compiled_rows
DETECTORS: Final[Mapping[Name, Callable[[], RowDetector]]] = {
    "adwin": _ROWS.ADWIN,
    "page_hinkley": _ROWS.PageHinkley,
    "ddm": _ROWS.DDM,
    "eddm": _ROWS.EDDM,
    "hddm_a": _ROWS.HDDMA,
}
_OF_VALUES: Final = ("adwin", "page_hinkley")
"""The detectors of numbers of any size; the others need errors that are 0 or 1."""


class StreamSettings(Settings):
    """Detectors of concept drift."""

    detectors: tuple[Name, ...] = Field(
        default=(),
        description="River's stream detectors to run beside, with its defaults; their false alarms are not bounded: "
        + " | ".join(DETECTORS),
    )


@dataclass(frozen=True, slots=True)
class StreamState:
    """The numbers of every detector one after the other, and of each ``[D]`` its alarms since the last pane."""

    numbers: F64
    alarms: F64


class StreamDetectorMonitor:
    """River's ADWIN, Page–Hinkley, DDM, EDDM and HDDM_A on the errors of labeled rows.

    A row counts when its label joins: 0 or 1 for a class, the absolute error in standard deviations of the reference's
    labels for a value. Rows come in the order of their outcome's time, those of one time in the order in which they
    were joined, and each counts once, whatever its sampling weight. A label that is replaced later has been counted;
    a detector cannot take it back.
    """

    name: ClassVar[str] = "stream_detectors"
    metrics: ClassVar[Sequence[Metric]] = (DETECTIONS,)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"concept": StreamSettings}
    state_version: ClassVar[int] = 1

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = StreamSettings(detectors=tuple(dict.fromkeys(settings.detectors)))

    def begin(self, reference: Reference) -> StreamState:
        """Return the state before the first row."""
        numbers = [number for _, make in self._used(reference.schema) for number in make().state()]
        return StreamState(np.array(numbers), np.zeros(len(list(self._used(reference.schema)))))

    def feed(self, outcomes: OutcomeBatch, schema: Schema, reference: Reference, state: StreamState) -> StreamState:
        """Return the state after joined labels."""
        if not len(state.alarms):
            return state
        values = _errors(outcomes, schema, reference)
        values = values[np.argsort(outcomes.time_ns, kind="stable")]
        values = values[~np.isnan(values)].tolist()
        before, after, alarms = state.numbers.tolist(), list[float](), state.alarms.copy()
        for place, (_, make) in enumerate(self._used(schema)):
            detector = make()
            size = len(detector.state())
            detector.restore(before[len(after) : len(after) + size])
            alarms[place] += sum(map(detector.see, values))
            after += detector.state()
        return StreamState(np.array(after), alarms)

    def step(self, pane: Window, reference: Reference, state: StreamState) -> tuple[StreamState, list[Measurement]]:
        """Return the alarms since the last pane, and count again from 0."""
        model = model_attributes(pane.model)
        measured = [
            Measurement(
                DETECTIONS.name, float(count), DETECTIONS.unit, (*model, (semconv.CONCEPT_DETECTOR, name)), pane.end_ns,
                words=f"{name} saw a change of the errors; it sees one in a changed population, too" if count else "",
            )
            for (name, _), count in zip(self._used(reference.schema), state.alarms, strict=True)
        ]  # fmt: skip
        return StreamState(state.numbers, np.zeros(len(state.alarms))), measured

    def left_out(self, reference: Reference) -> Iterator[str]:
        """Yield what is configured and cannot be measured for this reference."""
        used = [name for name, _ in self._used(reference.schema)]
        unused = [name for name in self.settings.detectors if name not in used]
        if unused:
            why = "need predictions of a class" if used or reference.schema.task else "need a task"
            yield f"stream detectors that {why} are left out: {', '.join(unused)}"

    def _used(self, schema: Schema) -> Iterator[tuple[Name, Callable[[], RowDetector]]]:
        for name in self.settings.detectors:
            if schema.task and (schema.task != "regression" or name in _OF_VALUES):
                yield name, DETECTORS[name]


def _errors(outcomes: OutcomeBatch, schema: Schema, reference: Reference) -> F64:
    """Return the value of each row that counts, NaN for those that do not: retractions, and rows without an error."""
    if schema.task != "regression":
        values = class_errors(schema, outcomes)
    else:
        values = np.abs(value_errors(outcomes)) / reference.prepared(_label_spread)
    return np.where(outcomes.weights > 0.0, values, np.nan)


def _label_spread(reference: Reference) -> float:
    """Return the standard deviation of the reference's labels, else of its predictions, else 1."""
    for role in ("label", "prediction"):
        for place, column in enumerate(reference.schema.numeric):
            if column.role == role and reference.spread[place] > 0.0:
                return float(reference.spread[place])
    return 1.0
