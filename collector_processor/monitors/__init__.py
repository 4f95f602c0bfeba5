"""Monitors: turn windows and references into measurements. There are two kinds.

A :class:`.Monitor` is a pure function of a window and a reference. A :class:`.Sequential` is a fold over the closed
panes of a model version, each exactly once and in order, with a state that survives a restart.

A new monitor is one file, with its class and its settings, and one entry in :data:`.registry.MONITOR_TYPES`: its
sections of the configuration, its metrics in the docs, on the dashboards and in the alert rules follow from these.
"""

from __future__ import annotations

from collector_processor.monitors.base import Measurement, Metric, Monitor, Sequential
from collector_processor.monitors.registry import MONITOR_TYPES, configured_monitors, monitor_metrics

__all__ = ["MONITOR_TYPES", "Measurement", "Metric", "Monitor", "Sequential", "configured_monitors", "monitor_metrics"]
