"""Settings of the Apprise exporter."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, SecretStr, field_validator

from collector_processor.exporters.apprise.exporter import SERVICE_TIMEOUT_S, check_urls
from collector_processor.exporters.delivery.settings import QueueSettings, RetrySettings
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration

_S = 10**9


class AppriseSettings(Settings):
    """Sends alerts to Slack, PagerDuty, e-mail, Teams and the other services that Apprise supports."""

    urls: tuple[SecretStr, ...] = Field(min_length=1, description="Apprise URLs, one per service; never printed")
    timeout: Duration = Field(default=round(SERVICE_TIMEOUT_S * _S), description="timeout of one try")
    retry_on_failure: RetrySettings = Field(
        default_factory=RetrySettings, description="retries, separate for each service"
    )
    sending_queue: QueueSettings = Field(default_factory=QueueSettings, description="queue of notifications")

    @field_validator("timeout")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _S // 1000:
            raise ValueError("must be at least 1ms")
        return value

    def problems(self, key: str) -> Iterator[str]:
        """Return a line for each URL that Apprise does not support, by its position."""
        yield from check_urls(key, [url.get_secret_value() for url in self.urls])
