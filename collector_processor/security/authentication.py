"""Who may send, or as whom to send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from collector_processor.own.telemetry import Telemetry
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard
from collector_processor.settings.base import Settings


class Authentication(Settings):
    """Who may send, or as whom to send."""

    authenticator: str = Field(description="id of a `bearertokenauth` extension, such as `bearertokenauth/apps`")

    def authenticators(self, key: str) -> Iterator[tuple[str, str]]:
        """The extension that checks tokens, or gives one."""
        yield f"{key}.authenticator", self.authenticator


@dataclass(frozen=True, slots=True)
class Authenticator:
    """What an extension that authenticates provides: tokens, and the word that stands before them."""

    tokens: Tokens
    scheme: str = "Bearer"

    def guard(self, telemetry: Telemetry, key: str, what: str = "receiver") -> Guard:
        """What stands before a listener; ``key`` is where the configuration has it, ``what`` what a client sees."""
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
    """The guard that a listener's ``auth`` asks for, if it asks for any."""
    return None if auth is None else authenticators[auth.authenticator].guard(telemetry, key, what)
