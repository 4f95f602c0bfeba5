"""Writes the rules as Datadog monitors: a JSON list of elements that its API accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from collector_processor.generate.rules.rule import MINUTE_NS, Rule, number
from otel_ml.semconv import MODEL_NAME, MODEL_VERSION

_TIMES: Final = {1: "1m", 5: "5m", 10: "10m", 15: "15m", 30: "30m", 60: "1h", 120: "2h", 240: "4h", 1440: "1d"}
"""The periods that a monitor can cover, by their minutes."""
_PRIORITIES: Final = {"critical": 1, "warning": 3, "info": 5}


def timeframe(time_ns: int) -> tuple[int, str]:
    """Return the shortest period of Datadog that is long enough, as minutes and name; a day at most.

    >>> timeframe(10 * MINUTE_NS), timeframe(40 * MINUTE_NS), timeframe(0)
    ((10, '10m'), (60, '1h'), (5, '5m'))
    """
    wanted = max(time_ns / MINUTE_NS, 5)
    return next(((minutes, name) for minutes, name in _TIMES.items() if minutes >= wanted), (1440, "1d"))


def query(rule: Rule) -> str:
    """Return the condition of a monitor; with a hold time, all of that time must be beyond the threshold."""
    if rule.absent_ns:
        return f"sum(last_{timeframe(rule.absent_ns)[1]}):{rule.datadog} <= 0"
    least_ns = rule.datadog_ns or (15 * MINUTE_NS if rule.datadog_over == "sum" else 0)
    time = timeframe(max(rule.hold_ns, least_ns))[1]
    return f"{rule.datadog_over}(last_{time}):{rule.datadog} {rule.comparison} {number(rule.threshold)}"


def monitor(rule: Rule) -> dict[str, Any]:
    """Return one monitor."""
    thresholds: dict[str, float] = {"critical": rule.threshold}
    if rule.clear != rule.threshold:
        thresholds["critical_recovery"] = rule.clear
    options: dict[str, Any] = {
        "thresholds": thresholds,
        "include_tags": True,
        "require_full_window": False,
        "notify_audit": False,
        "on_missing_data": "show_and_notify_no_data" if rule.absent_ns else "default",
    }
    subject = " ".join(f"{{{{{tag}.name}}}}" for tag in rule.datadog_tags)
    # Braces that a user writes are not templates.
    summary, description = (text.replace("{{", "{ {") for text in (rule.summary, rule.description))
    text = f"{summary}: {subject}\n\n{description}"
    return {
        "name": rule.name,
        "type": "query alert",
        "query": query(rule),
        "message": "\n\n".join([text, *(f"{name}: {url}" for name, url in _links(rule) if url)]),
        "tags": ["otel-ml", f"group:{rule.group}", f"severity:{rule.severity}"],
        "priority": _PRIORITIES.get(rule.severity, 3),
        "options": options,
    }


def _links(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the links of a rule, with Datadog's variables for the model and the hour before the alert."""
    yield "Runbook", rule.runbook
    now = "last_triggered_at_epoch"
    values = {"{from}": f'{{{{eval "{now}-60*60*1000"}}}}', "{to}": f"{{{{{now}}}}}"}
    for key, tag in (("{model}", MODEL_NAME), ("{version}", MODEL_VERSION)):
        values[key] = f'{{{{urlencode "{tag}.name"}}}}' if tag in rule.datadog_tags else ""
    for name, url in (("Board", rule.board), ("Traces", rule.traces)):
        url = url.replace("{{", "{ {")
        for key, variable in values.items():
            url = url.replace(key, variable)
        yield name, url


def rules_text(rules: Sequence[Rule]) -> str:
    """Return all monitors as JSON."""
    return json.dumps([monitor(rule) for rule in rules], indent=2, ensure_ascii=False) + "\n"
