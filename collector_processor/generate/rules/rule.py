"""What an alert rule is before it is written for Prometheus, Grafana or Datadog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["models", "service"]
Comparison = Literal[">", "<"]
GROUPS: Final[dict[Group, str]] = {"models": "otel-ml models", "service": "otel-ml service"}
MINUTE_NS: Final = 60 * 10**9
KEEP_NS: Final = 5 * MINUTE_NS
"""How long a rule that has a hold time goes on firing without a value: the service's restart is no recovery."""
SEEN_NS: Final = 24 * 60 * MINUTE_NS
"""How far back, at least, a model counts as one that should be heard of."""


@dataclass(frozen=True, slots=True)
class Example:
    """Series by which a rule is tested: ``series`` in promtool's notation, one sample a minute, and what then holds.

    ``labels`` are those of the alert that fires, with the ``value`` that it tells; None: nothing fires.
    """

    text: str
    series: tuple[tuple[str, str], ...]
    at_ns: int
    labels: tuple[tuple[str, str], ...] | None = None
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``value`` (PromQL, its guards included) beyond ``threshold`` for ``hold_ns``.

    - ``clear``: where a firing alert ends; the threshold itself when there is no hysteresis.
    - ``labels``: those of the value's series, by which an alert is told from another.
    - ``datadog``: the same value as a Datadog query, without its time; ``datadog_over`` is how its time is summed up.
    - ``absent_ns``: for a rule on what has stopped: for how long; Datadog asks for that in another way.
    - ``telling``: how the alert's description tells the value.
    """

    name: str
    group: Group
    value: str
    comparison: Comparison
    threshold: float
    clear: float
    labels: tuple[str, ...]
    hold_ns: int
    severity: str
    summary: str
    description: str
    runbook: str
    datadog: str
    datadog_over: Literal["min", "max", "sum"]
    datadog_tags: tuple[str, ...] = ()
    absent_ns: int = 0
    telling: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def keep_ns(self) -> int:
        """How long it goes on firing when its value is gone."""
        return KEEP_NS if self.hold_ns and not self.absent_ns else 0


def go_duration(time_ns: int) -> str:
    """A duration as Prometheus writes it.

    >>> go_duration(90 * 10**9), go_duration(7200 * 10**9), go_duration(0)
    ('90s', '2h', '0s')
    """
    seconds = time_ns // 10**9
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s" if time_ns % 10**9 == 0 else f"{time_ns // 10**6}ms"


def number(value: float) -> str:
    """A number as short as it is exact.

    >>> number(0.3), number(1000.0), number(1e-9)
    ('0.3', '1000', '1e-09')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
