"""Settings of listeners that serve reads: the service's own address, and those of exporters."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from collector_processor.security.authentication import Authentication
from collector_processor.security.server_tls import ServerTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Endpoint, is_local


class ReadListener(Settings):
    """An address that others read from."""

    endpoint: Endpoint
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may read; anyone when absent")

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
