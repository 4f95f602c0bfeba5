"""Outcomes by the time of prediction: what became of the predictions of a stretch of time, as labels come."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from collector_processor.columns.batch import ModelKey, PredictionBatch
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import Array
from collector_processor.window.line import by_pane
from collector_processor.window.panes import Panes
from collector_processor.window.policy import WindowPolicy

MOST: Final = 200
"""Most cohorts that are kept; they are as wide as the wait for labels needs."""
SETTLED: Final = 0.8
"""A cohort is settled from this share of the best coverage on: labels that come fast are not like later ones."""
_HOUR_NS: Final = 3600 * 10**9


def cohort_width_ns(policy: WindowPolicy, wait_ns: int) -> int:
    """Return how long a cohort is: one window of time, or more of them if the wait for labels takes more than MOST.

    >>> cohort_width_ns(WindowPolicy(size_ns=3600 * 10**9), 7 * 86400 * 10**9) // 10**9
    3600
    >>> cohort_width_ns(WindowPolicy(size_ns=60 * 10**9), 7 * 86400 * 10**9) // 10**9
    3060
    """
    size = _HOUR_NS if policy.by_rows else policy.size_ns
    return size * max(1, -(-wait_ns // (size * (MOST - 1))))


@dataclass(frozen=True, slots=True)
class Cohort:
    """One stretch of time, its predictions (weighted, without failed ones), and the outcomes known so far."""

    window: Window
    predictions: float

    @property
    def coverage(self) -> float:
        """The share of the predictions that have a label."""
        return float(self.window.pane.outcomes.labels[0]) / self.predictions if self.predictions > 0.0 else 0.0


class Cohorts:
    """The outcomes of one model version by the time of prediction, for as long as labels may come. Not thread-safe.

    A label adds to the cohort of its prediction, whenever it comes; a corrected one takes the earlier one out. So a
    cohort is exact once all its labels came. It is compact in memory, and forgotten when labels are not waited for any
    longer.
    """

    def __init__(self, key: ModelKey, schema: Schema, width_ns: int) -> None:
        self._key = key
        self._schema = schema
        self._width_ns = width_ns
        self._panes = Panes(schema)
        self._predictions: dict[int, float] = {}
        self._labels: dict[int, float] = {}

    def add(self, batch: PredictionBatch, latest_ns: int) -> None:
        """Count predictions, which labels may follow; those later than ``latest_ns`` are not believed, and left out."""
        times, weights = batch.time_ns, batch.weights
        if (len(times) and times.max() > latest_ns) or batch.error is not None:
            kept = times <= latest_ns
            if batch.error is not None:
                kept &= ~batch.error.is_text()
            times, weights = times[kept], weights[kept]
        for number, rows in by_pane(times // self._width_ns):
            added = float(weights.sum() if rows is None else weights[rows].sum())
            self._predictions[number] = self._predictions.get(number, 0.0) + added
        for number in sorted(self._predictions)[:-MOST]:
            self._forget(number)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add outcomes to the cohorts of their predictions; those of forgotten cohorts are left out."""
        if outcomes.predicted_ns is None:
            return
        for number, rows in by_pane(outcomes.predicted_ns // self._width_ns):
            if number in self._predictions:
                part = outcomes if rows is None else outcomes.take(rows)
                pane = self._panes.to_add(number)
                accumulate_outcomes(pane, self._schema, part, further=False)
                self._labels[number] = float(pane.outcomes.labels[0])

    def settled(self, min_labels: float, before_ns: int) -> Cohort | None:
        """Return the newest cohort that ended by ``before_ns`` with enough labels, and nearly as many as any other."""
        ended = [number for number in sorted(self._labels) if (number + 1) * self._width_ns <= before_ns]
        enough = [number for number in ended if self._labels[number] >= min_labels and self._predictions[number] > 0.0]
        coverage = {number: self._labels[number] / self._predictions[number] for number in enough}
        best = max(coverage.values(), default=0.0)
        number = next((number for number in reversed(enough) if coverage[number] >= SETTLED * best), None)
        return None if number is None else self._cohort(number)

    def with_schema(self, schema: Schema) -> Cohorts:
        """Return cohorts of another schema, without content."""
        return Cohorts(self._key, schema, self._width_ns)

    def clear(self, names: Collection[str]) -> None:
        """Set arrays of all cohorts, by dotted name, to zero."""
        self._panes.clear(names)

    @property
    def nbytes(self) -> int:
        """Bytes that the cohorts hold."""
        return self._panes.nbytes

    def state(self) -> dict[str, Any]:
        """Return everything for a snapshot: JSON with arrays."""
        numbers = sorted(self._predictions)
        return {
            "width_ns": self._width_ns,
            "numbers": np.array(numbers, np.int64),
            "predictions": np.array([self._predictions[number] for number in numbers]),
            "opened": np.array(self._panes.open, np.int64),
            "panes": self._panes.arrays(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`; raise ``ValueError`` if the cohorts were of another width or do not fit."""
        if saved["width_ns"] != self._width_ns:
            raise ValueError("the width of cohorts changed")
        numbers, predictions = _taken(saved, "numbers", np.int64), _taken(saved, "predictions", np.float64)
        opened = _taken(saved, "opened", np.int64).tolist()
        known = dict(zip(numbers.tolist(), predictions.tolist(), strict=True))
        if not set(opened) <= set(known) or len(known) > MOST:
            raise ValueError("the saved cohorts do not fit each other")
        panes = Panes.from_arrays(self._schema, opened, (), cast("Mapping[str, Array]", saved["panes"]))
        self._predictions, self._panes = known, panes
        self._labels = {number: float(panes.expanded(number).outcomes.labels[0]) for number in opened}

    def _forget(self, number: int) -> None:
        del self._predictions[number]
        if self._labels.pop(number, None) is not None:
            self._panes.discard(number)

    def _cohort(self, number: int) -> Cohort:
        pane: Pane = self._panes.expanded(number)
        start_ns = number * self._width_ns
        window = Window(self._key, start_ns, start_ns + self._width_ns, self._schema, pane)
        return Cohort(window, self._predictions[number])


def _taken(saved: Mapping[str, Any], name: str, dtype: type[np.generic]) -> Any:
    """Return a saved array; raise ``ValueError`` if it is of another kind."""
    values = saved[name]
    if not isinstance(values, np.ndarray) or values.dtype != dtype or values.ndim != 1:
        raise ValueError(f"the saved cohorts have no {name}")
    return values
