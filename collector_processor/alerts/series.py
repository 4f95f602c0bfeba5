"""The state of one series under one rule, and of all series of a rule and a model that fire together."""

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
    """``seen``: known and well; ``pending``: breached since ``since_ns``, not long enough; ``firing``.

    ``since_ns`` and ``window_ns`` are event time, the first of the breach's first window, the second of the newest.
    ``judged_ns`` is the service's clock: when it was last judged, or heard of. ``told`` says whether somebody was told
    that it fires.
    """

    attributes: Attributes
    status: Status
    value: float
    since_ns: int
    window_ns: int
    judged_ns: int
    told: bool = False

    def model(self) -> ModelKey:
        """The model version that it belongs to; no version where a rule takes all versions as one."""
        (_, name), *rest = self.attributes
        return ModelKey(name, rest[0][1] if rest and rest[0][0] == semconv.MODEL_VERSION else "")


@dataclass(slots=True)
class Book:
    """A rule and the series that it keeps in mind."""

    rule: AlertRule
    series: dict[Attributes, Series] = field(default_factory=dict[Attributes, Series])
    by_version: bool = False
    """Whether an absence is one of a single version: the rule names a version."""
    expected: frozenset[Attributes] = frozenset()
    """What is missed though it never came: the rows of models that the rule names."""

    @classmethod
    def of(cls, rule: AlertRule) -> Book:
        """An empty one."""
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
    """All firing series of one rule and one model: what one notice is about."""

    rule: AlertRule
    model: ModelKey
    started_ns: int
    firing: dict[Attributes, Series] = field(default_factory=dict[Attributes, Series])
    told_ns: int | None = None
    """When somebody was last told, by the service's clock; None: nobody knows of it."""
    updated_ns: int = 0
    """When its series were last told anew, quietly or not."""
    changed: bool = True
    ended: Reason = "over"
    """Why the last of its series left."""
    last: tuple[tuple[Offender, ...], int, int] = ((), 0, 0)
    """Offenders, their number and the newest window when somebody was last told."""

    def firing_notice(self, active: Iterable[Series], reason: Reason, now_ns: int) -> Notice:
        """That these series of it fire; they count as told from then on."""
        some = list(active)
        offenders = worst(self.rule, some, now_ns)
        window_ns = max(series.window_ns for series in some)
        for series in some:
            series.told = True
        self.last = offenders, len(some), window_ns
        return Notice(self.rule, self.model, "firing", reason, self.started_ns, now_ns, window_ns, len(some), offenders)

    def resolved_notice(self, reason: Reason, now_ns: int) -> Notice:
        """That it is over, with what was last told of it."""
        offenders, count, window_ns = self.last
        return Notice(
            self.rule, self.model, "resolved", reason, self.started_ns, now_ns, window_ns, count, offenders, now_ns
        )


def worst(rule: AlertRule, some: list[Series], now_ns: int) -> tuple[Offender, ...]:
    """The series farthest beyond the threshold, worst first; of an absence, those that are silent for the longest."""
    if rule.condition == "absent":
        some = sorted(some, key=lambda series: series.judged_ns)
    else:
        some = sorted(some, key=lambda series: series.value, reverse=rule.condition == "above")
    return tuple(
        Offender(
            tuple(pair for pair in series.attributes if pair[0] not in MODEL_KEYS),
            (now_ns - series.judged_ns) / 1e9 if rule.condition == "absent" else series.value,
        )
        for series in some[:OFFENDERS]
    )
