"""Settings of the Alertmanager exporter."""

from __future__ import annotations

from pydantic import Field, field_validator

from collector_processor.exporters.alertmanager.exporter import RESEND_S
from collector_processor.exporters.delivery.settings import ClientSettings
from collector_processor.settings.target import parse_target
from collector_processor.settings.values import Destination, Duration

_S = 10**9


class AlertmanagerSettings(ClientSettings):
    """Sends alerts to Alertmanager, over its v2 API."""

    endpoint: Destination = Field(description="base URL such as `http://localhost:9093`; /api/v2/alerts is appended")
    resend: Duration = Field(
        default=round(RESEND_S * _S),
        description="firing alerts are resent after this; without a resend, they end after four times it",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels added to every alert, for routing")
    generator_url: str = Field(default="", description="target of the link in each alert, such as a dashboard")

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if parse_target(value).secure is None:
            raise ValueError("not a URL; write http://host:port or https://host:port")
        return value

    @field_validator("resend")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _S:
            raise ValueError("must be at least 1s")
        return value
