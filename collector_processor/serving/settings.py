"""Settings of listeners: the limits of their connections, and the addresses that serve reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from collector_processor.security.authentication import Authentication
from collector_processor.security.server_tls import ServerTls
from collector_processor.serving.http_connection import HttpLimits
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Bytes, Duration, Endpoint, is_local

_S: Final = 10**9
Connections = Annotated[
    int, Field(ge=1, description="connections at once; a new one takes the place of the one that is idle longest")
]
HeaderSize = Annotated[Bytes, Field(description="largest request line and headers")]
HeaderTimeout = Annotated[Duration, Field(description="how long the request line and headers may take to arrive")]
WriteTimeout = Annotated[Duration, Field(description="how long a client may take to read its answer")]
IdleTimeout = Annotated[Duration, Field(description="how long a connection is kept without a request")]


class HttpListener(Settings):
    """The limits of an HTTP listener, by the Collector's names where it has them."""

    max_connections: Connections = 2048
    max_header_size: HeaderSize = 64 * 2**10
    read_header_timeout: HeaderTimeout = 20 * _S
    write_timeout: WriteTimeout = 30 * _S
    idle_timeout: IdleTimeout = 75 * _S  # longer than the minute after which many exporters send again

    def http_limits(self) -> HttpLimits:
        """Return the limits."""
        return HttpLimits(
            self.max_connections,
            self.max_header_size,
            self.read_header_timeout / _S,
            self.write_timeout / _S,
            self.idle_timeout / _S,
        )


class AdminHttpListener(HttpListener):
    """The limits where scrapers and probes connect: they need one connection and a small head."""

    max_connections: Connections = 32
    max_header_size: HeaderSize = 16 * 2**10
    read_header_timeout: HeaderTimeout = 10 * _S
    idle_timeout: IdleTimeout = 10 * _S


class _Address(Settings):
    """What comes first in the list of keys."""

    endpoint: Endpoint
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may read; anyone when absent")


class ReadListener(AdminHttpListener, _Address):
    """An address that others read from."""

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address."""
        yield f"{key}.endpoint", self.endpoint

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line when tokens come in plain text."""
        if self.auth and not self.tls and not is_local(self.endpoint):
            yield f"{key}: takes tokens in plain text; set tls"


class AdminListener(ReadListener):
    """Where the service shows its own metrics and its state."""

    endpoint: Endpoint = Field(
        default="localhost:8888", description="address of the service's own metrics (`/metrics`) and state (`/status`)"
    )
