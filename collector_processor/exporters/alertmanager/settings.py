"""Settings of the Alertmanager exporter."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from collector_processor.exporters.delivery.settings import RetryConfig
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ClientTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Destination, Duration

_S = 10**9


class AlertmanagerExporter(Settings):
    """Tells Alertmanager of alerts, over its v2 API."""

    endpoint: Destination = Field(description="base URL such as `http://localhost:9093`; /api/v2/alerts is appended")
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS")
    auth: Authentication | None = Field(default=None, description="sends a bearer token")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers; values are never printed")
    timeout: Duration = Field(default=5 * _S, description="of one try")
    resend: Duration = Field(
        default=60 * _S, description="firing alerts are sent anew after this; without news for four times it they end"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels added to every alert, to route by")
    generator_url: str = Field(default="", description="where an alert's link leads, such as a dashboard")
    retry_on_failure: RetryConfig = Field(default_factory=RetryConfig, description="retries")

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("not a URL; write http://host:port or https://host:port")
        return value

    @field_validator("resend")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _S:
            raise ValueError("must be at least 1s")
        return value
