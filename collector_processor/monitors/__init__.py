"""Monitors: pure functions from (window, reference) to measurements.

A new monitor is one file with one class, constructible without arguments, and one line in :data:`MONITOR_TYPES`.
"""

from __future__ import annotations

from typing import Final

from collector_processor.monitors.base import Measurement, Metric, Monitor
from collector_processor.monitors.drift import DriftMonitor
from collector_processor.monitors.performance import PerformanceMonitor
from collector_processor.monitors.quality import QualityMonitor
from collector_processor.monitors.traffic import TrafficMonitor

MONITOR_TYPES: Final[tuple[type[Monitor], ...]] = (TrafficMonitor, QualityMonitor, DriftMonitor, PerformanceMonitor)
"""Every monitor, in the order in which they are listed."""

__all__ = [
    "MONITOR_TYPES",
    "DriftMonitor",
    "Measurement",
    "Metric",
    "Monitor",
    "PerformanceMonitor",
    "QualityMonitor",
    "TrafficMonitor",
]
