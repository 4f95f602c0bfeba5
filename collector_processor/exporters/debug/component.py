"""Measurements and alerts as text."""

from __future__ import annotations

from typing import Final

from collector_processor.alerts.notice import Destination
from collector_processor.exporters.component import ExporterComponent, ExporterContext
from collector_processor.exporters.debug.exporter import DebugExporter
from collector_processor.exporters.debug.settings import DebugSettings


def _measurements(settings: DebugSettings, context: ExporterContext) -> DebugExporter:
    return DebugExporter(context.id, verbosity=settings.verbosity, board=context.board)


def _alerts(settings: DebugSettings, context: ExporterContext) -> Destination:
    # One exporter prints both, in one order.
    return context.built if isinstance(context.built, DebugExporter) else _measurements(settings, context)


DEBUG: Final = ExporterComponent("debug", DebugSettings, measurements=_measurements, alerts=_alerts)
