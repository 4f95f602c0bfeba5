"""Settings of retries and queues, the same for every exporter."""

from __future__ import annotations

from pydantic import Field

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration


class RetryConfig(Settings):
    """Retries of an exporter."""

    enabled: bool = Field(default=True, description="retry at all")
    initial_interval: Duration = Field(default=5 * 10**9, description="first wait")
    multiplier: float = Field(default=1.5, ge=1, description="growth of the wait")
    max_interval: Duration = Field(default=30 * 10**9, description="longest wait")
    max_elapsed_time: Duration = Field(default=300 * 10**9, description="give up after this")


class QueueConfig(Settings):
    """The queue before an exporter of measurements."""

    queue_size: int = Field(default=1000, ge=1, description="sets of measurements that may wait")
