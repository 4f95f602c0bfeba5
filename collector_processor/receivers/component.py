"""What the folder of a receiver says of itself: its settings, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from collector_processor.components import Component
from collector_processor.components.component import S
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import Admission
from collector_processor.security.authentication import Authentication, Authenticator, Authenticators, guard_of
from collector_processor.security.guard import Guard


class Receiver(Protocol):
    """Takes requests in and hands them to admission; it runs on the service's event loop."""

    @property
    def name(self) -> str:
        """What the log calls it, such as the protocol that it speaks."""
        ...

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start, and where it listens on none."""
        ...

    async def start(self) -> None:
        """Begins to receive; ``OSError`` with the configuration key when an address cannot be had."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """Finishes what is in flight within the time; safe to call without start."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What a receiver is built with, beside its settings.

    With several worker processes ``shared`` addresses let other processes listen there too, and ``held`` has the port
    that the service keeps for each of them, by its key.
    """

    id: str
    admission: Admission
    telemetry: Telemetry
    authenticators: Authenticators = field(default_factory=dict[str, Authenticator])
    shared: bool = False
    held: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def key(self) -> str:
        """Where the configuration has the receiver."""
        return f"receivers.{self.id}"

    def guard(self, auth: Authentication | None, key: str) -> Guard | None:
        """The guard that ``auth`` asks for; None where anyone may send."""
        return guard_of(self.authenticators, auth, self.telemetry, key)

    def address(self, endpoint: str, key: str) -> str:
        """The address to listen on: the endpoint, with the port that is held for it."""
        port = self.held.get(key)
        return endpoint if port is None else f"{endpoint.rpartition(':')[0]}:{port}"


@dataclass(frozen=True, slots=True)
class ReceiverComponent(Component[S]):
    """One type of receiver; ``build`` returns a receiver for each address that it listens on."""

    kind: ClassVar[str] = "receiver"
    section: ClassVar[str] = "receivers"

    build: Callable[[S, ReceiverContext], Iterable[Receiver]] = field(kw_only=True)
