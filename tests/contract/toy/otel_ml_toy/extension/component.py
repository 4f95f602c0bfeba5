"""An extension that authenticates, and one that answers on an address."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from pydantic import Field

from collector_processor.extensions.component import ExtensionComponent, ExtensionContext
from collector_processor.security.authentication import Authenticator
from collector_processor.security.credentials import Tokens
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Endpoint


class DoorSettings(Settings):
    """Holds an address, and gives the token that is in its settings."""

    endpoint: Endpoint = Field(description="address to hold")
    word: str = Field(default="sesame", description="the token")

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address that is held."""
        yield f"{key}.endpoint", self.endpoint


class Door:
    """Holds the address while the service runs."""

    def __init__(self, settings: DoorSettings, context: ExtensionContext) -> None:
        host, _, port = settings.endpoint.rpartition(":")
        self._address = host, int(port)
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        return 0 if self._socket is None else self._socket.getsockname()[1]

    def start(self) -> None:
        self._socket = socket.create_server(self._address)

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def authenticator(settings: DoorSettings, context: ExtensionContext) -> Authenticator:
    return Authenticator(Tokens(context.key, (settings.word,)))


COMPONENT = ExtensionComponent("toy_door", DoorSettings, server=Door, authenticator=authenticator)
