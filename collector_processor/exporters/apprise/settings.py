"""Settings of the Apprise exporter."""

from __future__ import annotations

from pydantic import Field, SecretStr

from collector_processor.exporters.delivery.settings import QueueConfig, RetryConfig
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration

_S = 10**9


class AppriseExporter(Settings):
    """Sends alerts to Slack, PagerDuty, e-mail, Teams and the other services that Apprise knows."""

    urls: tuple[SecretStr, ...] = Field(min_length=1, description="Apprise's URLs, one a service; never printed")
    timeout: Duration = Field(default=10 * _S, description="of one try")
    retry_on_failure: RetryConfig = Field(default_factory=RetryConfig, description="retries, service by service")
    sending_queue: QueueConfig = Field(default_factory=QueueConfig, description="queue of notifications")
