"""An alert rule in the form that is written for Prometheus, Grafana or Datadog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["models", "service"]
Comparison = Literal[">", "<"]
GROUPS: Final[dict[Group, str]] = {"models": "otel-ml models", "service": "otel-ml service"}
MINUTE_NS: Final = 60 * 10**9
KEEP_NS: Final = 5 * MINUTE_NS
"""How long a rule with a hold time keeps firing without a value: a restart of the service is not a recovery."""
SEEN_NS: Final = 24 * 60 * MINUTE_NS
"""How long, at least, a model is expected to keep sending after it was last seen."""


@dataclass(frozen=True, slots=True)
class Example:
    """Series that test a rule: ``series`` in promtool's notation, one sample per minute, and the expected result.

    ``labels`` are those of the alert that fires, and ``value`` is the value in its text; None: nothing fires.
    """

    text: str
    series: tuple[tuple[str, str], ...]
    at_ns: int
    labels: tuple[tuple[str, str], ...] | None = None
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``value`` (PromQL, its guards included) beyond ``threshold`` for ``hold_ns``.

    - ``clear``: where a firing alert ends; the threshold itself if there is no hysteresis.
    - ``labels``: the labels of the value's series, which identify an alert.
    - ``datadog``: the same value as a Datadog query, without its time; ``datadog_over`` is how it aggregates over time.
    - ``absent_ns``: for a rule on absence, how long; Datadog has a different query for that.
    - ``board``, ``traces``: links with ``{model}``, ``{version}``, ``{from}`` and ``{to}`` (``alerts.links``).
    - ``datadog_ns``: how long the Datadog query covers, if not the hold time.
    - ``value_text``: the sentence of the alert's description that has the value.
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
    value_text: str = ""
    examples: tuple[Example, ...] = ()
    board: str = ""
    traces: str = ""
    datadog_ns: int = 0

    @property
    def keep_ns(self) -> int:
        """How long it keeps firing when its value is gone."""
        return KEEP_NS if self.hold_ns and not self.absent_ns else 0


def go_duration(time_ns: int) -> str:
    """Return a duration in the notation of Prometheus.

    >>> go_duration(90 * 10**9), go_duration(7200 * 10**9), go_duration(0)
    ('90s', '2h', '0s')
    """
    seconds = time_ns // 10**9
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s" if time_ns % 10**9 == 0 else f"{time_ns // 10**6}ms"


def number(value: float) -> str:
    """Return the shortest exact text of a number.

    >>> number(0.3), number(1000.0), number(1e-9)
    ('0.3', '1000', '1e-09')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
