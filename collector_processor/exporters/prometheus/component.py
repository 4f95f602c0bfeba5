"""Publishes measurements for Prometheus to scrape."""

from __future__ import annotations

from functools import partial
from typing import Final

from collector_processor.exporters.component import ExporterComponent, ExporterContext
from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.exporters.prometheus.settings import PrometheusSettings
from collector_processor.security.authentication import guard_of
from collector_processor.security.server_tls import server_context

_S = 1e9


def _measurements(settings: PrometheusSettings, context: ExporterContext) -> PrometheusExporter:
    own = settings.metric_expiration
    return PrometheusExporter(
        context.id,
        settings.endpoint,
        context.telemetry,
        expiration_s=context.expiration_s if own is None else own / _S,
        max_series=context.max_series,
        descriptions=context.descriptions,
        secure=None if settings.tls is None else partial(server_context, settings.tls, context.key),
        guard=guard_of(context.authenticators, settings.auth, context.telemetry, context.key, what="address"),
        limits=settings.http_limits(),
        exemplars=settings.exemplars,
    )


PROMETHEUS: Final = ExporterComponent("prometheus", PrometheusSettings, measurements=_measurements)
