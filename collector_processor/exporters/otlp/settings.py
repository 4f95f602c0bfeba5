"""Settings of OTLP exporters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from collector_processor.exporters.delivery.settings import ClientSettings, QueueSettings
from collector_processor.settings.values import Destination


class OtlpSettings(ClientSettings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    endpoint: Destination = Field(description="gRPC: host:port; HTTP: base URL, /v1/… is appended")
    compression: Literal["none", "gzip"] | None = Field(
        default=None, description="none | gzip; default: originals as they arrived, measurements with gzip"
    )
    temporality: Literal["cumulative", "delta"] = Field(
        default="cumulative", description="temporality of counters: cumulative | delta; Datadog prefers delta"
    )
    timestamps: Literal["emitted", "window_end"] = Field(
        default="emitted",
        description="time of gauges: when their window was closed (emitted) or ended (window_end); see the conventions",
    )
    sending_queue: QueueSettings = Field(default_factory=QueueSettings, description="queue of measurements")

    def sends(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the endpoint, because this service may be listening there."""
        yield f"{key}.endpoint", self.endpoint


class OtlpGrpcSettings(OtlpSettings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the settings that gRPC's library cannot honor."""
        if "@" in self.endpoint:
            yield f"{key}.endpoint: gRPC does not support a user name in an address; use headers or auth"
        yield from self.tls.only_http(f"{key}.tls")
