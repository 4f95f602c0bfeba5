"""Settings of OTLP exporters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from collector_processor.exporters.delivery.grpc_sender import Keepalive
from collector_processor.exporters.delivery.proxy import Protocol
from collector_processor.exporters.delivery.settings import ClientSettings, ConsumerQueueSettings
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Destination, Duration

_S = 10**9
_KEEPALIVE = Keepalive()


class OtlpSettings(ClientSettings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    endpoint: Destination = Field(
        description="gRPC: host:port; HTTP: base URL, /v1/… is appended; both: unix:///path; https:// uses TLS, "
        "http:// does not"
    )
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
    sending_queue: ConsumerQueueSettings = Field(
        default_factory=ConsumerQueueSettings, description="queue of measurements, and how requests are sent"
    )

    def sends(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the endpoint, because this service may be listening there."""
        yield f"{key}.endpoint", self.endpoint


class KeepaliveSettings(Settings):
    """Checks of a gRPC connection on which nothing comes."""

    time: Duration = Field(
        default=round(_KEEPALIVE.time_s * _S), description="check a connection on which nothing came for this long"
    )
    timeout: Duration = Field(
        default=round(_KEEPALIVE.timeout_s * _S), description="replace the connection if the check is not answered"
    )
    permit_without_stream: bool = Field(
        default=_KEEPALIVE.permit_without_stream,
        description="check also while no request is under way; servers may refuse that",
    )

    @field_validator("time", "timeout")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _S // 1000:
            raise ValueError("must be at least 1ms")
        return value

    @property
    def parsed(self) -> Keepalive:
        """The times in seconds."""
        return Keepalive(self.time / _S, self.timeout / _S, self.permit_without_stream)


class OtlpHttpSettings(OtlpSettings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the forms of an address that only gRPC's library has, and what plain text makes useless."""
        if self.target.scheme in ("dns", "ipv4", "ipv6", "unix-abstract"):
            yield f"{key}.endpoint: {self.target.scheme}: is for gRPC only; write http://host:port or https://host:port"
        yield from super().mistakes(key)


class OtlpGrpcSettings(OtlpSettings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    protocol: ClassVar[Protocol] = "grpc"
    keepalive: KeepaliveSettings = Field(default_factory=KeepaliveSettings, description="checks of the connection")

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the settings that gRPC's library cannot honor, and what plain text makes useless."""
        target = self.target
        if target.user is not None:
            yield f"{key}.endpoint: gRPC does not support a user name in an address; use headers or auth"
        if target.query or (target.path and not target.scheme.startswith("unix")):
            yield f"{key}.endpoint: gRPC has no paths; write host:port, or use otlp_http for a URL with a path"
        if len(target.addresses) > 1 and self.secure and not self.tls.server_name_override:
            yield f"{key}.tls.server_name_override: needed for several addresses, which have no name in common"
        yield from self.tls.only_http(f"{key}.tls")
        yield from super().mistakes(key)
