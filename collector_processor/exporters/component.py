"""The description that an exporter gives of itself: its settings, what it accepts, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from collector_processor.alerts.notice import Destination
from collector_processor.components import Component
from collector_processor.components.component import S
from collector_processor.exporters.base import Exporter
from collector_processor.journal.base import Journal, Signal
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.authentication import Authenticator, Authenticators
from collector_processor.status.board import Board

Flow = Literal["measurements", "alerts", "originals"]
"""What an exporter can accept: measurements of windows, notices of alerts, original requests."""


class Forwarder(Protocol):
    """Forwards original requests from the journal."""

    def start(self) -> None:
        """Subscribe to the journal and start to forward."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """Send what is in the journal within the time; safe to call without start."""
        ...


@dataclass(frozen=True, slots=True)
class ExporterContext:
    """What an exporter is built with, besides its settings.

    ``id`` is its component id, ``expiration_s`` is how long a value holds without a newer one, and ``descriptions`` are
    texts by metric name. ``built`` is the exporter of measurements with the same id, if it has been built.
    ``board`` has the state of every model.
    """

    id: str
    telemetry: Telemetry
    instance_id: str
    expiration_s: float
    max_series: int
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    authenticators: Authenticators = field(default_factory=dict[str, Authenticator])
    built: Exporter | None = None
    board: Board = field(default_factory=Board)

    @property
    def key(self) -> str:
        """The path of the exporter in the configuration."""
        return f"exporters.{self.id}"


@dataclass(frozen=True, slots=True)
class ExporterComponent(Component[S]):
    """One type of exporter, with a function that builds its end of each flow that it accepts."""

    kind: ClassVar[str] = "exporter"
    section: ClassVar[str] = "exporters"

    measurements: Callable[[S, ExporterContext], Exporter] | None = None
    alerts: Callable[[S, ExporterContext], Destination] | None = None
    originals: Callable[[S, ExporterContext, Journal, Sequence[Signal]], Forwarder] | None = None

    @property
    def incomplete(self) -> str:
        """Why it cannot do anything; empty if it can."""
        return "" if self.takes else "it takes neither measurements nor alerts nor originals"

    @property
    def takes(self) -> tuple[Flow, ...]:
        """The flows that it accepts."""
        flows: dict[Flow, object] = {
            "measurements": self.measurements, "alerts": self.alerts, "originals": self.originals
        }  # fmt: skip
        return tuple(flow for flow, build in flows.items() if build is not None)
