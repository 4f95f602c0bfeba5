"""Settings of OTLP exporters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from collector_processor.exporters.delivery.settings import QueueConfig, RetryConfig
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ClientTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Destination, Duration


class OtlpExporter(Settings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    endpoint: Destination = Field(description="gRPC: host:port; HTTP: base URL, /v1/… is appended")
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS")
    auth: Authentication | None = Field(default=None, description="sends a bearer token")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers; values are never printed")
    compression: Literal["none", "gzip"] | None = Field(
        default=None, description="none | gzip; when absent originals go as they came, measurements with gzip"
    )
    timeout: Duration = Field(default=5 * 10**9, description="of one try")
    temporality: Literal["cumulative", "delta"] = Field(
        default="cumulative", description="of counters; Datadog likes delta"
    )
    timestamps: Literal["emitted", "window_end"] = Field(
        default="emitted", description="of gauges: when their window was closed, or when it ended; see the conventions"
    )
    retry_on_failure: RetryConfig = Field(default_factory=RetryConfig, description="retries")
    sending_queue: QueueConfig = Field(default_factory=QueueConfig, description="queue of measurements")
