"""The ``alerts`` section: built-in rules with the user's changes, the user's own rules, silences and destinations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, cast

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator

from collector_processor.alerts.rules import BUILT_IN_RULES, DEFAULT_RULES, AlertRule, Condition, Severity, Where
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.base import Metric
from collector_processor.monitors.certain_drop import CERTAIN_METRICS
from collector_processor.monitors.further_performance import FURTHER_METRICS
from collector_processor.monitors.performance import METRICS
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration
from otel_ml import semconv

GAUGES: Final[Mapping[str, Metric]] = {metric.name: metric for metric in monitor_metrics() if metric.kind == "gauge"}
"""Every metric that a rule can judge."""
_VALUES: Final[Mapping[str, Sequence[str]]] = {
    semconv.COLUMN_ROLE: (*semconv.COLUMN_ROLES, *semconv.FIGURE_ROLES),
    semconv.DRIFT_METHOD: tuple(method.name for method in DRIFT_METHODS),
    semconv.PERFORMANCE_METRIC: tuple(METRICS),
    semconv.PERFORMANCE_SOURCE: semconv.PERFORMANCE_SOURCES,
}
"""Attributes whose values are a closed set."""
_BOUNDED: Final = (*METRICS, *FURTHER_METRICS)
"""The figures of performance that have the ends of an interval; only the former have a drop."""
_FIGURES: Final = frozenset(metric.name for metric in (*METRICS.values(), *FURTHER_METRICS.values()))
"""Figures of performance that labels, estimates and restated windows all have."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ATTRIBUTES: Final = tuple(dict.fromkeys(key for metric in GAUGES.values() for key in metric.attributes))


def _one_or_many(value: object) -> object:
    """Return the values of one attribute as a tuple of texts; numbers become texts, because a version may be one."""
    if isinstance(value, list):
        return tuple(_text(item) for item in cast("list[object]", value))
    return (_text(value),)


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


Values = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class RuleSettings(Settings):
    """One rule; for a built-in rule, only the keys that differ from it."""

    measurement: str | None = Field(default=None, description="metric to judge; any gauge in docs/metrics.md")
    where: dict[str, Values] | None = Field(
        default=None, description='attribute: value, or a list of values; `""` selects an absent attribute'
    )
    above: float | None = Field(default=None, description="in breach while the value is greater than this")
    below: float | None = Field(default=None, description="in breach while the value is less than this")
    absent_for: Duration | None = Field(default=None, description="in breach when nothing has arrived for this long")
    clear: float | None = Field(
        default=None, description="a breach is over once the value is back at this; default: the threshold"
    )
    hold: Duration | None = Field(
        default=None, alias="for", description="how long a breach must last before it fires, in the time of the windows"
    )
    min_rows: int | None = Field(
        default=None, ge=0, description="windows of the model with fewer predictions are not judged"
    )
    once_above: float | None = Field(
        default=None, description="a series is judged only after its value has been above this once"
    )
    severity: Severity | None = Field(default=None, description="info, warning (the default) or critical")
    summary: str | None = Field(default=None, description="one line for the person who gets the alert")
    runbook: str | None = Field(default=None, description="link to a page that says what to do")
    enabled: bool = Field(default=True, description="false turns the rule off")


class SilenceSettings(Settings):
    """Alerts to suppress for a while."""

    where: dict[str, Values] = Field(default_factory=dict, description="as in a rule; everything when empty")
    rules: tuple[str, ...] = Field(default=(), description="only these rules; all when empty")
    begin: AwareDatetime | None = Field(default=None, alias="from", description="start; immediately when absent")
    until: AwareDatetime | None = Field(default=None, description="end; never when absent")
    comment: str = Field(default="", description="reason")


class LinkSettings(Settings):
    """Links in alerts; `{model}`, `{version}`, `{from}` and `{to}` (milliseconds) are filled in."""

    runbooks: str = Field(
        default="", description="URL where the parent of docs/ is published; links to runbooks start from it"
    )
    board: str = Field(default="", description="URL of a dashboard of one model")
    traces: str = Field(default="", description="URL of a search for traces of the model")
    trace: str = Field(
        default="", description="URL of one trace; `{trace}` is the id of one of a prediction that the alert is about"
    )

    @field_validator("runbooks", "board", "traces", "trace")
    @classmethod
    def _is_a_link(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError(f"must be a URL that begins with https:// or http://, not {value!r}")
        return value

    @field_validator("trace")
    @classmethod
    def _names_a_trace(cls, value: str) -> str:
        if value and "{trace}" not in value:
            raise ValueError(f"must have {{trace}} where the trace id belongs, not {value!r}")
        return value

    def of(self, rule: AlertRule) -> AlertRule:
        """Return a rule with these links."""
        runbook = rule.runbook
        if self.runbooks and runbook and "://" not in runbook:
            runbook = f"{self.runbooks.rstrip('/')}/{runbook}"
        return replace(rule, runbook=runbook, board=self.board, traces=self.traces, trace=self.trace)


class Alerts(Settings):
    """Which measurements raise an alert, and where alerts go."""

    notify: tuple[str, ...] = Field(
        default=(),
        description="ids of the exporters that get alerts: alertmanager, apprise, otlp_grpc and otlp_http (as log "
        "events), debug",
    )
    repeat: Duration = Field(default=4 * 3600 * 10**9, description="a firing alert is sent again after this")
    defaults: bool = Field(
        default=True,
        description="whether the built-in rules are on; those on drift scores are on only if `rules` names them; "
        "false leaves only those under `rules`",
    )
    series: int = Field(
        default=10_000, ge=1, description="series watched at once; those beyond are dropped and counted"
    )
    rules: dict[str, RuleSettings | None] = Field(default_factory=dict, description="rules by name")
    links: LinkSettings = Field(default_factory=LinkSettings, description="links in alerts")
    silences: tuple[SilenceSettings, ...] = Field(default=(), description="alerts to suppress")

    @field_validator("repeat")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < 10**9:
            raise ValueError("must be at least 1s; 4h is typical")
        return value

    def resolved(self) -> tuple[AlertRule, ...]:
        """Return every enabled rule: those on by default with their changes, then those that only ``rules`` names.

        Raises ``ValueError`` with all problems; a loaded configuration has none.

        >>> [rule.name for rule in Alerts(defaults=False, rules={"latency": None}).resolved()]
        ['latency']
        """
        built_in = {rule.name: _as_before(rule, self.rules.get(rule.name)) for rule in BUILT_IN_RULES}
        names = dict.fromkeys((*(rule.name for rule in DEFAULT_RULES if self.defaults), *self.rules))
        rules: list[AlertRule] = []
        problems: list[str] = []
        for name in names:
            settings = self.rules.get(name) or RuleSettings()
            own_problems = list(_rule_problems(f"alerts.rules.{name}", settings, built_in.get(name)))
            problems += own_problems
            if not own_problems and settings.enabled:
                rules.append(self.links.of(_rule(name, settings, built_in.get(name))))
        if problems:
            # One line for each problem, even if a name contains a line break.
            raise ValueError("\n".join(problem.replace("\n", "\\n") for problem in problems))
        return tuple(rules)


def alert_problems(
    alerts: Alerts, exporters: Sequence[str], fitting: Sequence[str], types: Sequence[str]
) -> Iterator[str]:
    """Return the problems of a section whose types are valid.

    ``exporters`` are the ids of all configured exporters, ``fitting`` of those that accept alerts, and ``types`` are
    all types that do.
    """
    try:
        alerts.resolved()
    except ValueError as error:
        yield from str(error).split("\n")
    for name in alerts.notify:
        if name not in exporters:
            yield f"alerts.notify: {name!r} is not configured; available: {_listed(fitting)}"
        elif name not in fitting:
            yield f"alerts.notify: {name!r} does not accept alerts; types that do: {', '.join(types)}"
    known = [rule.name for rule in BUILT_IN_RULES] + list(alerts.rules)
    for position, silence in enumerate(alerts.silences):
        path = f"alerts.silences.{position}"
        yield from _where_problems(f"{path}.where", silence.where, _ATTRIBUTES)
        for name in silence.rules:
            if name not in known:
                yield f"{path}.rules: unknown rule {name!r}; available: {', '.join(dict.fromkeys(known))}"
        if silence.begin is not None and silence.until is not None and silence.begin >= silence.until:
            yield f"{path}.until: must be after from"


def _as_before(rule: AlertRule, settings: RuleSettings | None) -> AlertRule:
    """Return a built-in rule; one whose ``where`` only fits what it was about in earlier versions is about that."""
    where = {} if settings is None else settings.where or {}
    if rule.name == "prediction_drift" and semconv.DRIFT_METHOD in where:
        return replace(rule, measurement=semconv.DRIFT_BREACHED)
    if rule.name == "performance_drop" and not set(where.get(semconv.PERFORMANCE_METRIC, ())) <= set(CERTAIN_METRICS):
        return replace(rule, measurement=semconv.PERFORMANCE_DROP)
    return rule


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none in the exporters section"


def _conditions(settings: RuleSettings) -> dict[str, float]:
    given = {"above": settings.above, "below": settings.below, "absent_for": settings.absent_for}
    return {key: value for key, value in given.items() if value is not None}


def _rule_problems(path: str, settings: RuleSettings, base: AlertRule | None) -> Iterator[str]:
    """Return the problems of one rule."""
    if not _NAME.fullmatch(path.rpartition(".rules.")[2]):
        yield f"{path}: not a valid name; use letters, digits, '_' and '-', at most 100 characters"
    measurement = settings.measurement or ("" if base is None else base.measurement)
    metric = GAUGES.get(measurement)
    if not measurement:
        built_in = ", ".join(rule.name for rule in BUILT_IN_RULES)
        yield f"{path}.measurement: required unless the rule is built in; built-in rules: {built_in}"
    elif metric is None:
        yield f"{path}.measurement: unknown metric {measurement!r}; allowed: {', '.join(GAUGES)}"
    where = settings.where
    if where is None and base is not None and settings.measurement is not None:
        where = dict(base.where)
    if metric is not None and where is not None:
        yield from _where_problems(f"{path}.where", where, metric.attributes, measurement)
    given = _conditions(settings)
    if len(given) > 1:
        yield f"{path}: has {' and '.join(given)}; a rule needs exactly one of above, below, absent_for"
        return
    if not given and base is None:
        yield f"{path}: needs exactly one of above, below, absent_for"
        return
    for key in ("above", "below", "clear", "once_above"):
        value: float | None = getattr(settings, key)
        if value is not None and not math.isfinite(value):
            yield f"{path}.{key}: must be a number, not {value}"
    if settings.absent_for is not None and settings.absent_for < 10**9:
        yield f"{path}.absent_for: must be at least 1s"
    yield from _clear_problems(path, settings, base)


def _clear_problems(path: str, settings: RuleSettings, base: AlertRule | None) -> Iterator[str]:
    if settings.clear is None:
        return
    condition, threshold = _condition(settings, base)
    if condition == "absent":
        yield f"{path}.clear: an absent_for rule ends with the next measurement; remove clear"
    elif condition == "above" and settings.clear > threshold:
        yield f"{path}.clear: {settings.clear:g} is above the threshold {threshold:g}; allowed: at most the threshold"
    elif condition == "below" and settings.clear < threshold:
        yield f"{path}.clear: {settings.clear:g} is below the threshold {threshold:g}; allowed: at least the threshold"


def _where_problems(
    path: str, where: Mapping[str, Sequence[str]], choices: Sequence[str], measurement: str = ""
) -> Iterator[str]:
    of = f" of {measurement}" if measurement else ""
    bounded = measurement in ("", semconv.PERFORMANCE_LOWER, semconv.PERFORMANCE_UPPER)
    for key, values in where.items():
        if key not in choices:
            yield f"{path}.{key}: not an attribute{of}; allowed: {', '.join(choices)}"
            continue
        if not values:
            yield f"{path}.{key}: must list at least one value"
        closed = _BOUNDED if bounded and key == semconv.PERFORMANCE_METRIC else _VALUES.get(key, values)
        for value in values:
            if value and value not in closed:
                yield f"{path}.{key}: unknown value {value!r}; allowed: {', '.join(closed)}"


def _condition(settings: RuleSettings, base: AlertRule | None) -> tuple[Condition, float]:
    """Return the condition and its threshold."""
    if settings.above is not None:
        return "above", settings.above
    if settings.below is not None:
        return "below", settings.below
    if settings.absent_for is not None or base is None:
        return "absent", 0.0
    return base.condition, base.threshold


def _rule(name: str, settings: RuleSettings, base: AlertRule | None) -> AlertRule:
    """Return the rule that results from checked settings and the built-in rule of that name."""
    condition, threshold = _condition(settings, base)
    rule = base or AlertRule(name, settings.measurement or "", condition, summary=name.replace("_", " "))
    changed = bool(_conditions(settings))
    clear = threshold if settings.clear is None and (changed or base is None) else settings.clear
    where: Where | None = None if settings.where is None else tuple(settings.where.items())
    given: dict[str, Any] = {
        "measurement": settings.measurement,
        "where": where,
        "condition": condition,
        "threshold": threshold,
        "clear": clear,
        "hold_ns": settings.hold,
        "absent_ns": settings.absent_for,
        "min_rows": settings.min_rows,
        "once_above": settings.once_above,
        "severity": settings.severity,
        "summary": settings.summary,
        "runbook": settings.runbook,
        # The built-in text contains the built-in threshold.
        "description": "" if changed or settings.measurement is not None else None,
    }
    return _of_labels(replace(rule, **{key: value for key, value in given.items() if value is not None}))


def _of_labels(rule: AlertRule) -> AlertRule:
    """Return a rule on a figure of performance as one on what labels say, unless it names the source.

    The same figure is also estimated before labels come, and restated when more have come: a rule from before there
    was an estimate would fire on that, and one problem would be three alerts.
    """
    if rule.measurement not in _FIGURES or semconv.PERFORMANCE_SOURCE in dict(rule.where):
        return rule
    return replace(rule, where=(*rule.where, (semconv.PERFORMANCE_SOURCE, (semconv.SOURCE_LABELS,))))
