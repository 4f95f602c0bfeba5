"""The text of notices, which people read on a phone, in a chat or in an e-mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from collector_processor.alerts.notice import OFFENDERS, Notice, Offender, Reason
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.drift_words import percent
from otel_ml import semconv

NAME_LENGTH: Final = 200
"""Names come over the network; this many characters of a name are shown."""
LINE_LENGTH: Final = 300
"""Characters of a line that names series."""
LINK_NS: Final = 3600 * 10**9
"""The time before the newest window that a link shows."""
HEADLINE: Final = 3
"""Series that a title names."""
_NAMING: Final = (semconv.FEATURE_NAME, semconv.COLUMN_ROLE, semconv.SEGMENT_VALUE)
"""Attributes that name a series well enough for a title."""
_LATEST_S: Final = 253_402_300_799
_ENDED: Final[dict[Reason, str]] = {
    "over": "The problem is over.",
    "not_measured": "This is no longer measured, so the problem may or may not be over.",
    "forgotten": "The service no longer tracks this model, because nothing has arrived from it for a long time.",
    "silenced": "The alert is still firing, but a silence has started.",
    "rule_gone": "The rule was removed or changed.",
}
_WORDS: Final = {
    semconv.FEATURE_NAME: "feature",
    semconv.COLUMN_ROLE: "column",
    semconv.DRIFT_METHOD: "method",
    semconv.SEGMENT_NAME: "segment",
    semconv.SEGMENT_VALUE: "value",
    semconv.PERFORMANCE_METRIC: "metric",
    semconv.PERFORMANCE_AVERAGE: "average",
    semconv.PERFORMANCE_SOURCE: "source",
}
_SHARES: Final = (
    semconv.DRIFT_SHARE, semconv.DRIFT_WEIGHTED_SHARE, semconv.DRIFT_ALARM_SHARE, semconv.QUALITY_MISSING,
    semconv.QUALITY_GONE, semconv.QUALITY_OUT_OF_RANGE, semconv.QUALITY_UNSEEN, semconv.QUALITY_WRONG_TYPE,
    semconv.QUALITY_ERROR_RATE, semconv.LABELS_COVERAGE,
)  # fmt: skip
"""Measurements, or the beginnings of their names, that are shares of rows or cells."""
_OBVIOUS: Final = ((semconv.PERFORMANCE_SOURCE, semconv.SOURCE_LABELS), (semconv.COLUMN_ROLE, "feature"))
"""Attributes that are not worth showing."""


def title(notice: Notice) -> str:
    """Return one line: the severity, the model and the problem.

    >>> from collector_processor.alerts.rules import DEFAULT_RULES
    >>> title(Notice(DEFAULT_RULES[0], ModelKey("fraud", "7"), "firing", "new", 0, 0, 0, 1, ()))
    '[info] fraud 7: features have changed'
    >>> items = Offender((), 0.33, "33 % of features changed: items (mean up, since 2026-11-29 10:04 UTC)")
    >>> title(Notice(DEFAULT_RULES[0], ModelKey("fraud", "7"), "firing", "new", 0, 0, 0, 1, (items,)))
    '[info] fraud 7: 33 % of features changed: items (mean up, since 2026-11-29 10:04 UTC)'
    """
    if notice.reason == "test":
        return "[test] otel-ml: this is a test alert; nothing is wrong"
    state = "resolved" if notice.state == "resolved" else notice.rule.severity
    again = " (still)" if notice.reason == "repeat" else ""
    return f"[{state}] {model_text(notice.model)}: {headline(notice)}{again}"


def headline(notice: Notice) -> str:
    """Return what is wrong: the summary of the rule, and the worst series while the alert fires.

    >>> rule = AlertRule("missing", "ml.quality.missing", "above", summary="features are missing")
    >>> worst = Offender((("ml.feature.name", "age"),), 0.4), Offender((("ml.feature.name", "city"),), 0.3)
    >>> headline(Notice(rule, ModelKey("fraud"), "firing", "new", 0, 0, 0, 7, worst))
    'features are missing: age 40 %, city 30 % and 5 more'
    """
    if notice.state == "resolved" or notice.reason == "test":
        return summary(notice.rule)
    named = [text for text in (_named(notice.rule, offender) for offender in notice.offenders[:HEADLINE]) if text]
    if not named:
        return summary(notice.rule)
    if len(notice.offenders) == 1 and not notice.offenders[0].attributes:
        return _cut(named[0]) if notice.offenders[0].words else f"{summary(notice.rule)}: {_cut(named[0])}"
    more = notice.count - len(named)
    return f"{summary(notice.rule)}: {_cut(', '.join(named))}" + (f" and {more} more" if more > 0 else "")


def _named(rule: AlertRule, offender: Offender) -> str:
    """Return one series in a few words: its name and what is wrong with it; empty for an absence."""
    if rule.condition == "absent":
        return ""
    names = [shown(value) for key, value in offender.attributes if key in _NAMING and (key, value) not in _OBVIOUS]
    what = shown(offender.words, LINE_LENGTH) if offender.words else value_text(rule, offender.value)
    if names and not offender.words and _units().get(rule.measurement) == semconv.UNIT_BREACH:
        return " ".join(names)  # a breach is 1, which says nothing
    if not names:
        return what
    return f"{' '.join(names)} ({what})" if offender.words else f"{' '.join(names)} {what}"


def _cut(text: str) -> str:
    return text if len(text) <= LINE_LENGTH else text[:LINE_LENGTH] + "…"


def summary(rule: AlertRule) -> str:
    """Return the summary of a rule, or its name if it has none."""
    return rule.summary or rule.name.replace("_", " ")


def body(notice: Notice) -> str:
    """Return a few lines: what was measured, where, since when, and what to do."""
    return "\n".join(_lines(notice))


def _lines(notice: Notice) -> Iterator[str]:
    rule = notice.rule
    if notice.reason == "test":
        yield "Someone ran `otel-ml alerts test`. If you can read this, alerts from this service reach you."
        return
    if notice.state == "resolved":
        yield _ENDED.get(notice.reason, _ENDED["over"])
    elif rule.description:
        yield rule.description
    yield f"Rule {rule.name} ({rule.severity}): {condition(rule)}"
    yield from offenders(notice)
    since = f"Since {moment(notice.started_ns)}"
    yield f"{since}, until {moment(notice.ended_ns)}" if notice.state == "resolved" else since
    if notice.state == "firing":
        if rule.runbook:
            yield f"What to do: {rule.runbook}"
        for name, url in links(notice):
            yield f"{name}: {url}"


def links(notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield the links of a notice that are configured (``alerts.links``), with their names.

    >>> rule = AlertRule("drift", "ml.drift.share", "above", board="https://g.example/d/x?var-model={model}&to={to}")
    >>> list(links(Notice(rule, ModelKey("a b", "7"), "firing", "new", 0, 0, 60 * 10**9, 1, ())))
    [('Board', 'https://g.example/d/x?var-model=a%20b&to=60000')]
    """
    values = {
        "{trace}": next((offender.trace for offender in notice.offenders if offender.trace), ""),
        "{model}": quote(notice.model.name, safe=""),
        "{version}": quote(notice.model.version, safe=""),
        "{from}": str(max(notice.window_ns - LINK_NS, 0) // 10**6),
        "{to}": str(max(notice.window_ns, 0) // 10**6),
    }
    rule = notice.rule
    one = rule.trace if values["{trace}"] else ""
    for name, template in (("Board", rule.board), ("Traces", rule.traces), ("Trace", one)):
        if template:
            for key, value in values.items():
                template = template.replace(key, value)
            yield name, template


def title_of(notices: Sequence[Notice]) -> str:
    """Return one line for notices of one rule and one state: the title of a single notice, or the number of models.

    >>> from collector_processor.alerts.rules import DEFAULT_RULES
    >>> silence = next(rule for rule in DEFAULT_RULES if rule.name == "silence")
    >>> title_of([Notice(silence, ModelKey(name), "firing", "new", 0, 0, 0, 1, ()) for name in "abc"])
    '[critical] 3 models: the model has stopped sending predictions'
    """
    first = notices[0]
    if len(notices) == 1:
        return title(first)
    state = "resolved" if first.state == "resolved" else first.rule.severity
    return f"[{state}] {len(notices)} models: {summary(first.rule)}"


def body_of(notices: Sequence[Notice]) -> str:
    """Return a few lines for notices of one rule and one state: the body of a single notice, or a line per model."""
    first = notices[0]
    if len(notices) == 1:
        return body(first)
    rule, lines = first.rule, list[str]()
    if rule.description and first.state == "firing":
        lines.append(rule.description)
    lines.append(f"Rule {rule.name} ({rule.severity}): {condition(rule)}")
    for notice in notices[:OFFENDERS]:
        text = _ENDED.get(notice.reason, "") if notice.state == "resolved" else ""
        if notice.offenders and notice.state == "firing":
            text = offender_text(rule, notice.offenders[0])
        lines.append(f"- {model_text(notice.model)}: {text}")
    if len(notices) > OFFENDERS:
        lines.append(f"- and {len(notices) - OFFENDERS} more")
    if rule.runbook and first.state == "firing":
        lines.append(f"What to do: {rule.runbook}")
    return "\n".join(lines)


def condition(rule: AlertRule) -> str:
    """Return the condition of a rule in words.

    >>> from collector_processor.alerts.rules import DEFAULT_RULES
    >>> condition(DEFAULT_RULES[0])
    'ml.drift.alarm_share above 0'
    >>> condition(AlertRule("silence", "ml.window.rows", "absent", absent_ns=900 * 10**9))
    'ml.window.rows absent for 15m'
    """
    if rule.condition == "absent":
        return f"{rule.measurement} absent for {duration(rule.absent_ns)}"
    held = f" for {duration(rule.hold_ns)}" if rule.hold_ns else ""
    return f"{rule.measurement} {rule.condition} {rule.threshold:g}{held}"


def offenders(notice: Notice) -> Iterator[str]:
    """Yield a line for each listed series, and one with the number of the others."""
    was = "was " if notice.state == "resolved" else ""
    for offender in notice.offenders:
        yield f"- {offender_text(notice.rule, offender, was)}"
    if notice.count > len(notice.offenders):
        yield f"- and {notice.count - len(notice.offenders)} more"


def offender_text(rule: AlertRule, offender: Offender, was: str = "") -> str:
    """Return one series in words: its attributes and its value.

    >>> rule = AlertRule("slow", "ml.latency.p99", "above", threshold=1.0)
    >>> offender_text(rule, Offender((("ml.segment.name", "region"), ("ml.segment.value", "north")), 2.5))
    'segment region, value north: 2.5 s'
    """
    if rule.condition == "absent":
        text = f"{was}silent for {duration(max(int(offender.value), 1) * 10**9)}"
    elif offender.words:
        text = was + shown(offender.words, LINE_LENGTH)
    else:
        text = was + value_text(rule, offender.value)
    parts = [
        f"{_WORDS.get(key, key)} {shown(value)}" for key, value in offender.attributes if (key, value) not in _OBVIOUS
    ]
    if offender.trace:
        text += f" (for example trace {offender.trace})"
    return f"{', '.join(parts)}: {text}" if parts else text


def value_text(rule: AlertRule, value: float) -> str:
    """Return a value with its unit; shares are percentages.

    >>> rule = AlertRule("missing", "ml.quality.missing", "above")
    >>> value_text(rule, 0.4), value_text(rule, 0.0123)
    ('40 %', '1.23 %')
    """
    unit = _units().get(rule.measurement, "")
    if unit == semconv.UNIT_RATIO and rule.measurement.startswith(_SHARES):
        return percent(value)
    return f"{value:.4g}" + (" s" if unit == semconv.UNIT_SECOND else "")


@lru_cache(maxsize=1)
def _units() -> dict[str, str]:
    return {metric.name: metric.unit for metric in monitor_metrics()}


def model_text(model: ModelKey) -> str:
    """Return the text that names a model version.

    >>> model_text(ModelKey("fraud", "7")), model_text(ModelKey("fraud"))
    ('fraud 7', 'fraud')
    """
    return f"{shown(model.name)} {shown(model.version)}" if model.version else shown(model.name)


def shown(text: str, length: int = NAME_LENGTH) -> str:
    """Return a name from the network on one line, cut to a readable length.

    >>> shown(chr(7)) == ascii(chr(7))[1:-1], len(shown("x" * 999))
    (True, 201)
    """
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return text if len(text) <= length else text[:length] + "…"


def moment(time_ns: int) -> str:
    """Return a time of the service's clock in ISO 8601 and UTC.

    >>> moment(1_750_000_000_000_000_000)
    '2025-06-15T15:06:40Z'
    """
    seconds = min(max(time_ns // 10**9, 0), _LATEST_S)
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def duration(value_ns: int) -> str:
    """Return a duration in the notation of the configuration, with its two largest units.

    >>> duration(5_400 * 10**9), duration(900 * 10**9), duration(61 * 10**9), duration(5 * 10**8)
    ('1h30m', '15m', '1m1s', '500ms')
    """
    if value_ns < 10**9:
        return f"{value_ns // 10**6}ms"
    remainder, parts = value_ns // 10**9, list[str]()
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, remainder = divmod(remainder, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
