"""What a monitor is, and the one thing it gives: measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field

from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.window.closed import Window

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


S = TypeVar("S")


@runtime_checkable
class Sequential(Protocol[S]):
    """A fold over closed panes, for what does not add: detectors that look at one pane after another.

    Each pane of a model version that anything came in is stepped over exactly once and in order, through restarts too;
    :meth:`.Window.newest_pane` says what of it is final. A state is a frozen dataclass whose every field is an array of
    numbers, of a type and shape that the reference alone decides. It is kept in the snapshot, and given up when the
    settings, the reference, the width of panes or ``state_version`` have changed.

    A class is constructed as a :class:`Monitor` is.
    """

    name: ClassVar[str]
    """The key under which the monitor is registered and listed."""
    metrics: ClassVar[Sequence[Metric]]
    """Every metric that :meth:`step` may give."""
    sections: ClassVar[Mapping[str, type[Settings]]]
    """The sections of the configuration that hold its settings."""
    state_version: ClassVar[int]
    """Raised by one whenever the meaning of a state changes."""

    @property
    def settings(self) -> Settings:
        """The settings that decide what a state means."""
        ...

    def begin(self, reference: Reference) -> S:
        """The state before the first pane."""
        ...

    def step(self, pane: Window, reference: Reference, state: S) -> tuple[S, list[Measurement]]:
        """The state after a pane, and what there is to say of it. A pure function: the state given stays as it is."""
        ...
