"""TLS of listeners, with certificates that can be replaced while the service runs.

An open connection keeps its certificates; each new connection gets those that are in the files at that time.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import grpc
from pydantic import Field

from collector_processor.security.credentials import Watched
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration, SecretPath

HANDSHAKE_TIMEOUT_S: Final = 20.0
"""How long a client may take for its part of the handshake (gRPC; asyncio allows a minute)."""
TlsVersion = Literal["1.2", "1.3"]
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_log = logging.getLogger(__name__)

T = TypeVar("T")
_Contents: TypeAlias = tuple[tuple[bytes, bytes], "bytes | None"]
"""Key and certificate, and the authority of clients."""


class ServerTls(Settings):
    """TLS of a receiver."""

    cert_file: SecretPath = Field(description="certificate chain, PEM")
    key_file: SecretPath = Field(description="private key, PEM, not encrypted")
    client_ca_file: SecretPath | None = Field(
        default=None, description="CA that must have signed client certificates (mutual TLS)"
    )
    min_version: TlsVersion = Field(default="1.2", description="lowest version of TLS: 1.2 | 1.3 (HTTP only)")
    reload_interval: Duration | None = Field(
        default=None, description="how often to check whether the files have changed; default: only at start"
    )

    def problems(self, key: str) -> Iterator[str]:
        """Return the reason why the certificates cannot be used, if there is one."""
        try:
            check_tls(self, key.removesuffix(".tls"))
        except OSError as error:
            yield str(error)


def server_context(tls: ServerTls, key: str) -> ssl.SSLContext:
    """Return a context for asyncio and sockets; ``OSError`` names ``key`` and the file that cannot be used."""
    reload_s = _reload_s(tls)
    return _load(tls, key) if reload_s is None else _Reloading.of(tls, key, reload_s)


def check_tls(tls: ServerTls, key: str) -> None:
    """Check the certificates; ``OSError`` names ``key`` and the file that cannot be read or does not fit."""
    _load(tls, key)


def grpc_credentials(tls: ServerTls, key: str) -> grpc.ServerCredentials:
    """Return the same for gRPC, which asks for the certificates at every handshake."""
    check_tls(tls, key)
    mutual = tls.client_ca_file is not None
    reload_s = _reload_s(tls)
    if reload_s is None:
        pair, authority = _contents(tls)
        return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=mutual)
    watched = Watched(_files(tls), reload_s)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        found = _reloaded(watched, key, lambda: _fitting(tls, key))
        return None if found is None else _certificates(found)

    # None means no change; the annotations do not have it.
    fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)
    return grpc.dynamic_ssl_server_credentials(
        _certificates(_contents(tls)), fetcher, require_client_authentication=mutual
    )


def _reload_s(tls: ServerTls) -> float | None:
    return tls.reload_interval / 1e9 if tls.reload_interval else None


def _files(tls: ServerTls) -> Iterator[Path]:
    yield from (path for path in (tls.cert_file, tls.key_file, tls.client_ca_file) if path is not None)


def _reloaded(watched: Watched, key: str, load: Callable[[], T]) -> T | None:
    """Return what the new files hold; None if there are none, or if they do not fit, which is logged."""
    if not watched.changed():
        return None
    try:
        found = load()
    except OSError as error:
        _log.error("%s; the previous certificates stay in use", error)
        return None
    _log.info("%s.tls: reloaded the certificates", key)
    return found


def _contents(tls: ServerTls) -> _Contents:
    authority = None if tls.client_ca_file is None else tls.client_ca_file.read_bytes()
    return (tls.key_file.read_bytes(), tls.cert_file.read_bytes()), authority


def _fitting(tls: ServerTls, key: str) -> _Contents:
    """Read the files and check them; ``OSError`` if they are replaced meanwhile, as what was read may not fit."""
    found = _contents(tls)
    check_tls(tls, key)
    if _contents(tls) != found:
        raise OSError(f"{key}.tls: the files are being replaced")
    return found


def _certificates(contents: _Contents) -> grpc.ServerCertificateConfiguration:
    pair, authority = contents
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)


def _load(tls: ServerTls, key: str) -> ssl.SSLContext:
    """Return a context with the current files, each loaded once: no file is used that was not checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    # Without this, OpenSSL would prompt for the password of an encrypted key, and block the start.
    no_password = ""
    try:
        for path in _files(tls):
            path.read_bytes()  # an error of the context would not say which file
        context.load_cert_chain(tls.cert_file, tls.key_file, password=no_password)
        if tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        files = ", ".join(str(path) for path in _files(tls))
        raise OSError(f"{key}.tls: cannot use {files}: {error.reason or error}") from error
    except OSError as error:
        raise OSError(f"{key}.tls: cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error
    return context


class _Reloading(ssl.SSLContext):
    """Gives every new connection to a context built from the current files; it performs no handshake itself."""

    _tls: ServerTls
    _key: str
    _watched: Watched
    _now: ssl.SSLContext

    @classmethod
    def of(cls, tls: ServerTls, key: str, interval_s: float) -> _Reloading:
        """Return a context that checks its files at most every ``interval_s``."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._tls, made._key = tls, key
        made._watched = Watched(_files(tls), interval_s)
        made._now = _load(tls, key)
        return made

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        """Wrap a connection of asyncio."""
        return self._current().wrap_bio(*arguments, **keywords)

    def wrap_socket(self, *arguments: Any, **keywords: Any) -> ssl.SSLSocket:
        """Wrap a connection of a thread."""
        return self._current().wrap_socket(*arguments, **keywords)

    def _current(self) -> ssl.SSLContext:
        found = _reloaded(self._watched, self._key, lambda: _load(self._tls, self._key))
        if found is not None:
            self._now = found
        return self._now
