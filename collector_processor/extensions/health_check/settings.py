"""Settings of the health check."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from collector_processor.serving.settings import AdminHttpListener, Connections, HeaderTimeout
from collector_processor.settings.values import Endpoint


class HealthCheckSettings(AdminHttpListener):
    """Answers 200 while the service is up."""

    endpoint: Endpoint = Field(default="localhost:13133", description="address to listen on")
    max_connections: Connections = 16
    read_header_timeout: HeaderTimeout = 5 * 10**9

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address of the endpoint."""
        yield f"{key}.endpoint", self.endpoint
