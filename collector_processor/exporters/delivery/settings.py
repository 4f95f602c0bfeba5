"""Settings of connections, retries and queues, the same for every exporter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from pydantic import Field, SecretStr, field_validator, model_validator

from collector_processor.exporters.delivery.bounded_queue import Batching
from collector_processor.exporters.delivery.proxy import Protocol, proxy_of
from collector_processor.exporters.delivery.retry import CONSUMERS, QUEUE_SIZE, TIMEOUT_S, RetryPolicy
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ClientTls
from collector_processor.settings.base import Settings
from collector_processor.settings.target import Target, parse_target
from collector_processor.settings.values import Destination, Duration

_S = 1e9
_SHORTEST_WAIT: Final = 10**6
_BATCHING = Batching()
_POLICY = RetryPolicy()
_SECRET_NAMES: Final = re.compile(r"auth|key|token|secret|password|cookie|credential", re.IGNORECASE)


class RetrySettings(Settings):
    """Retries of an exporter."""

    enabled: bool = Field(default=_POLICY.enabled, description="whether to retry")
    initial_interval: Duration = Field(default=round(_POLICY.initial_s * _S), description="first wait")
    multiplier: float = Field(default=_POLICY.multiplier, ge=1, description="factor by which the wait grows")
    max_interval: Duration = Field(default=round(_POLICY.max_s * _S), description="longest wait")
    max_elapsed_time: Duration = Field(default=round(_POLICY.max_elapsed_s * _S), description="give up after this")

    @field_validator("initial_interval", "max_interval")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _SHORTEST_WAIT:
            raise ValueError(
                "must be at least 1ms; without a wait, a destination that is down is sent requests without end"
            )
        return value

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


class BatchSettings(Settings):
    """Joins what waits into larger requests, as the Collector's exporters do."""

    flush_timeout: Duration = Field(
        default=round(_BATCHING.flush_s * _S), description="send a smaller request after waiting this long for more"
    )
    min_size: int = Field(
        default=_BATCHING.min_size, ge=0, description="send at this many spans, log records or metric points"
    )
    max_size: int = Field(default=_BATCHING.max_size, ge=0, description="divide larger requests; 0: no limit")

    @model_validator(mode="after")
    def _ordered(self) -> BatchSettings:
        if self.max_size and self.max_size < self.min_size:
            raise ValueError(f"max_size ({self.max_size}) must be at least min_size ({self.min_size})")
        if self.flush_timeout <= 0:
            raise ValueError("flush_timeout must be more than 0")
        return self


class ConsumerQueueSettings(QueueSettings):
    """The queue of an exporter that may send several requests at a time."""

    num_consumers: int = Field(
        default=CONSUMERS,
        ge=1,
        le=1000,
        description="maximum number of requests under way; a model's figures and originals of metrics keep their order",
    )
    batch: BatchSettings | None = Field(default=None, description="join what waits; `{}` uses the defaults")

    @property
    def batching(self) -> Batching | None:
        """How what waits is joined."""
        batch = self.batch
        return None if batch is None else Batching(batch.min_size, batch.max_size, batch.flush_timeout / _S)


class ClientSettings(Settings):
    """The destination of an exporter, and the credentials for it."""

    protocol: ClassVar[Protocol] = "http"
    """How it is sent, which decides the proxy."""

    endpoint: Destination
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS")
    auth: Authentication | None = Field(default=None, description="sends a bearer token")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers to send; values are never printed")
    timeout: Duration = Field(default=round(TIMEOUT_S * _S), description="timeout of one try")
    retry_on_failure: RetrySettings = Field(default_factory=RetrySettings, description="retries")

    @field_validator("timeout")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < _SHORTEST_WAIT:
            raise ValueError("must be at least 1ms")
        return value

    @property
    def target(self) -> Target:
        """The parts of the endpoint."""
        return parse_target(self.endpoint)

    @property
    def secure(self) -> bool:
        """Whether TLS is used: ``https://`` or ``http://`` decides, or ``tls.insecure`` if it has neither."""
        return not self.tls.insecure if self.target.secure is None else self.target.secure

    @property
    def timeout_s(self) -> float:
        """The timeout of one try in seconds."""
        return self.timeout / _S

    def mistakes(self, key: str) -> Iterator[str]:
        """Return the settings of TLS that would have no effect, because the endpoint is in plain text."""
        if self.secure:
            return
        why = "the endpoint says http://; write https://" if self.target.secure is False else "tls.insecure is set"
        for name in ("ca_file", "cert_file", "server_name_override"):
            if getattr(self.tls, name):
                yield f"{key}.tls.{name}: would not be used, because {why}"

    def problems(self, key: str) -> Iterator[str]:
        """Return the reason why the proxy that the environment names cannot be used, if there is one."""
        try:
            proxy_of(self.target, self.protocol, secure=self.secure)
        except ValueError as error:
            yield f"{key}.endpoint: {error}"

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line if a secret leaves this machine in plain text, or if the server is not verified."""
        if not self.secure and not self.target.local:
            if self.auth:
                yield f"{key}: sends its token in plain text; set tls"
            if self.target.user is not None:
                yield f"{key}: sends the credentials of its endpoint in plain text; set tls"
            names = ", ".join(name for name in self.headers if _SECRET_NAMES.search(name))
            if names:
                yield f"{key}.headers: sends {names} in plain text; set tls"
        if self.secure and self.tls.insecure_skip_verify:
            yield f"{key}.tls.insecure_skip_verify: accepts any server certificate"
