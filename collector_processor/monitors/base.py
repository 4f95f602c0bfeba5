"""What a monitor is, and the one thing it gives: measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from collector_processor.reference.profile import Reference
from collector_processor.window.base import Window


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one window: a metric's data point, whatever the backend.

    ``attributes`` are (key, value) pairs in a fixed order, model name and version first. A ``counter`` is cumulative
    since ``start_ns``; a ``gauge`` holds for the window that ended at ``time_ns``.
    """

    name: str
    value: float
    unit: str
    attributes: tuple[tuple[str, str], ...]
    time_ns: int
    kind: Literal["gauge", "counter"] = "gauge"
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """The description of one metric that a monitor may give: what docs, dashboards and rules are made from."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


class Monitor(Protocol):
    """A pure function from (window, reference) to measurements, with the list of metrics that it may give."""

    @property
    def name(self) -> str:
        """The key under which the monitor is registered and listed."""
        ...

    @property
    def metrics(self) -> Sequence[Metric]:
        """Every metric that :meth:`evaluate` may give."""
        ...

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """The window's measurements; what cannot be computed (no rows, no labels) is left out, never zero."""
        ...
