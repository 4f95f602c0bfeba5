"""Settings of TLS and of bearer tokens, and the checks that reach over several components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from collector_processor.config.settings import Settings
from collector_processor.config.values import Duration
from collector_processor.security.credentials import WHAT_FITS, is_token

TlsVersion = Literal["1.2", "1.3"]
EXTENSION = "bearertokenauth"
_ONLY_HTTP = "gRPC's library has no such switch; it speaks TLS 1.2 and 1.3 and always verifies"


class ServerTls(Settings):
    """TLS of a receiver."""

    cert_file: Path = Field(description="certificate chain, PEM")
    key_file: Path = Field(description="private key, PEM, not encrypted")
    client_ca_file: Path | None = Field(
        default=None, description="CA that client certificates must come from (mutual TLS)"
    )
    min_version: TlsVersion = Field(default="1.2", description="oldest version of TLS: 1.2 | 1.3 (HTTP only)")
    reload_interval: Duration | None = Field(
        default=None, description="how often to look whether the files have changed; only at the start when absent"
    )


class ClientTls(Settings):
    """TLS of an exporter."""

    insecure: bool = Field(default=False, description="plain text, no TLS")
    insecure_skip_verify: bool = Field(default=False, description="TLS with whoever answers, for tests (HTTP only)")
    server_name_override: str = Field(
        default="", description="name that the server's certificate must have, instead of the endpoint's host"
    )
    min_version: TlsVersion = Field(default="1.2", description="oldest version of TLS: 1.2 | 1.3 (HTTP only)")
    ca_file: Path | None = Field(default=None, description="CA of the server's certificate; the system's when absent")
    cert_file: Path | None = Field(default=None, description="client certificate, PEM")
    key_file: Path | None = Field(default=None, description="client key, PEM, not encrypted")
    reload_interval: Duration | None = Field(
        default=None, description="how often to look whether the files have changed; only at the start when absent"
    )

    @model_validator(mode="after")
    def _paired(self) -> ClientTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are needed together")
        return self


class Authentication(Settings):
    """Who may send, or as whom to send."""

    authenticator: str = Field(description="id of a `bearertokenauth` extension, such as `bearertokenauth/apps`")


class BearerTokenAuth(Settings):
    """Bearer tokens: a receiver takes any of them, an exporter sends the first."""

    scheme: str = Field(default="Bearer", pattern=r"^[A-Za-z][A-Za-z0-9._~+-]*$", description="word before the token")
    token: SecretStr | None = Field(default=None, description="a token; never printed")
    tokens: tuple[SecretStr, ...] = Field(default=(), max_length=100, description="several; never printed")
    filename: Path | None = Field(
        default=None, description="file with a token a line, instead; read again when it changes"
    )

    @property
    def fixed(self) -> tuple[str, ...]:
        """The tokens that stand in the configuration itself."""
        return tuple(item.get_secret_value() for item in (*((self.token,) if self.token else ()), *self.tokens))

    @model_validator(mode="after")
    def _some(self) -> BearerTokenAuth:
        given = [name for name in ("token", "tokens", "filename") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give one of token, tokens, filename; there is: {', '.join(given) or 'none of them'}")
        if not all(map(is_token, self.fixed)):
            raise ValueError(f"{given[0]}: not a token: {WHAT_FITS}")
        return self


def auth_problems(
    receivers: Mapping[str, BaseModel],
    exporters: Mapping[str, BaseModel],
    extensions: Mapping[str, BaseModel],
    enabled: Sequence[str],
    grpc_exporters: Sequence[str],
) -> Iterator[str]:
    """What is wrong with TLS and authenticators across components; ``grpc_exporters`` are those that speak gRPC."""
    tokens = [name for name, settings in extensions.items() if isinstance(settings, BearerTokenAuth)]
    for path, auth in _referred(receivers, exporters):
        if auth.authenticator not in tokens:
            choices = ", ".join(tokens) or f"none; configure extensions.{EXTENSION}"
            yield f"{path}.auth.authenticator: no {EXTENSION} {auth.authenticator!r}; there is: {choices}"
        elif auth.authenticator not in enabled:
            yield f"{path}.auth.authenticator: {auth.authenticator!r} is not in service.extensions"
    for name, settings in receivers.items():
        tls = getattr(getattr(getattr(settings, "protocols", None), "grpc", None), "tls", None)
        if isinstance(tls, ServerTls) and tls.min_version != "1.2":
            yield f"receivers.{name}.protocols.grpc.tls.min_version: {_ONLY_HTTP}"
    for name in grpc_exporters:
        if "@" in getattr(exporters[name], "endpoint", ""):
            yield f"exporters.{name}.endpoint: gRPC takes no user name in an address; use headers or auth"
        tls = getattr(exporters[name], "tls", None)
        if isinstance(tls, ClientTls) and tls.min_version != "1.2":
            yield f"exporters.{name}.tls.min_version: {_ONLY_HTTP}"
        if isinstance(tls, ClientTls) and tls.insecure_skip_verify:
            yield f"exporters.{name}.tls.insecure_skip_verify: {_ONLY_HTTP}; give ca_file or server_name_override"


def _referred(
    receivers: Mapping[str, BaseModel], exporters: Mapping[str, BaseModel]
) -> Iterator[tuple[str, Authentication]]:
    """Every ``auth`` and where it stands."""
    for name, settings in receivers.items():
        for protocol in ("grpc", "http"):
            auth = getattr(getattr(getattr(settings, "protocols", None), protocol, None), "auth", None)
            if isinstance(auth, Authentication):
                yield f"receivers.{name}.protocols.{protocol}", auth
    for name, settings in exporters.items():
        auth = getattr(settings, "auth", None)
        if isinstance(auth, Authentication):
            yield f"exporters.{name}", auth
