"""The alarms of the processor as a detector of a race: its own monitor, with its own state, on simulated panes."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors.alarm_state import AlarmState
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.base import Measurement
from collector_processor.statistics.parts.calls import SIZES, Calls
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.streams import PANE_NS, Columns, window

MINUTES_A_YEAR = 525_600
"""As `drift.false_alarms` counts them."""
PAIRS = 8
"""Pairs of rows of each call that :mod:`..statistics.parts.calls` compares, at most."""


def per_pane(rate: float) -> str:
    """Return a rate of false alarms per pane of a minute, as it is written in ``drift.false_alarms``."""
    return f"{rate * MINUTES_A_YEAR:.6f} per year"


class Alarms:
    """One model whose columns are the features; its promise is for all of them together."""

    def __init__(self, columns: Columns, false_alarms: str = "1 per year", *, alike: int = 1) -> None:
        self.reference = columns.reference()
        self.monitor = AlarmMonitor(AlarmSettings(false_alarms=false_alarms))
        self.state: AlarmState = self.monitor.begin(self.reference)
        self.measured: list[Measurement] = []
        self._features, self._alike, self._number = len(columns.edges), alike, 0

    def step(self, counts: F64) -> Mask:
        """Add a pane ``[F, E + 2]`` and return which features raise an alarm on it."""
        rows = float(counts[0].sum())
        pane = window(self.reference, counts, self._number, round(rows))
        self._add_calls(pane, rows)
        self._number += 1
        before = self.state.left[: self._features]
        self.state, self.measured = self.monitor.step(pane, self.reference, self.state)
        # Without a new alarm, the time that one stays has become shorter by the pane's minute.
        return self.state.left[: self._features] != np.maximum(before - 1.0, 0.0)

    def changes(self) -> dict[int, tuple[str, float]]:
        """Return what has changed in each feature in alarm, and in which pane it began, by the last pane."""
        found: dict[int, tuple[str, float]] = {}
        for item in self.measured:
            if item.name == semconv.DRIFT_CHANGED_AT:
                keys = dict(item.attributes)
                if semconv.FEATURE_NAME in keys:
                    number = int(keys[semconv.FEATURE_NAME].removeprefix("x"))
                    found[number] = keys[semconv.DRIFT_CHANGE], item.value * 1e9 / PANE_NS
        return found

    def _add_calls(self, pane: Window, rows: float) -> None:
        """Add what the pane would know of its calls: their size, and that their rows are alike."""
        calls = pane.pane.further[Calls]
        calls.by_row[0] = rows
        calls.by_call[np.searchsorted(SIZES, self._alike * (1.0 - 1e-12))] = rows
        if self._alike > 1:
            pairs = rows / self._alike * min(PAIRS, self._alike // 2)
            calls.pairs[:] = calls.alike[:] = pairs
