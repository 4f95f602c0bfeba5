"""Alerts to Alertmanager."""

from __future__ import annotations

from typing import Final

from collector_processor.exporters.alertmanager.exporter import AlertmanagerExporter
from collector_processor.exporters.alertmanager.settings import AlertmanagerSettings
from collector_processor.exporters.component import ExporterComponent, ExporterContext
from collector_processor.exporters.delivery.credentials import Credentials

_S = 1e9


def _alerts(settings: AlertmanagerSettings, context: ExporterContext) -> AlertmanagerExporter:
    credentials = Credentials(settings, context.authenticators)
    return AlertmanagerExporter(
        context.id,
        settings.endpoint,
        context.telemetry,
        tls=settings.tls,
        headers=credentials.headers,
        changed=credentials.changed,
        timeout_s=settings.timeout_s,
        resend_s=settings.resend / _S,
        extra_labels=settings.labels,
        generator_url=settings.generator_url,
        retry=settings.retry_on_failure.policy,
    )


ALERTMANAGER: Final = ExporterComponent("alertmanager", AlertmanagerSettings, alerts=_alerts)
