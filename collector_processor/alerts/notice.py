"""What destinations are told: one notice for a rule and a model, with the series that offend, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import Attributes

State = Literal["firing", "resolved"]
Reason = Literal[
    "new", "more", "fewer", "repeat", "resumed", "over", "not_measured", "forgotten", "silenced", "rule_gone", "test"
]  # fmt: skip
"""Why a notice comes. Firing: it is ``new``, has ``more`` series or ``fewer``, is told again (``repeat``), or the
service ``resumed`` after a restart. Resolved: it is ``over``, the series is ``not_measured`` any more, the model was
``forgotten``, somebody ``silenced`` it, or the ``rule_gone``. A ``test`` is no alert at all."""
QUIET: Final[frozenset[Reason]] = frozenset({"fewer", "resumed"})
"""Reasons that are for those that show what fires now; nobody is to be woken for them."""
OFFENDERS: Final = 20
"""Most series that a notice lists; it always has their number."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One series of an alert: its attributes but for the model's, and its value; seconds of silence if absent."""

    attributes: Attributes
    value: float


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert, as of now. ``started_ns``, ``ended_ns`` and ``time_ns`` are of the service's clock, ``window_ns`` is
    the end of the newest window behind it. ``count`` is the number of series, of which ``offenders`` are the worst.
    """

    rule: AlertRule
    model: ModelKey
    state: State
    reason: Reason
    started_ns: int
    time_ns: int
    window_ns: int
    count: int
    offenders: tuple[Offender, ...]
    ended_ns: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same alert: rule, model, version."""
        return self.rule.name, self.model.name, self.model.version

    @property
    def value(self) -> float:
        """The worst value; 0 without any."""
        return self.offenders[0].value if self.offenders else 0.0


class Destination(Protocol):
    """Where notices go; :meth:`notify` never blocks and never raises."""

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        ...

    def start(self) -> None:
        """Opens what it needs; raises ``OSError`` when that cannot be had."""
        ...

    def notify(self, notices: Sequence[Notice]) -> None:
        """Takes notices over; what does not fit a full queue is dropped and counted."""
        ...

    def probe(self, notice: Notice) -> Sequence[str]:
        """Sends one notice now, without queue or retry; what went wrong, a text each, none if all went well."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """Sends what waits within the time and lets go of everything; safe to call without start."""
        ...
