"""From the checked ``alerts`` section to the engine and its destinations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.notice import Destination
from collector_processor.alerts.settings import SilenceSettings
from collector_processor.alerts.silences import Silence
from collector_processor.config import Config
from collector_processor.exporters.alertmanager import exporter as alertmanager
from collector_processor.exporters.alertmanager.settings import AlertmanagerExporter
from collector_processor.exporters.apprise import exporter as apprise
from collector_processor.exporters.apprise.settings import AppriseExporter
from collector_processor.exporters.base import Exporter
from collector_processor.exporters.debug import exporter as debug
from collector_processor.exporters.debug.settings import DebugExporter
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.exporters.delivery.settings import RetryConfig
from collector_processor.exporters.otlp.alert_events import AlertEvents
from collector_processor.exporters.otlp.settings import OtlpExporter
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pace import stale_ns
from collector_processor.security.client_tls import check_client_tls
from collector_processor.service.connect import Credentials, connect

_S = 1e9


def build_alerting(
    config: Config, telemetry: Telemetry, instance_id: str, exporters: Sequence[Exporter] = ()
) -> Alerting:
    """The notifier of a service; of ``exporters`` those that take alerts as well are told, not built anew."""
    alerts = config.alerts
    engine = Engine(
        alerts.resolved(),
        telemetry,
        silences=[_silence(settings) for settings in alerts.silences],
        repeat_ns=alerts.repeat,
        stale_ns=stale_ns(config.monitor),
        limit=alerts.series,
    )
    there = {exporter.name: exporter for exporter in exporters if isinstance(exporter, debug.DebugExporter)}
    destinations: list[Destination] = [
        there.get(name) or build_destination(config, name, telemetry, instance_id)
        for name in dict.fromkeys(alerts.notify)
    ]
    return Alerting(engine, destinations, telemetry)


def build_destination(config: Config, name: str, telemetry: Telemetry, instance_id: str) -> Destination:
    """What ``alerts.notify`` names."""
    settings = config.exporters[name]
    match settings:
        case AlertmanagerExporter():
            credentials = Credentials(config, settings, settings.endpoint.startswith("https://"))
            return alertmanager.AlertmanagerExporter(
                name,
                settings.endpoint,
                telemetry,
                tls=settings.tls,
                headers=credentials.headers,
                changed=credentials.changed,
                timeout_s=settings.timeout / _S,
                resend_s=settings.resend / _S,
                extra_labels=settings.labels,
                generator_url=settings.generator_url,
                retry=retry_policy(settings.retry_on_failure),
            )
        case AppriseExporter():
            return apprise.AppriseExporter(
                name,
                [url.get_secret_value() for url in settings.urls],
                telemetry,
                timeout_s=settings.timeout / _S,
                retry=retry_policy(settings.retry_on_failure),
                queue_size=settings.sending_queue.queue_size,
            )
        case OtlpExporter():
            return AlertEvents(
                name,
                connect(config, name, settings),
                telemetry,
                instance_id=instance_id,
                retry=retry_policy(settings.retry_on_failure),
                timeout_s=settings.timeout / _S,
                queue_size=settings.sending_queue.queue_size,
            )
        case DebugExporter():
            return debug.DebugExporter(name, verbosity=settings.verbosity)
        case _:
            raise TypeError(f"exporters.{name} takes no alerts")


def destination_problems(config: Config) -> Iterator[str]:
    """What only shows when destinations of alerts are looked at: packages, addresses and files."""
    for name in config.alerts.notify:
        settings = config.exporters[name]
        if isinstance(settings, AppriseExporter):
            yield from apprise.check_urls(f"exporters.{name}", [url.get_secret_value() for url in settings.urls])
        elif isinstance(settings, AlertmanagerExporter):
            try:
                check_client_tls(settings.tls, f"exporters.{name}.tls")
            except OSError as error:
                yield str(error)


def retry_policy(settings: RetryConfig) -> RetryPolicy:
    """The retry policy of settings."""
    return RetryPolicy(
        enabled=settings.enabled,
        initial_s=settings.initial_interval / _S,
        multiplier=settings.multiplier,
        max_s=settings.max_interval / _S,
        max_elapsed_s=settings.max_elapsed_time / _S,
    )


def _silence(settings: SilenceSettings) -> Silence:
    return Silence(
        tuple(settings.where.items()), settings.rules, _ns(settings.begin), _ns(settings.until), settings.comment
    )


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp()) * 10**9
