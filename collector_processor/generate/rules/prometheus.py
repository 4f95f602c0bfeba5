"""Prometheus rule files, and the unit tests that promtool runs against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from collector_processor.generate.catalog import MODEL, VERSION
from collector_processor.generate.rules.rule import GROUPS, Example, Rule, go_duration, number

HEADER: Final = "# Written by otel-ml rules; change the configuration, not this file.\n"
_VALUE: Final = '{{ printf "%.4g" $value }}'
_BRACES: Final = '{{ "{{" }}'
"""Two braces, as a template."""
FROM: Final = '{{ query "1000 * (time() - 3600)" | first | value | printf "%.0f" }}'
TO: Final = '{{ query "1000 * time()" | first | value | printf "%.0f" }}'
"""The hour before the evaluation, in milliseconds."""
_QUOTED: Final = '{{{{ $labels.{} | urlquery | reReplaceAll "[+]" "%20" }}}}'


def expression(rule: Rule) -> str:
    """Return the condition in PromQL: beyond the threshold or, if the alert is firing, not yet back at ``clear``."""
    value = f"({rule.value})"
    beyond = f"{value} {rule.comparison} {number(rule.threshold)}"
    if rule.clear == rule.threshold:
        return beyond
    firing = f'ALERTS{{alertname="{rule.name}",alertstate="firing"}}'
    keeps_firing = f"{value} {rule.comparison} {number(rule.clear)} and on ({', '.join(rule.labels)}) {firing}"
    return f"{beyond} or ({keeps_firing})"


def texts_of(rule: Rule) -> dict[str, str]:
    """Return the texts of an alert, with the templates that Prometheus and Grafana fill in."""
    texts = {"summary": _summary(rule), "description": _literal(rule.description)}
    if rule.value_text:
        texts["description"] += " " + rule.value_text.format(_VALUE)
    links = {"runbook_url": rule.runbook, "board_url": _link(rule, rule.board), "traces_url": _link(rule, rule.traces)}
    return {**texts, **{key: url for key, url in links.items() if url}}


def _link(rule: Rule, url: str) -> str:
    """Return a link with templates for the model, its version and the hour before the alert."""
    values = {"{from}": FROM, "{to}": TO}
    for key, label in (("{model}", MODEL), ("{version}", VERSION)):
        values[key] = _QUOTED.format(label) if label in rule.labels else ""
    url = _literal(url)
    for key, template in values.items():
        url = url.replace(key, template)
    return url


def _summary(rule: Rule) -> str:
    """Return the subject and the problem."""
    if rule.group == "service" and "model" in rule.labels:
        return f"{{{{ $labels.model }}}}: {_literal(rule.summary)}"
    if rule.group == "service":
        return f"{_literal(rule.summary)} ({{{{ $labels.job }}}} {{{{ $labels.instance }}}})"
    subject = f"{{{{ $labels.{MODEL} }}}}" + (f" {{{{ $labels.{VERSION} }}}}" if VERSION in rule.labels else "")
    return f"{subject}: {_literal(rule.summary)}"


def _literal(text: str) -> str:
    """Return a text without templates: braces that a user writes are shown as they are."""
    return text.replace("{{", _BRACES)


def rules_text(rules: Sequence[Rule]) -> str:
    """Return the rule file: one group for the models, one for the service."""
    groups: list[dict[str, Any]] = []
    for group, title in GROUPS.items():
        members = [_entry(rule) for rule in rules if rule.group == group]
        if members:
            groups.append({"name": title, "rules": members})
    return HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000, allow_unicode=True)


def _entry(rule: Rule) -> dict[str, Any]:
    entry: dict[str, Any] = {"alert": rule.name, "expr": expression(rule)}
    if rule.hold_ns:
        entry["for"] = go_duration(rule.hold_ns)
    if rule.keep_ns:
        entry["keep_firing_for"] = go_duration(rule.keep_ns)
    return {**entry, "labels": {"severity": rule.severity}, "annotations": texts_of(rule)}


def unit_tests_text(rules: Sequence[Rule], rules_file: Path) -> str:
    """Return unit tests for ``promtool test rules``: each rule has series on which it fires or stays quiet."""
    tests = [_test(rule, example) for rule in rules for example in rule.examples]
    document = {"rule_files": [rules_file.name], "evaluation_interval": "1m", "tests": tests}
    header = HEADER + "# Run in the folder of the rules: promtool test rules FILE\n"
    return header + yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)


def _test(rule: Rule, example: Example) -> dict[str, Any]:
    expected: list[dict[str, Any]] = []
    if example.labels is not None:
        labels = dict(example.labels)
        texts = {key: _filled(text, labels, example) for key, text in texts_of(rule).items()}
        expected = [{"exp_labels": {**labels, "severity": rule.severity}, "exp_annotations": texts}]
    return {
        "name": f"{rule.name} {example.text}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in example.series],
        "alert_rule_test": [
            {"eval_time": go_duration(example.at_ns), "alertname": rule.name, "exp_alerts": expected},
        ],
    }


def _filled(text: str, labels: dict[str, str], example: Example) -> str:
    """Return the text as Prometheus fills it in."""
    text = text.replace(_VALUE, f"{example.value:.4g}")
    now_ms = example.at_ns // 10**6
    text = text.replace(FROM, str(now_ms - 3_600_000)).replace(TO, str(now_ms))
    for name in (MODEL, VERSION, "job", "instance", "model"):
        text = text.replace(_QUOTED.format(name), quote(labels.get(name, ""), safe=""))
        text = text.replace(f"{{{{ $labels.{name} }}}}", labels.get(name, ""))
    return text.replace(_BRACES, "{{")
