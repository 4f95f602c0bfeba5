"""Who may come in and as whom we go out: guards and connections, made from checked settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from collector_processor.config import Config
from collector_processor.config.load import component_type
from collector_processor.exporters.alertmanager.settings import AlertmanagerExporter
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Sender
from collector_processor.exporters.otlp.settings import OtlpExporter
from collector_processor.exporters.prometheus.settings import PrometheusExporter
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import check_client_tls
from collector_processor.security.credentials import Tokens, Watched
from collector_processor.security.guard import Guard
from collector_processor.security.server_tls import check_tls

_S = 1e9
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def guard(config: Config, auth: Authentication | None, telemetry: Telemetry, key: str) -> Guard | None:
    """What stands before a receiver, if its ``auth`` asks for anything."""
    if auth is None:
        return None
    tokens, scheme = _tokens(config, auth.authenticator), config.authenticators[auth.authenticator].scheme
    return Guard(tokens, telemetry, scheme=scheme, key=key)


def connect(config: Config, name: str, settings: OtlpExporter) -> Connection[Sender]:
    """The connection of an OTLP exporter; made anew when its token or certificates change.

    ``OSError`` and ``ValueError`` name what cannot be used.
    """
    tls, key = settings.tls, f"exporters.{name}.tls"
    secure, address = _secure(settings)
    used = tls.model_copy(update={"insecure": False}) if secure else None
    credentials = Credentials(config, settings, secure)

    def make() -> Sender:
        if used is not None:
            check_client_tls(used, key)
        headers = credentials.headers()
        if component_type(name) == "otlp_grpc":
            return GrpcSender(address, tls=used, headers=headers, compression=settings.compression)
        url = f"{'https' if secure else 'http'}://{address}"
        return HttpSender(url, tls=used, headers=headers, compression=settings.compression)

    return Connection(name, make, credentials.changed)


class Credentials:
    """What an exporter shows of itself: headers with the token, and whether token or certificates are others now."""

    def __init__(self, config: Config, settings: OtlpExporter | AlertmanagerExporter, secure: bool) -> None:
        auth = settings.auth
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._tokens = None if auth is None else _tokens(config, auth.authenticator)
        self._scheme = "" if auth is None else config.authenticators[auth.authenticator].scheme
        self._in_use: tuple[str, ...] = ()
        self._files = list(_changes(settings)) if secure else []

    def headers(self) -> dict[str, str]:
        """The headers as of now; a token goes before an ``authorization`` of the configuration."""
        if self._tokens is None:
            return dict(self._headers)
        self._in_use = self._tokens.current
        others = {name: value for name, value in self._headers.items() if name.lower() != "authorization"}
        return {**others, "authorization": f"{self._scheme} {self._in_use[0]}"}

    def changed(self) -> bool:
        """Whether the token that :meth:`headers` gave, or a certificate, has changed."""
        # All are asked, so that none tells of the same change twice.
        files_changed = [watched.changed() for watched in self._files]
        return any(files_changed) or (self._tokens is not None and self._tokens.current is not self._in_use)


def credential_problems(config: Config) -> Iterator[str]:
    """What is wrong with the token files and the exporters' certificates, as they are now."""
    checks: list[Callable[[], object]] = [partial(_tokens, config, name) for name in config.authenticators]
    for name, settings in config.exporters.items():
        if isinstance(settings, OtlpExporter):
            checks.append(partial(check_client_tls, settings.tls, f"exporters.{name}.tls"))
        elif isinstance(settings, PrometheusExporter) and settings.tls is not None:
            checks.append(partial(check_tls, settings.tls, f"exporters.{name}"))
    for check in checks:
        yield from _failure(check)


def exposed_credentials(config: Config) -> Iterator[str]:
    """What the configuration leaves unprotected, in words for the log; loopback is taken as safe."""
    for name, receiver in config.receivers.items():
        for protocol, settings in (("grpc", receiver.protocols.grpc), ("http", receiver.protocols.http)):
            if settings is not None and settings.auth and not settings.tls and not _is_local(settings.endpoint):
                yield f"receivers.{name}.protocols.{protocol}: takes tokens in plain text; set tls"
    for name, settings in config.exporters.items():
        if not isinstance(settings, (OtlpExporter, AlertmanagerExporter)):
            continue
        secure, address = _secure(settings)
        if settings.auth and not secure and not _is_local(address):
            yield f"exporters.{name}: sends its token in plain text; set tls"
        if secure and settings.tls.insecure_skip_verify:
            yield f"exporters.{name}.tls.insecure_skip_verify: sends to whoever answers"


def _tokens(config: Config, name: str) -> Tokens:
    settings = config.authenticators[name]
    return Tokens(f"extensions.{name}", settings.fixed, settings.filename)


def _failure(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except (OSError, ValueError) as error:
        yield str(error)


def _secure(settings: OtlpExporter | AlertmanagerExporter) -> tuple[bool, str]:
    """Whether to use TLS, and the endpoint without its scheme: a scheme decides, else ``tls.insecure`` does."""
    scheme, separator, address = settings.endpoint.rpartition("://")
    return (scheme == "https" if separator else not settings.tls.insecure), address


def _changes(settings: OtlpExporter | AlertmanagerExporter) -> Iterator[Watched]:
    tls = settings.tls
    files = [path for path in (tls.ca_file, tls.cert_file, tls.key_file) if path is not None]
    if tls.reload_interval and files:
        yield Watched(files, tls.reload_interval / _S)


def _is_local(endpoint: str) -> bool:
    """Whether an address can be reached from this machine only.

    >>> _is_local("localhost:4317/otlp"), _is_local("[::1]:4317"), _is_local("0.0.0.0:4317")
    (True, True, False)
    """
    return endpoint.partition("/")[0].rpartition(":")[0].strip("[]") in _LOCAL
