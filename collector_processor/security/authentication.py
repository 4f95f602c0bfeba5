"""Authentication of senders, and towards destinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from collector_processor.own.telemetry import Telemetry
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard
from collector_processor.settings.base import Settings


class Authentication(Settings):
    """Authentication of senders, or towards a destination."""

    authenticator: str = Field(description="id of a `bearertokenauth` extension, such as `bearertokenauth/apps`")

    def authenticators(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the extension that checks tokens, or provides one."""
        yield f"{key}.authenticator", self.authenticator


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Tokens, and the word before them, which an authenticating extension provides."""

    tokens: Tokens
    scheme: str = "Bearer"

    def guard(self, telemetry: Telemetry, key: str, what: str = "receiver") -> Guard:
        """Return the guard of a listener; ``key`` is its path in the configuration, ``what`` its name for clients."""
        return Guard(self.tokens, telemetry, scheme=self.scheme, key=key, what=what)


Authenticators = Mapping[str, Authenticator]
"""Those that ``service.extensions`` starts, by id."""


def guard_of(
    authenticators: Authenticators,
    auth: Authentication | None,
    telemetry: Telemetry,
    key: str,
    what: str = "receiver",
) -> Guard | None:
    """Return the guard that the ``auth`` of a listener requires; None if it requires none."""
    return None if auth is None else authenticators[auth.authenticator].guard(telemetry, key, what)
