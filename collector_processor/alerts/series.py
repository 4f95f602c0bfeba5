"""The state of one series under one rule, and of the series of a rule and a model that fire together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from collector_processor.alerts.notice import OFFENDERS, Notice, Offender, Reason
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import MODEL_KEYS, Attributes
from otel_ml import semconv

Status = Literal["seen", "pending", "firing"]


@dataclass(slots=True)
class Series:
    """One series: ``seen`` (normal), ``pending`` (in breach since ``since_ns``, not long enough yet) or ``firing``.

    ``since_ns`` and ``window_ns`` are event times: of the first window of the breach, and of the newest window.
    ``judged_ns`` is a time of the service's clock: when the series was last judged, or last arrived. ``notified`` is
    whether a notice has reported that it fires.
    """

    attributes: Attributes
    status: Status
    value: float
    since_ns: int
    window_ns: int
    judged_ns: int
    notified: bool = False
    words: str = ""
    """What the monitor says of the value."""
    trace: str = ""
    """The trace of a prediction that the value is about."""

    def model(self) -> ModelKey:
        """Return the model version that it belongs to; the version is empty if the rule treats all versions as one."""
        (_, name), *rest = self.attributes
        return ModelKey(name, rest[0][1] if rest and rest[0][0] == semconv.MODEL_VERSION else "")


@dataclass(slots=True)
class Book:
    """A rule and the series that it tracks."""

    rule: AlertRule
    series: dict[Attributes, Series] = field(default_factory=dict[Attributes, Series])
    by_version: bool = False
    """Whether the rule names a version, so that an absence is that of a single version."""
    expected: frozenset[Attributes] = frozenset()
    """Series that count as absent even if they never arrived: the rows of models that the rule names."""

    @classmethod
    def of(cls, rule: AlertRule) -> Book:
        """Return an empty book of a rule."""
        where = dict(rule.where)
        names = where.pop(semconv.MODEL_NAME, ())
        of_rows = rule.condition == "absent" and rule.measurement == semconv.WINDOW_ROWS
        whole = all(values == ("",) for values in where.values())
        return cls(
            rule,
            by_version=semconv.MODEL_VERSION in where,
            expected=frozenset(((semconv.MODEL_NAME, name),) for name in names if of_rows and whole and name),
        )


@dataclass(slots=True)
class Group:
    """The firing series of one rule and one model, which one notice reports."""

    rule: AlertRule
    model: ModelKey
    started_ns: int
    firing: dict[Attributes, Series] = field(default_factory=dict[Attributes, Series])
    notified_ns: int | None = None
    """When a notice was last sent, by the service's clock; None: no one knows about the alert."""
    updated_ns: int = 0
    """When its series were last reported, quietly or not."""
    changed: bool = True
    ended: Reason = "over"
    """Why its last series ended."""
    last: tuple[tuple[Offender, ...], int, int] = ((), 0, 0)
    """The offenders, their number and the newest window in the last notice."""

    def firing_notice(self, active: Iterable[Series], reason: Reason, now_ns: int) -> Notice:
        """Return a notice that these series fire, and mark them as notified."""
        firing = list(active)
        count = len(firing)
        offenders = worst(self.rule, firing, now_ns)
        window_ns = max(series.window_ns for series in firing)
        for series in firing:
            series.notified = True
        self.last = offenders, count, window_ns
        return Notice(self.rule, self.model, "firing", reason, self.started_ns, now_ns, window_ns, count, offenders)

    def resolved_notice(self, reason: Reason, now_ns: int) -> Notice:
        """Return a notice that the alert is over, with the series of the last notice."""
        offenders, count, window_ns = self.last
        return Notice(
            self.rule, self.model, "resolved", reason, self.started_ns, now_ns, window_ns, count, offenders, now_ns
        )


def worst(rule: AlertRule, firing: list[Series], now_ns: int) -> tuple[Offender, ...]:
    """Return the series farthest beyond the threshold, worst first; for an absence, the longest silent first."""
    if rule.condition == "absent":
        ranked = sorted(firing, key=lambda series: series.judged_ns)
    else:
        ranked = sorted(firing, key=lambda series: series.value, reverse=rule.condition == "above")
    return tuple(
        Offender(
            tuple(pair for pair in series.attributes if pair[0] not in MODEL_KEYS),
            (now_ns - series.judged_ns) / 1e9 if rule.condition == "absent" else series.value,
            series.words,
            series.trace,
        )
        for series in ranked[:OFFENDERS]
    )
