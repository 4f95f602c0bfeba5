"""TLS towards a destination: its settings, converted for the two libraries that implement it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import certifi
import grpc
from pydantic import Field, model_validator

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration, SecretPath

TlsVersion = Literal["1.2", "1.3"]
ONLY_HTTP: Final = "not supported for gRPC, whose library uses TLS 1.2 or 1.3 and always verifies certificates"
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ClientTls(Settings):
    """TLS of an exporter."""

    insecure: bool = Field(default=False, description="plain text, no TLS")
    insecure_skip_verify: bool = Field(
        default=False, description="accept any server certificate, for tests (HTTP only)"
    )
    server_name_override: str = Field(
        default="", description="name that the certificate of the server must have, instead of the endpoint's host"
    )
    min_version: TlsVersion = Field(default="1.2", description="lowest version of TLS: 1.2 | 1.3 (HTTP only)")
    ca_file: SecretPath | None = Field(
        default=None, description="CA of the server's certificate; default: those of the system"
    )
    cert_file: SecretPath | None = Field(default=None, description="client certificate, PEM")
    key_file: SecretPath | None = Field(default=None, description="client key, PEM, not encrypted")
    reload_interval: Duration | None = Field(
        default=None, description="how often to check whether the files have changed; default: only at start"
    )

    @model_validator(mode="after")
    def _paired(self) -> ClientTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together")
        return self

    def problems(self, key: str) -> Iterator[str]:
        """Return the reason why the certificates cannot be used, if there is one."""
        try:
            check_client_tls(self, key)
        except OSError as error:
            yield str(error)

    def only_http(self, key: str) -> Iterator[str]:
        """Return the keys that a gRPC exporter cannot honor."""
        if self.min_version != "1.2":
            yield f"{key}.min_version: {ONLY_HTTP}"
        if self.insecure_skip_verify:
            yield f"{key}.insecure_skip_verify: {ONLY_HTTP}; set ca_file or server_name_override"


def check_client_tls(tls: ClientTls, key: str) -> None:
    """Check the certificates; ``OSError`` names ``key`` and the file that cannot be read or does not fit."""
    for name, path in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if path is not None:
            _check_readable(f"{key}.{name}", path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    used: list[Path] = []
    no_password = ""
    try:
        if tls.ca_file is not None:
            used = [tls.ca_file]
            context.load_verify_locations(tls.ca_file)
        if tls.cert_file is not None and tls.key_file is not None:
            used = [tls.cert_file, tls.key_file]
            # Without this, OpenSSL would prompt for the password of an encrypted key, and block the start.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=no_password)
    except ssl.SSLError as error:
        files = ", ".join(str(path) for path in used)
        raise OSError(f"{key}: cannot use {files}: {error.reason or error}") from None


def _check_readable(key: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise OSError(f"{key}: cannot read {path}: {error.strerror or error}") from error


def grpc_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Read the certificates and return the credentials of a channel."""
    return grpc.ssl_channel_credentials(
        root_certificates=None if tls.ca_file is None else tls.ca_file.read_bytes(),
        private_key=None if tls.key_file is None else tls.key_file.read_bytes(),
        certificate_chain=None if tls.cert_file is None else tls.cert_file.read_bytes(),
    )


def grpc_options(tls: ClientTls) -> tuple[tuple[str, str], ...]:
    """Return the options of a channel."""
    return (("grpc.ssl_target_name_override", tls.server_name_override),) if tls.server_name_override else ()


class _Context(ssl.SSLContext):
    """Expects a different server name than the host of the connection, if ``name`` is set."""

    name = ""

    def wrap_socket(self, *arguments: Any, **keywords: Any) -> ssl.SSLSocket:
        """Wrap a socket for a new connection."""
        if self.name:
            keywords["server_hostname"] = self.name
        return super().wrap_socket(*arguments, **keywords)


def client_context(tls: ClientTls | None) -> ssl.SSLContext:
    """Read the files and return the context of an HTTP connection.

    Without a ``ca_file``, the CAs are those of the system and of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, or of certifi.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    if tls is not None:
        context.minimum_version = _VERSIONS[tls.min_version]
        context.name = tls.server_name_override
    if tls is not None and tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls is not None and tls.ca_file is not None:
        context.load_verify_locations(tls.ca_file)
    else:
        context.load_default_certs()
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
        folder = Path(bundle).is_dir()
        context.load_verify_locations(None if folder else bundle, bundle if folder else None)
    if tls is not None and tls.cert_file is not None and tls.key_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
