"""The place of the newest state: one thread writes it, any thread reads it."""

from __future__ import annotations

from collector_processor.status.state import ServiceState


class Board:
    """Holds the newest :class:`ServiceState`; replacing one reference needs no lock."""

    def __init__(self) -> None:
        self.state = ServiceState()
