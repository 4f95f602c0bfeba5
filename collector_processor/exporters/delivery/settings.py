"""Settings of connections, retries and queues, the same for every exporter."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, SecretStr

from collector_processor.exporters.delivery.retry import QUEUE_SIZE, TIMEOUT_S, RetryPolicy
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ClientTls
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Destination, Duration, is_local

_S = 1e9
_POLICY = RetryPolicy()


class RetrySettings(Settings):
    """Retries of an exporter."""

    enabled: bool = Field(default=_POLICY.enabled, description="whether to retry")
    initial_interval: Duration = Field(default=round(_POLICY.initial_s * _S), description="first wait")
    multiplier: float = Field(default=_POLICY.multiplier, ge=1, description="factor by which the wait grows")
    max_interval: Duration = Field(default=round(_POLICY.max_s * _S), description="longest wait")
    max_elapsed_time: Duration = Field(default=round(_POLICY.max_elapsed_s * _S), description="give up after this")

    @property
    def policy(self) -> RetryPolicy:
        """The policy of these settings."""
        return RetryPolicy(
            enabled=self.enabled,
            initial_s=self.initial_interval / _S,
            multiplier=self.multiplier,
            max_s=self.max_interval / _S,
            max_elapsed_s=self.max_elapsed_time / _S,
        )


class QueueSettings(Settings):
    """The queue of an exporter."""

    queue_size: int = Field(default=QUEUE_SIZE, ge=1, description="maximum number of batches or notices that wait")


class ClientSettings(Settings):
    """The destination of an exporter, and the credentials for it."""

    endpoint: Destination
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS")
    auth: Authentication | None = Field(default=None, description="sends a bearer token")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers to send; values are never printed")
    timeout: Duration = Field(default=round(TIMEOUT_S * _S), description="timeout of one try")
    retry_on_failure: RetrySettings = Field(default_factory=RetrySettings, description="retries")

    @property
    def secure(self) -> bool:
        """Whether TLS is used: the scheme of the endpoint decides, or ``tls.insecure`` if it has none."""
        scheme, separator, _ = self.endpoint.rpartition("://")
        return scheme == "https" if separator else not self.tls.insecure

    @property
    def address(self) -> str:
        """The endpoint without its scheme."""
        return self.endpoint.rpartition("://")[2]

    @property
    def timeout_s(self) -> float:
        """The timeout of one try in seconds."""
        return self.timeout / _S

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line if a token leaves this machine in plain text, or if the server is not verified."""
        if self.auth and not self.secure and not is_local(self.address):
            yield f"{key}: sends its token in plain text; set tls"
        if self.secure and self.tls.insecure_skip_verify:
            yield f"{key}.tls.insecure_skip_verify: accepts any server certificate"
