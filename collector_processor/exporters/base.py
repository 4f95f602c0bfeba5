"""Where measurements go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from collector_processor.monitors.base import Measurement


class Exporter(Protocol):
    """A destination of measurements; :meth:`export` never blocks for long and never raises."""

    @property
    def name(self) -> str:
        """The component id from the configuration (``otlp_grpc/backup``)."""
        ...

    def start(self) -> None:
        """Opens what it needs; raises ``OSError`` with the address when that cannot be had."""
        ...

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Takes measurements over; what does not fit a full queue is dropped and counted."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """Sends what is queued within the time and lets go of everything; safe to call without start."""
        ...


@runtime_checkable
class Listening(Protocol):
    """An exporter that is asked for its measurements, at an address of its own."""

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        ...

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        ...
