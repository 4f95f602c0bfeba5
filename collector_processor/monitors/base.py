"""The two kinds of monitor, and what they return: measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import Field

from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window

WINDOW: str = "window"
"""The configuration section that windows and monitors share."""


class Exemplar(NamedTuple):
    """The span of a prediction that a figure is about, in lowercase hex."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one window: a metric's data point, for any backend.

    ``attributes`` are (key, value) pairs in a fixed order, model name and version first. A ``counter`` is cumulative
    since ``start_ns``; a ``gauge`` holds for the window that ended at ``time_ns``. ``words`` say what the value means,
    for a person who gets an alert about it; they may be empty. ``exemplars`` are some predictions that it is about.
    """

    name: str
    value: float
    unit: str
    attributes: tuple[tuple[str, str], ...]
    time_ns: int
    kind: Literal["gauge", "counter"] = "gauge"
    start_ns: int = 0
    words: str = ""
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """The description of one metric of a monitor, from which docs, dashboards and rules are generated."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


class OptIn(Settings):
    """Base of the settings of a monitor that runs only if it is enabled."""

    enabled: bool = Field(default=False, description="run this monitor")


class Monitor(Protocol):
    """A pure function of (window, reference) that returns measurements, with the list of its possible metrics.

    A class is constructed with the settings of its ``sections``, one positional argument each, in that order.
    """

    name: ClassVar[str]
    """The key under which the monitor is registered and listed."""
    metrics: ClassVar[Sequence[Metric]]
    """Every metric that :meth:`evaluate` may return."""
    sections: ClassVar[Mapping[str, type[Settings]]]
    """The sections of the configuration that hold its settings, with its keys in each; monitors may share a section."""

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's measurements; what cannot be computed (no rows, no labels) is omitted, never zero."""
        ...


@runtime_checkable
class TakesCounts(Protocol):
    """A monitor that is right for cells of which only the coarse bin or category is known, too.

    It gets windows in which those that senders counted themselves are added; others get the rows alone.
    """

    takes_counts: ClassVar[bool]


S = TypeVar("S")


@runtime_checkable
class Sequential(Protocol[S]):
    """A fold over closed panes, for detectors that do not add up: they look at one pane after another.

    Each pane of a model version that is not empty is stepped over exactly once and in order, across restarts too;
    :meth:`.Window.newest_pane` says which of its parts are final. A state is a frozen dataclass in which every field is
    an array of numbers, with a type and shape that depend only on the reference. The snapshot keeps it; it is discarded
    when the settings, the reference, the width of panes or ``state_version`` have changed.

    A class is constructed like a :class:`Monitor`.
    """

    name: ClassVar[str]
    """The key under which the monitor is registered and listed."""
    metrics: ClassVar[Sequence[Metric]]
    """Every metric that :meth:`step` may return."""
    sections: ClassVar[Mapping[str, type[Settings]]]
    """The sections of the configuration that hold its settings."""
    state_version: ClassVar[int]
    """Raised by one whenever the meaning of a state changes."""

    @property
    def settings(self) -> Settings:
        """The settings that decide what a state means."""
        ...

    def begin(self, reference: Reference) -> S:
        """Return the state before the first pane."""
        ...

    def step(self, pane: Window, reference: Reference, state: S) -> tuple[S, list[Measurement]]:
        """Return the state after a pane, and its measurements, as a pure function: ``state`` does not change."""
        ...


@runtime_checkable
class Fed(Protocol[S]):
    """A sequential monitor that looks at each joined label, too, when it joins."""

    def feed(self, outcomes: OutcomeBatch, schema: Schema, reference: Reference, state: S) -> S:
        """Return the state after joined labels, as a pure function."""
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A monitor that cannot measure everything with every reference, and says what."""

    def left_out(self, reference: Reference) -> Iterator[str]:
        """Yield a sentence for each figure that is left out with this reference, and why."""
        ...
