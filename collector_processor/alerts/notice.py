"""The message that destinations get: one notice for a rule and a model, with the series in breach, worst first."""

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
"""Why a notice is sent. Firing: the alert is ``new``, has ``more`` series or ``fewer``, is repeated (``repeat``), or
the service ``resumed`` after a restart. Resolved: the breach is ``over``, the series is ``not_measured`` anymore, the
model was ``forgotten``, a silence began (``silenced``), or the rule was removed (``rule_gone``). A ``test`` is not an
alert."""
QUIET: Final[frozenset[Reason]] = frozenset({"fewer", "resumed"})
"""Reasons for destinations that show what fires now; no one should be woken for them."""
OFFENDERS: Final = 20
"""The maximum number of series that a notice lists; it always has the number of all of them."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One series of an alert: its attributes, except for the model's, and its value; the seconds of an absence.

    ``words`` are what the monitor says of the value, if anything (:class:`.Measurement`); ``trace`` is the trace id of
    one of the predictions that it is about.
    """

    attributes: Attributes
    value: float
    words: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """The state of one alert now.

    ``started_ns``, ``ended_ns`` and ``time_ns`` are times of the service's clock; ``window_ns`` is the end of the
    newest window that was judged. ``count`` is the number of series, and ``offenders`` are the worst of them.
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
        """The identity of the alert: rule, model, version."""
        return self.rule.name, self.model.name, self.model.version

    @property
    def value(self) -> float:
        """The worst value; 0 if there is none."""
        return self.offenders[0].value if self.offenders else 0.0


class Destination(Protocol):
    """Where notices go; :meth:`notify` never blocks and never raises."""

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        ...

    def start(self) -> None:
        """Open what it needs; ``OSError`` if that is not possible."""
        ...

    def notify(self, notices: Sequence[Notice]) -> None:
        """Queue notices; drop and count those that do not fit."""
        ...

    def probe(self, notice: Notice) -> Sequence[str]:
        """Send one notice now, without queue or retry; return a text for each problem."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """Send what is queued within the time, then close everything; safe to call without start."""
        ...
