"""Settings of TLS, and of who authenticates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration

TlsVersion = Literal["1.2", "1.3"]


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
