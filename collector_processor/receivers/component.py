"""The description of a receiver type: its settings, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from collector_processor.components import Component
from collector_processor.components.component import S
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import Admission
from collector_processor.security.authentication import Authentication, Authenticator, Authenticators, guard_of
from collector_processor.security.guard import Guard


class Receiver(Protocol):
    """Receives requests and passes them to admission; runs on the service's event loop."""

    @property
    def name(self) -> str:
        """The receiver's name in the log, such as its protocol."""
        ...

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start, and if it does not listen."""
        ...

    async def start(self) -> None:
        """Begin to receive; raise ``OSError`` with the configuration key if an address cannot be used."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """Finish what is in flight within the timeout; safe to call without start."""
        ...


@runtime_checkable
class OnSocket(Protocol):
    """A receiver that can listen on a Unix socket instead of a port."""

    @property
    def socket_path(self) -> str:
        """The socket's path; empty if it listens on a port."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What a receiver is built with, in addition to its settings.

    With several worker processes, ``shared`` lets other processes listen on the same addresses, and ``held`` has the
    port that the service holds for each address, by its key.
    """

    id: str
    admission: Admission
    telemetry: Telemetry
    authenticators: Authenticators = field(default_factory=dict[str, Authenticator])
    shared: bool = False
    held: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def key(self) -> str:
        """The receiver's place in the configuration."""
        return f"receivers.{self.id}"

    def guard(self, auth: Authentication | None, key: str) -> Guard | None:
        """Return the guard that ``auth`` names; None if anyone may send."""
        return guard_of(self.authenticators, auth, self.telemetry, key)

    def address(self, endpoint: str, key: str) -> str:
        """Return the address to listen on: the endpoint, with its held port if there is one."""
        port = self.held.get(key)
        return endpoint if port is None else f"{endpoint.rpartition(':')[0]}:{port}"


@dataclass(frozen=True, slots=True)
class ReceiverComponent(Component[S]):
    """One type of receiver; ``build`` returns a receiver for each address that it listens on."""

    kind: ClassVar[str] = "receiver"
    section: ClassVar[str] = "receivers"

    build: Callable[[S, ReceiverContext], Iterable[Receiver]] = field(kw_only=True)
    alone: bool = field(default=False, kw_only=True)
    """Whether only one of several worker processes may receive, because it keeps requests that belong together."""

    def receivers(self, settings: S, context: ReceiverContext) -> list[Receiver]:
        """Build the receivers."""
        return list(self.build(settings, context))
