"""The credentials of an exporter: its headers, including the token."""

from __future__ import annotations

from collector_processor.exporters.delivery.settings import ClientSettings
from collector_processor.security.authentication import Authenticators
from collector_processor.security.credentials import Watched

_S = 1e9


class Credentials:
    """The headers of an exporter with its token, and whether its token or its certificates have changed."""

    def __init__(self, settings: ClientSettings, authenticators: Authenticators) -> None:
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._authenticator = None if settings.auth is None else authenticators[settings.auth.authenticator]
        self._in_use: tuple[str, ...] = ()
        self._files = _watched(settings) if settings.secure else None

    def headers(self) -> dict[str, str]:
        """Return the current headers; a token replaces an ``authorization`` header of the configuration."""
        if self._authenticator is None:
            return dict(self._headers)
        self._in_use = self._authenticator.tokens.current
        others = {name: value for name, value in self._headers.items() if name.lower() != "authorization"}
        return {**others, "authorization": f"{self._authenticator.scheme} {self._in_use[0]}"}

    def changed(self) -> bool:
        """Return whether the token that :meth:`headers` returned, or a certificate, has changed."""
        # Both are checked, so that neither reports the same change twice.
        files_changed = self._files is not None and self._files.changed()
        tokens = None if self._authenticator is None else self._authenticator.tokens
        return files_changed or (tokens is not None and tokens.current is not self._in_use)


def _watched(settings: ClientSettings) -> Watched | None:
    tls = settings.tls
    files = [path for path in (tls.ca_file, tls.cert_file, tls.key_file) if path is not None]
    return Watched(files, tls.reload_interval / _S) if tls.reload_interval and files else None
