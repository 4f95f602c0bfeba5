"""How far apart measurements are, and so how long the last ones hold: for exporters, alerts, rules and dashboards."""

from __future__ import annotations

from typing import Final

from collector_processor.pipeline.settings import MlMonitor, WindowConfig

_S: Final = 10**9
_LEAST_NS: Final = 300 * _S
_ROWS_NS: Final = 7 * 86_400 * _S
"""Windows by rows are for low traffic: how long one may take cannot be told beforehand."""


def windows_of(monitor: MlMonitor) -> list[WindowConfig]:
    """The windows of all models: the connector's, and those that models have of their own."""
    return [monitor.window, *(model.window for model in monitor.models.values() if model.window)]


def stale_ns(monitor: MlMonitor) -> int:
    """How long a figure holds without a newer one: three windows, and the lateness that a pause of traffic may add.

    Windows of a model wait for up to ``allowed_lateness`` after its traffic paused. At least five minutes; a week
    where windows are cut by rows.

    >>> stale_ns(MlMonitor()) // 60_000_000_000
    13
    """
    windows = windows_of(monitor)
    if any(window.step.rows for window in windows):
        return _ROWS_NS
    return max(_LEAST_NS, *(3 * window.step.ns + window.allowed_lateness for window in windows))


def look_back(monitor: MlMonitor) -> str:
    """The range over which PromQL has to look for the newest figure; empty where its own five minutes do.

    >>> look_back(MlMonitor())
    '780s'
    >>> look_back(MlMonitor(window=WindowConfig(allowed_lateness="1m")))
    ''
    """
    found_ns = stale_ns(monitor)
    return "" if found_ns <= _LEAST_NS else f"{-(-found_ns // _S)}s"
