"""The connection of an OTLP exporter, which is renewed when its token or its certificates change."""

from __future__ import annotations

from functools import partial
from typing import Literal

from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.credentials import Credentials
from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Sender
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpSettings
from collector_processor.security.client_tls import ClientTls, check_client_tls


def connect(settings: OtlpSettings, context: ExporterContext, protocol: Literal["grpc", "http"]) -> Connection[Sender]:
    """Return the connection; ``OSError`` and ``ValueError`` name what cannot be used."""
    tls = settings.tls.model_copy(update={"insecure": False}) if settings.secure else None
    credentials = Credentials(settings, context.authenticators)
    make = partial(_sender, settings, tls, credentials, f"{context.key}.tls", protocol, context.instance_id)
    return Connection(context.id, make, credentials.changed)


def _sender(
    settings: OtlpSettings,
    tls: ClientTls | None,
    credentials: Credentials,
    key: str,
    protocol: Literal["grpc", "http"],
    instance_id: str,
) -> Sender:
    if tls is not None:
        check_client_tls(tls, key)
    headers = credentials.headers()
    if protocol == "grpc":
        keepalive = settings.keepalive.parsed if isinstance(settings, OtlpGrpcSettings) else None
        return GrpcSender(
            settings.endpoint,
            tls=tls,
            headers=headers,
            compression=settings.compression,
            keepalive=keepalive,
            instance_id=instance_id,
        )
    return HttpSender(
        settings.endpoint, tls=tls, headers=headers, compression=settings.compression, instance_id=instance_id
    )
