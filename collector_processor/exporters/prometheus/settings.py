"""Settings of the Prometheus exporter."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from collector_processor.security.server_tls import ServerTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration, Endpoint


class PrometheusSettings(Settings):
    """Serves measurements for Prometheus to scrape."""

    endpoint: Endpoint = Field(default="localhost:9464", description="address to listen on")
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    metric_expiration: Duration | None = Field(
        default=None,
        description="a series without news goes after this; default: three windows and the allowed lateness, at least "
        "`5m`, and `7d` where windows are cut by rows",
    )

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address of the endpoint."""
        yield f"{key}.endpoint", self.endpoint
