"""How often measurements come, and so how long the last ones hold: for exporters, alerts, rules and dashboards."""

from __future__ import annotations

from typing import Final

from collector_processor.pipeline.settings import MlMonitor, WindowConfig

_S: Final = 10**9
_LEAST_NS: Final = 300 * _S
_ROWS_NS: Final = 7 * 86_400 * _S
"""Windows by rows are for low traffic: how long one takes cannot be known in advance."""


def windows_of(monitor: MlMonitor) -> list[WindowConfig]:
    """Return the windows of all models: the connector's, and those that models set themselves."""
    return [monitor.window, *(model.window for model in monitor.models.values() if model.window)]


def stale_ns(monitor: MlMonitor) -> int:
    """Return how long a figure holds without a newer one: three windows, plus the lateness that a pause may add.

    A model's windows wait for up to ``allowed_lateness`` after its traffic pauses. At least five minutes; a week
    where windows are cut by rows.

    >>> stale_ns(MlMonitor()) // 60_000_000_000
    13
    """
    if any(window.step.rows for window in windows_of(monitor)):
        return _ROWS_NS
    return expected_ns(monitor)


def expected_ns(monitor: MlMonitor) -> int:
    """Return the same for the models whose windows are of time."""
    timed = [window for window in windows_of(monitor) if not window.step.rows]
    return max([_LEAST_NS, *(3 * window.step.ns + window.allowed_lateness for window in timed)])


def look_back(monitor: MlMonitor) -> str:
    """Return the range over which PromQL must look for the newest figure; empty if its default of 5 minutes is enough.

    >>> look_back(MlMonitor())
    '780s'
    >>> look_back(MlMonitor(window=WindowConfig(allowed_lateness="1m")))
    ''
    """
    held_ns = stale_ns(monitor)
    return "" if held_ns <= _LEAST_NS else f"{-(-held_ns // _S)}s"
