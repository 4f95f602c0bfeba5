"""What the folder of an extension says of itself: its settings, and what it provides to the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from collector_processor.components import Component
from collector_processor.components.component import S
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.authentication import Authenticator


class Server(Protocol):
    """What answers on an address of its own while the service runs."""

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        ...

    def start(self) -> None:
        """Begins to answer; ``OSError`` with the configuration key when the address cannot be had."""
        ...

    def stop(self) -> None:
        """Stops answering; safe to call without start."""
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder for the state, and how often it is written there."""

    directory: Path
    interval_s: float


@dataclass(frozen=True, slots=True)
class ExtensionContext:
    """What an extension is built with, beside its settings.

    ``status`` returns the empty string while all is well with the service, else what is wrong; ``counts`` returns how
    much of what it has at the moment.
    """

    id: str
    telemetry: Telemetry
    status: Callable[[], str] = str
    counts: Callable[[], Mapping[str, int]] = dict[str, int]

    @property
    def key(self) -> str:
        """Where the configuration has the extension."""
        return f"extensions.{self.id}"


@dataclass(frozen=True, slots=True)
class ExtensionComponent(Component[S]):
    """One type of extension: what builds each thing that it provides."""

    kind: ClassVar[str] = "extension"
    section: ClassVar[str] = "extensions"

    authenticator: Callable[[S, ExtensionContext], Authenticator] | None = None
    storage: Callable[[S, ExtensionContext], Storage] | None = None
    server: Callable[[S, ExtensionContext], Server] | None = None
