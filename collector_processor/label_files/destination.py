"""Where labels are sent: the options of the command, then the standard variables, then this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Compression, Sender
from collector_processor.security.client_tls import ClientTls, check_client_tls
from otel_ml.sdk import PROTOCOLS, address_of, protocol_of

_PREFIXES: Final = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_HERE: Final = {"grpc": "http://localhost:4317", "http/protobuf": "http://localhost:4318"}
_TIMEOUT_S: Final = 10.0
"""That of the SDK's exporters."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An OTLP endpoint, its protocol, and what is needed to use it."""

    endpoint: str
    protocol: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tls: ClientTls | None = None
    compression: Compression = "none"
    timeout_s: float = _TIMEOUT_S

    @property
    def where(self) -> str:
        """The address without credentials, for messages."""
        parts = urlsplit(self.endpoint)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"

    def sender(self) -> Sender:
        """Return a connection; ``OSError`` names a certificate that cannot be used."""
        if self.tls is not None:
            check_client_tls(self.tls, "--ca-file")
        if self.protocol == "grpc":
            return GrpcSender(self.endpoint, tls=self.tls, headers=self.headers, compression=self.compression)
        return HttpSender(self.endpoint, tls=self.tls, headers=self.headers, compression=self.compression)


def destination(
    endpoint: str | None,
    protocol: str | None,
    headers: Mapping[str, str],
    ca_file: Path | None,
    environ: Mapping[str, str],
) -> Destination:
    """Return where to send; ``ValueError`` names the option or variable that cannot be used.

    >>> destination(None, None, {}, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}).protocol
    'http/protobuf'
    """
    named = endpoint or _variable(environ, "ENDPOINT")
    if protocol is not None and protocol not in PROTOCOLS:
        raise ValueError(f"--protocol: {protocol!r} is unknown; allowed: {', '.join(PROTOCOLS)}")
    given = None if endpoint else _variable(environ, "PROTOCOL")
    if given and given not in PROTOCOLS:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {given!r} is unknown; allowed: {', '.join(PROTOCOLS)}")
    address = address_of(named) if named else ""
    chosen = protocol or given or (protocol_of(address) if address else PROTOCOLS[0])
    address = address or _HERE[chosen]
    return Destination(
        address,
        chosen,
        {**parse_env_headers(_variable(environ, "HEADERS"), liberal=True), **headers},
        _tls(environ, ca_file) if address.startswith("https:") else None,
        "gzip" if _variable(environ, "COMPRESSION") == "gzip" else "none",
        _timeout_s(_variable(environ, "TIMEOUT")),
    )


def _variable(environ: Mapping[str, str], name: str) -> str:
    return next((value for prefix in _PREFIXES if (value := environ.get(prefix + name, "").strip())), "")


def _tls(environ: Mapping[str, str], ca_file: Path | None) -> ClientTls:
    files = {
        "ca_file": ca_file or _variable(environ, "CERTIFICATE") or None,
        "cert_file": _variable(environ, "CLIENT_CERTIFICATE") or None,
        "key_file": _variable(environ, "CLIENT_KEY") or None,
    }
    return ClientTls.model_validate(files)


def _timeout_s(text: str) -> float:
    try:
        timeout_s = float(text or _TIMEOUT_S)
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s < float("inf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT: {text!r} is not a number of seconds above 0")
    return timeout_s
