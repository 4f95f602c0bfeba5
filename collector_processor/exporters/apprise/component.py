"""Alerts to the services that Apprise supports."""

from __future__ import annotations

from typing import Final

from collector_processor.exporters.apprise.exporter import AppriseExporter
from collector_processor.exporters.apprise.settings import AppriseSettings
from collector_processor.exporters.component import ExporterComponent, ExporterContext

_S = 1e9


def _alerts(settings: AppriseSettings, context: ExporterContext) -> AppriseExporter:
    return AppriseExporter(
        context.id,
        [url.get_secret_value() for url in settings.urls],
        context.telemetry,
        timeout_s=settings.timeout / _S,
        retry=settings.retry_on_failure.policy,
        queue_size=settings.sending_queue.queue_size,
    )


APPRISE: Final = ExporterComponent("apprise", AppriseSettings, needs=("apprise",), extra="notify", alerts=_alerts)
