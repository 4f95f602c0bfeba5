"""Settings of the OTLP receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ONLY_HTTP
from collector_processor.security.server_tls import ServerTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Bytes, Endpoint, is_local

DEFAULT_MAX_BYTES = 64 * 2**20


class _Protocol(Settings):
    """What both protocols have in common."""

    endpoint: Endpoint
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may send; anyone when absent")

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address of this protocol."""
        yield key, self.endpoint

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line when tokens come in plain text."""
        if self.auth and not self.tls and not is_local(self.endpoint):
            yield f"{key}: takes tokens in plain text; set tls"


class GrpcProtocol(_Protocol):
    """OTLP over gRPC."""

    endpoint: Endpoint = Field(default="localhost:4317", description="address to listen on")
    max_recv_msg_size: Bytes = Field(default=DEFAULT_MAX_BYTES, description="largest request, after decompression")

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the keys of TLS that gRPC's library cannot honor."""
        if self.tls is not None and self.tls.min_version != "1.2":
            yield f"{key}.tls.min_version: {ONLY_HTTP}"


class HttpProtocol(_Protocol):
    """OTLP over HTTP, protobuf and JSON."""

    endpoint: Endpoint = Field(default="localhost:4318", description="address to listen on")
    max_request_body_size: Bytes = Field(default=DEFAULT_MAX_BYTES, description="largest request, after decompression")


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
