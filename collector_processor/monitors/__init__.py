"""Monitors: from windows and references to measurements.

A new monitor is one file with one class and its settings, and one entry in :data:`.registry.MONITOR_TYPES`: its
sections of the configuration, its metrics in the docs, on the dashboards and in the alert rules follow from there.
"""

from __future__ import annotations

from collector_processor.monitors.base import Measurement, Metric, Monitor
from collector_processor.monitors.registry import MONITOR_TYPES, configured_monitors, monitor_metrics

__all__ = ["MONITOR_TYPES", "Measurement", "Metric", "Monitor", "configured_monitors", "monitor_metrics"]
