"""Settings of the health check."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Endpoint


class HealthCheckSettings(Settings):
    """Answers 200 while the service is up."""

    endpoint: Endpoint = Field(default="localhost:13133", description="address to listen on")

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address of the endpoint."""
        yield f"{key}.endpoint", self.endpoint
