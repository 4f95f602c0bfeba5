"""Turns the alert rules of a configuration into PromQL and Datadog queries, with names from the registry."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from collector_processor.alerts.rules import AlertRule, Where
from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import MODEL, SEGMENT, SEGMENT_VALUE, VERSION, Catalog, Series, stopped
from collector_processor.generate.rules.rule import MINUTE_NS, SEEN_NS, Comparison, Example, Rule, go_duration, number
from collector_processor.monitors.attributes import MODEL_KEYS
from otel_ml import semconv

_ONCE: Final = "7d"
"""How long ago a value may have been above ``once_above``."""
_SHORTEST_NS: Final = 3 * MINUTE_NS
"""Counts arrive every half minute and are stored when they are scraped, so a shorter silence cannot be detected."""
_NOT_IN_A_TAG: Final = re.compile(r"[^\w\-:./]")
_WHOLE: Final = (semconv.SEGMENT_NAME, ("",))
_MODEL_KEYS: Final = f"{MODEL}, {VERSION}"


def model_rule(rule: AlertRule, catalog: Catalog, runbook: str) -> Rule:
    """Return the rule in every query language; ``KeyError`` for a measurement that no monitor produces.

    >>> rule = AlertRule("drift", "ml.drift.share", "above", threshold=0.3, clear=0.3)
    >>> written = model_rule(rule, Catalog.of_registries(), "")
    >>> written.value
    'max by (ml_model_name, ml_model_version) (ml_drift_share_ratio)'
    >>> written.datadog
    'max:ml.drift.share{*} by {ml.model.name,ml.model.version}'
    """
    rule = _by_predictions(rule)
    series = catalog[rule.measurement]
    pinned = {label_name(key) for key, values in rule.where if values == ("",)}
    pinned |= {SEGMENT_VALUE} if SEGMENT in pinned else set()
    # For silence, all versions of a model count as one.
    labels = (MODEL,) if rule.condition == "absent" else tuple(item for item in series.labels if item not in pinned)
    comparison: Comparison = "<" if rule.condition == "below" else ">"
    absent = rule.condition == "absent"
    value = _silence(rule, series) if absent else _value(rule, series, labels, catalog)
    keys = tuple(key for key in _keys(rule, catalog) if label_name(key) in labels)
    return Rule(
        rule.name,
        "models",
        value,
        comparison,
        0.0 if absent else rule.threshold,
        0.0 if absent else rule.clear,
        labels,
        0 if absent else rule.hold_ns,
        rule.severity,
        rule.summary,
        rule.description or f"{rule.measurement} {_condition(rule)}.",
        runbook,
        _datadog(rule, keys, catalog),
        "sum" if absent else "max" if rule.condition == "below" else "min",
        keys,
        rule.absent_ns,
        "" if absent else "Value: {}.",
        tuple(_examples(rule, series, labels, catalog)),
        board=rule.board,
        traces=rule.traces,
    )


def _by_predictions(rule: AlertRule) -> AlertRule:
    """Return a silence rule that uses the counter of predictions, if possible: gauges outlast their window."""
    of_models = all(key in MODEL_KEYS or (key, values) == _WHOLE for key, values in rule.where)
    if rule.condition != "absent" or rule.measurement != semconv.WINDOW_ROWS or not of_models:
        return rule
    where = tuple((key, values) for key, values in rule.where if key in MODEL_KEYS)
    return replace(rule, measurement=semconv.PREDICTIONS, where=where)


def _condition(rule: AlertRule) -> str:
    if rule.condition == "absent":
        return f"has been absent for {go_duration(rule.absent_ns)}"
    return f"is {rule.condition} {number(rule.threshold)}"


# --- PromQL ----------------------------------------------------------------------------------------------------


def selector(where: Where) -> str:
    r"""Return sorted label matchers in braces; the empty text if there are none.

    >>> selector((("ml.model.name", ("a.b",)), ("ml.segment.value", ("gold", "x|y"))))
    '{ml_model_name="a.b",ml_segment_value=~"gold|x\\\\|y"}'
    """
    matchers = matchers_of(where)
    return f"{{{matchers}}}" if matchers else ""


def matchers_of(where: Where) -> str:
    """Return the matchers without braces."""
    matchers: list[str] = []
    for key, values in sorted(where):
        several = len(values) != 1
        text = "|".join(re.escape(value).replace("\\-", "-").replace("\\ ", " ") for value in values)
        text = text if several else values[0]
        matchers.append(f"{label_name(key)}={'~' if several else ''}{quoted(text)}")
    return ",".join(matchers)


def quoted(text: str) -> str:
    r"""Return a text as a PromQL string.

    >>> print(quoted('say "hi"'))
    "say \"hi\""
    """
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{plain}"'


def _value(rule: AlertRule, series: Series, labels: Sequence[str], catalog: Catalog) -> str:
    """Return the query of the worst value of each alert's series, where the guards allow it to be judged."""
    function = "min" if rule.condition == "below" else "max"
    matchers, by = matchers_of(rule.where), f"by ({', '.join(labels)})"
    value = f"{function} {by} ({series.now(matchers)})"
    if rule.min_rows:
        rows = catalog[semconv.WINDOW_ROWS].now(f'{SEGMENT}=""')
        value += f" and on ({_MODEL_KEYS}) max by ({_MODEL_KEYS}) ({rows}) >= {rule.min_rows}"
    if rule.once_above is not None:
        once = f"max {by} (max_over_time({series.name}{selector(rule.where)}[{_ONCE}]))"
        value += f" and on ({', '.join(labels)}) {once} > {number(rule.once_above)}"
    return value


def _silence(rule: AlertRule, series: Series) -> str:
    """Return the query of models with the measurement within a day (or twice the time), but not recently.

    Models that the rule names count even if they were never seen.
    """
    chosen, by = f"{series.name}{selector(rule.where)}", f"group by ({MODEL})"
    time = go_duration(max(rule.absent_ns, _SHORTEST_NS))
    seen = go_duration(max(SEEN_NS, 2 * rule.absent_ns))
    if series.kind == "counter":
        value = stopped(chosen, (MODEL,), time, seen)
    else:
        value = f"{by} (last_over_time({chosen}[{seen}])) unless {by} (last_over_time({chosen}[{time}]))"
    for name in dict(rule.where).get(semconv.MODEL_NAME, ()):
        rest = tuple(pair for pair in rule.where if pair[0] != semconv.MODEL_NAME)
        one = f"{series.name}{selector(((semconv.MODEL_NAME, (name,)), *rest))}"
        value += f" or {by} (absent_over_time({one}[{time}]))"
    return value


# --- Datadog ---------------------------------------------------------------------------------------------------


def _keys(rule: AlertRule, catalog: Catalog) -> tuple[str, ...]:
    """Return the attributes of the measurement under their OTLP names, which are tags in Datadog."""
    known = {label_name(value): value for value in vars(semconv).values() if isinstance(value, str)}
    return tuple(known[label] for label in catalog[rule.measurement].labels)


def _scope(where: Where) -> str:
    parts: list[str] = []
    for key, values in sorted(where):
        choices = [f"{key}:{_tag(value)}" if value else f"!{key}:*" for value in values]
        parts.append(choices[0] if len(choices) == 1 else f"({' OR '.join(choices)})")
    return " AND ".join(parts) or "*"


def _tag(value: str) -> str:
    """Return a value in the form that Datadog stores in a tag."""
    return _NOT_IN_A_TAG.sub("_", value).lower()


def _datadog(rule: AlertRule, keys: tuple[str, ...], catalog: Catalog) -> str:
    by = ",".join(keys)
    if rule.condition == "absent":
        count = ".as_count()" if catalog[rule.measurement].kind == "counter" else ""
        return f"sum:{rule.measurement}{{{_scope(rule.where)}}} by {{{by}}}{count}"
    function = "min" if rule.condition == "below" else "max"
    value = f"{function}:{rule.measurement}{{{_scope(rule.where)}}} by {{{by}}}"
    if rule.min_rows and keys == (semconv.MODEL_NAME, semconv.MODEL_VERSION):
        # Datadog can only combine series of the same tags; for others, the longer time is the only guard.
        rows = f"max:{semconv.WINDOW_ROWS}{{!{semconv.SEGMENT_NAME}:*}} by {{{by}}}"
        value += f" * cutoff_min({rows}, {rule.min_rows}) / {rows}"
    return value


# --- examples --------------------------------------------------------------------------------------------------


def _examples(rule: AlertRule, series: Series, labels: Sequence[str], catalog: Catalog) -> Iterator[Example]:
    chosen = _labels(rule, series)
    alert = tuple((key, value) for key, value in chosen if key in labels)
    name = _series(series.name, chosen)
    if rule.condition == "absent":
        away = math.ceil(rule.absent_ns / MINUTE_NS)
        at_ns = (away + 10) * MINUTE_NS
        # Every other model that the rule names continues.
        others = tuple(
            (_series(series.name, [(MODEL, other), *chosen[1:]]), f"50+9x{away + 30}")
            for other in dict(rule.where).get(semconv.MODEL_NAME, ())[1:]
        )
        end = away + 30
        yield Example("fires when it is gone", ((name, f"50+9x5 _x{end}"), *others), at_ns, alert, 1.0)
        yield Example("is quiet while it arrives", ((name, f"50+9x{end}"), *others), at_ns)
        if series.kind == "counter":
            yield Example("fires when it stops growing", ((name, f"50+9x5 95+0x{end}"), *others), at_ns, alert, 1.0)
            born = ((name, f"_x{away + 8} 50+0x{end}"), *others)
            yield Example("is quiet when it has just started", born, at_ns)
        return
    after = math.ceil(rule.hold_ns / MINUTE_NS) + 5
    rows = _series(catalog[semconv.WINDOW_ROWS].name, [pair for pair in chosen if pair[0] in (MODEL, VERSION)])
    enough = () if series.metric == semconv.WINDOW_ROWS else ((rows, f"{rule.min_rows + 1000}+0x{after + 60}"),)
    bad, good = _values(rule)
    first = "" if rule.once_above is None else f"{number(rule.once_above + 1.0)} "
    end = after + 60

    def example(text: str, value: float, *others: tuple[str, str], fires: bool = False) -> Example:
        samples = ((name, f"{first}{number(value)}+0x{end}"), *others)
        return Example(text, samples, after * MINUTE_NS, alert if fires else None, value)

    yield example("fires", bad, *enough, fires=True)
    yield example("is quiet on the good side of the threshold", good, *enough)
    if rule.hold_ns >= MINUTE_NS:
        early = ((name, f"{first}{number(bad)}+0x{end}"), *enough)
        yield Example("is quiet before the hold time is over", early, rule.hold_ns - MINUTE_NS)
    if rule.min_rows > 1 and enough:
        yield example("is quiet with too few rows", bad, (rows, f"{rule.min_rows - 1}+0x{end}"))
    if rule.once_above is not None:
        never = min(rule.once_above, bad)
        yield Example(
            "is quiet without a value above once_above",
            ((name, f"{number(never)}+0x{end}"), *enough),
            after * MINUTE_NS,
        )
    if rule.clear != rule.threshold:
        between = (rule.clear + rule.threshold) / 2
        samples = ((name, f"{first}{number(bad)}+0x{after} {number(between)}+0x{end}"), *enough)
        yield Example("keeps firing between threshold and clear", samples, (after + 20) * MINUTE_NS, alert, between)
        samples = ((name, f"{first}{number(between)}+0x{end}"), *enough)
        yield Example("does not start between threshold and clear", samples, after * MINUTE_NS)


def _values(rule: AlertRule) -> tuple[float, float]:
    """Return a value beyond the threshold, and one at which even a firing alert ends."""
    step = max(abs(rule.threshold), abs(rule.clear), 1e-6) / 2
    sign = 1.0 if rule.condition == "above" else -1.0
    return round(rule.threshold + sign * step, 9), round(rule.clear - sign * step, 9)


def _labels(rule: AlertRule, series: Series) -> list[tuple[str, str]]:
    """Return the labels of an example: the values that the rule selects, and any value for the others."""
    selected = {label_name(key): values[0] for key, values in rule.where}
    labels = {
        label: selected.get(label, "fraud" if label == MODEL else "7" if label == VERSION else "some")
        for label in series.labels
    }
    return [(label, value) for label, value in labels.items() if value]


def _series(name: str, labels: Sequence[tuple[str, str]]) -> str:
    return f"{name}{{{', '.join(f'{key}={quoted(value)}' for key, value in labels)}}}"
