"""Settings of the health check."""

from __future__ import annotations

from pydantic import Field

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Endpoint


class HealthCheck(Settings):
    """Answers 200 while the service is up."""

    endpoint: Endpoint = Field(default="localhost:13133", description="address to listen on")
