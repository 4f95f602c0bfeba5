"""Settings of the Prometheus exporter."""

from __future__ import annotations

from pydantic import Field

from collector_processor.serving.settings import ReadListener
from collector_processor.settings.values import Duration, Endpoint


class PrometheusSettings(ReadListener):
    """Publishes measurements for Prometheus to scrape."""

    endpoint: Endpoint = Field(default="localhost:9464", description="address to listen on")
    metric_expiration: Duration | None = Field(
        default=None,
        description="a series without new values is removed after this; default: three windows plus the allowed "
        "lateness, at least `5m`, or `7d` with windows of rows",
    )
    exemplars: bool = Field(
        default=False,
        description="add a trace to each measurement that is about some predictions, in OpenMetrics. Only for "
        "Prometheus 3: OpenMetrics 1.0 allows it for counters alone, and Prometheus 2.42 refuses the whole scrape",
    )

    def keeps_ns(self) -> int | None:
        """Return the set expiration."""
        return self.metric_expiration
