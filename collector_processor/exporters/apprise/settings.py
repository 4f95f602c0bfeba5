"""Settings of the Apprise exporter."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, SecretStr

from collector_processor.exporters.apprise.exporter import SERVICE_TIMEOUT_S, check_urls
from collector_processor.exporters.delivery.settings import QueueSettings, RetrySettings
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration

_S = 1e9


class AppriseSettings(Settings):
    """Sends alerts to Slack, PagerDuty, e-mail, Teams and the other services that Apprise knows."""

    urls: tuple[SecretStr, ...] = Field(min_length=1, description="Apprise's URLs, one a service; never printed")
    timeout: Duration = Field(default=round(SERVICE_TIMEOUT_S * _S), description="of one try")
    retry_on_failure: RetrySettings = Field(default_factory=RetrySettings, description="retries, service by service")
    sending_queue: QueueSettings = Field(default_factory=QueueSettings, description="queue of notifications")

    def problems(self, key: str) -> Iterator[str]:
        """Return the URLs that Apprise does not know, by their position."""
        yield from check_urls(key, [url.get_secret_value() for url in self.urls])
