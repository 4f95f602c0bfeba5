"""What a monitor is, and the one thing it gives: measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.window.base import Window

WINDOW: str = "window"
"""The section of the configuration that windows and monitors share."""


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


class OptIn(Settings):
    """Base of the settings of a monitor that runs only where it is switched on."""

    enabled: bool = Field(default=False, description="whether it runs")


class Monitor(Protocol):
    """A pure function from (window, reference) to measurements, with the list of metrics that it may give.

    A class is constructed with the settings of its ``sections``, one positional argument each, in their order.
    """

    name: ClassVar[str]
    """The key under which the monitor is registered and listed."""
    metrics: ClassVar[Sequence[Metric]]
    """Every metric that :meth:`evaluate` may give."""
    sections: ClassVar[Mapping[str, type[Settings]]]
    """The sections of the configuration that hold its settings, with its keys in each; two monitors may share one."""

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """The window's measurements; what cannot be computed (no rows, no labels) is left out, never zero."""
        ...
