"""OTLP over gRPC and over HTTP: two components that differ in their connection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

from collector_processor.exporters.component import ExporterComponent, ExporterContext
from collector_processor.exporters.otlp.alert_events import AlertEvents
from collector_processor.exporters.otlp.connection import connect
from collector_processor.exporters.otlp.exporter import OtlpExporter
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpHttpSettings, OtlpSettings
from collector_processor.journal.base import Journal, Signal

Protocol = Literal["grpc", "http"]


def _measurements(protocol: Protocol, settings: OtlpSettings, context: ExporterContext) -> OtlpExporter:
    # Measurements are compressed by default; originals are forwarded as they arrived.
    compressing = settings.model_copy(update={"compression": settings.compression or "gzip"})
    return OtlpExporter(
        context.id,
        connect(compressing, context, protocol),
        context.telemetry,
        instance_id=context.instance_id,
        timeout_s=settings.timeout_s,
        temporality=settings.temporality,
        timestamps=settings.timestamps,
        retry=settings.retry_on_failure.policy,
        queue_size=settings.sending_queue.queue_size,
        consumers=settings.sending_queue.num_consumers,
        batching=settings.sending_queue.batching,
        descriptions=context.descriptions,
    )


def _alerts(protocol: Protocol, settings: OtlpSettings, context: ExporterContext) -> AlertEvents:
    return AlertEvents(
        context.id,
        connect(settings, context, protocol),
        context.telemetry,
        instance_id=context.instance_id,
        retry=settings.retry_on_failure.policy,
        timeout_s=settings.timeout_s,
        queue_size=settings.sending_queue.queue_size,
        consumers=settings.sending_queue.num_consumers,
    )


def _originals(
    protocol: Protocol, settings: OtlpSettings, context: ExporterContext, journal: Journal, signals: Sequence[Signal]
) -> OriginalsForwarder:
    return OriginalsForwarder(
        context.id,
        journal,
        connect(settings, context, protocol),
        context.telemetry,
        signals=signals,
        retry=settings.retry_on_failure.policy,
        timeout_s=settings.timeout_s,
        consumers=settings.sending_queue.num_consumers,
        batching=settings.sending_queue.batching,
    )


OTLP_GRPC: Final = ExporterComponent(
    "otlp_grpc",
    OtlpGrpcSettings,
    aliases=("otlp",),
    measurements=partial(_measurements, "grpc"),
    alerts=partial(_alerts, "grpc"),
    originals=partial(_originals, "grpc"),
)
OTLP_HTTP: Final = ExporterComponent(
    "otlp_http",
    OtlpHttpSettings,
    aliases=("otlphttp",),
    measurements=partial(_measurements, "http"),
    alerts=partial(_alerts, "http"),
    originals=partial(_originals, "http"),
)
