"""The interface of exporters of measurements."""

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
        """Open what it needs; ``OSError`` with the address if that is not possible."""
        ...

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Queue or publish measurements; drop and count those that do not fit."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """Send what is queued within the time, then close everything; safe to call without start."""
        ...


@runtime_checkable
class Listening(Protocol):
    """An exporter that others query for measurements, at its own address."""

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        ...

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        ...
