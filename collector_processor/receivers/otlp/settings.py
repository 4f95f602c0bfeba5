"""Settings of the OTLP receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from collector_processor.receivers.otlp.cors import Cors
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ONLY_HTTP
from collector_processor.security.server_tls import ServerTls
from collector_processor.serving.settings import HttpListener
from collector_processor.settings.base import Settings
from collector_processor.settings.values import (
    Bytes,
    Duration,
    EndpointOrSocket,
    SocketMode,
    is_local,
    socket_path,
)

DEFAULT_MAX_BYTES = 64 * 2**20
_S: Final = 10**9
_MS: Final = 10**6


class _Protocol(Settings):
    """What both protocols have in common."""

    endpoint: EndpointOrSocket
    transport: Literal["tcp", "unix"] = Field(
        default="tcp", description="`unix` if the endpoint is the path of a Unix socket; `unix:///path` says it, too"
    )
    socket_file_mode: SocketMode | None = Field(
        default=None,
        description="mode of a Unix socket: 0600, 0660 or 0666; default: 0660, less the umask of the process",
    )
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may send; anyone when absent")

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address of this protocol."""
        yield key, self.endpoint

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the keys that contradict each other."""
        local = bool(socket_path(self.endpoint))
        if self.transport == "unix" and not local:
            yield f"{key}.endpoint: transport is unix: write the path of a socket, such as /run/otel-ml/otlp.sock"
        if self.transport == "tcp" and "transport" in self.model_fields_set and local:
            yield f"{key}.transport: tcp, but {self.endpoint} is a Unix socket; write transport: unix"
        if self.socket_file_mode is not None and not local:
            yield f"{key}.socket_file_mode: would not be used: {self.endpoint} is not a Unix socket"

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line when tokens come in plain text."""
        if self.auth and not self.tls and not is_local(self.endpoint):
            yield f"{key}: takes tokens in plain text; set tls"


class ServerParameters(Settings):
    """How long connections last, and how clients that are gone are noticed."""

    max_connection_idle: Duration | None = Field(
        default=None, description="a connection without a request is closed after this; default: never"
    )
    max_connection_age: Duration | None = Field(
        default=None,
        description="a connection is closed after about this, so that clients of a load balancer spread again; "
        "default: never",
    )
    max_connection_age_grace: Duration | None = Field(
        default=None, description="how long requests of such a connection may still take; default: no limit"
    )
    time: Duration = Field(default=2 * 3600 * _S, description="ping a client that has been silent for this")
    timeout: Duration = Field(default=20 * _S, description="close the connection without an answer to a ping")


class EnforcementPolicy(Settings):
    """How often a client may ping."""

    min_time: Duration = Field(default=300 * _S, description="shortest time between the pings of a client")
    permit_without_stream: bool = Field(default=False, description="whether a client may ping between requests")


class Keepalive(Settings):
    """Keepalive of connections."""

    server_parameters: ServerParameters = Field(
        default_factory=ServerParameters, description="how long connections last"
    )
    enforcement_policy: EnforcementPolicy | None = Field(
        default=None, description="how often a client may ping; default: as often as it likes"
    )


class GrpcProtocol(_Protocol):
    """OTLP over gRPC, and the health service `grpc.health.v1.Health`."""

    endpoint: EndpointOrSocket = Field(default="localhost:4317", description="address to listen on, or `unix:///path`")
    max_recv_msg_size: Bytes = Field(default=DEFAULT_MAX_BYTES, description="largest request, after decompression")
    max_concurrent_streams: int = Field(default=128, ge=1, description="requests at once on one connection")
    max_connections: int = Field(default=2048, ge=1, description="connections at once; more are refused")
    read_timeout: Duration = Field(default=30 * _S, description="how long a whole request may take to arrive")
    keepalive: Keepalive = Field(default_factory=Keepalive, description="keepalive of connections")

    def options(self) -> list[tuple[str, int]]:
        """Return the limits of connections as options of gRPC's library."""
        parameters, policy = self.keepalive.server_parameters, self.keepalive.enforcement_policy
        durations = {
            "grpc.max_connection_idle_ms": parameters.max_connection_idle,
            "grpc.max_connection_age_ms": parameters.max_connection_age,
            "grpc.max_connection_age_grace_ms": parameters.max_connection_age_grace,
            "grpc.keepalive_time_ms": parameters.time,
            "grpc.keepalive_timeout_ms": parameters.timeout,
            "grpc.http2.min_ping_interval_without_data_ms": None if policy is None else policy.min_time,
        }
        return [
            *((name, max(1, value // _MS)) for name, value in durations.items() if value is not None),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            # Without a policy clients may ping as often as they like: SDKs do, even between requests.
            ("grpc.http2.max_ping_strikes", 0 if policy is None else 2),
            ("grpc.keepalive_permit_without_calls", int(policy is None or policy.permit_without_stream)),
        ]

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the keys that contradict each other, and those of TLS that gRPC's library cannot honor."""
        yield from super().mistakes(key)
        if self.tls is not None and self.tls.min_version != "1.2":
            yield f"{key}.tls.min_version: {ONLY_HTTP}"


class HttpProtocol(HttpListener, _Protocol):
    """OTLP over HTTP, protobuf and JSON."""

    endpoint: EndpointOrSocket = Field(default="localhost:4318", description="address to listen on, or `unix:///path`")
    max_request_body_size: Bytes = Field(default=DEFAULT_MAX_BYTES, description="largest request, after decompression")
    read_timeout: Duration = Field(default=30 * _S, description="how long a whole body may take to arrive")
    cors: Cors | None = Field(default=None, description="which web pages may send; none when absent")


def _none_is_default(value: object) -> object:
    return {} if value is None else value


class OtlpProtocols(Settings):
    """Which protocols to serve; ``grpc:`` alone means its defaults."""

    grpc: Annotated[GrpcProtocol | None, BeforeValidator(_none_is_default)] = Field(
        default=None, description="OTLP/gRPC"
    )
    http: Annotated[HttpProtocol | None, BeforeValidator(_none_is_default)] = Field(
        default=None, description="OTLP/HTTP"
    )

    @model_validator(mode="after")
    def _some(self) -> OtlpProtocols:
        if self.grpc is None and self.http is None:
            raise ValueError("name at least one protocol: grpc, http")
        return self


class OtlpReceiverSettings(Settings):
    """Receives OTLP traces, logs and metrics."""

    protocols: OtlpProtocols = Field(
        default_factory=lambda: OtlpProtocols(grpc=GrpcProtocol(), http=HttpProtocol()), description="what to serve"
    )
