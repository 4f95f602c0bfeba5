"""The description that an extension gives of itself: its settings, and what it provides to the service."""

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
    """Answers on its own address while the service runs."""

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        ...

    def start(self) -> None:
        """Start to answer; ``OSError`` with the configuration key if the address is not available."""
        ...

    def stop(self) -> None:
        """Stop answering; safe to call without start."""
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """The folder of the state, and how often the state is saved."""

    directory: Path
    interval_s: float


@dataclass(frozen=True, slots=True)
class ExtensionContext:
    """What an extension is built with, besides its settings.

    ``status`` returns the empty string while the service is healthy, and the problem otherwise; ``counts`` returns
    counts to show, such as the number of models.
    """

    id: str
    telemetry: Telemetry
    status: Callable[[], str] = str
    counts: Callable[[], Mapping[str, int]] = dict[str, int]

    @property
    def key(self) -> str:
        """The path of the extension in the configuration."""
        return f"extensions.{self.id}"


@dataclass(frozen=True, slots=True)
class ExtensionComponent(Component[S]):
    """One type of extension, with a function that builds each thing that it provides."""

    kind: ClassVar[str] = "extension"
    section: ClassVar[str] = "extensions"

    authenticator: Callable[[S, ExtensionContext], Authenticator] | None = None
    storage: Callable[[S, ExtensionContext], Storage] | None = None
    server: Callable[[S, ExtensionContext], Server] | None = None
