"""Prometheus rule files, and the unit tests that promtool runs against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from collector_processor.generate.catalog import MODEL, VERSION
from collector_processor.generate.rules.rule import GROUPS, Example, Rule, go_duration, number

HEADER: Final = "# Written by otel-ml rules; change the configuration, not this file.\n"
_VALUE: Final = '{{ printf "%.4g" $value }}'
_BRACES: Final = '{{ "{{" }}'
"""Two braces, as a template."""


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
    return {**texts, **({"runbook_url": rule.runbook} if rule.runbook else {})}


def _summary(rule: Rule) -> str:
    """Return the subject and the problem."""
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
        texts = {key: _filled(text, labels, example.value) for key, text in texts_of(rule).items()}
        expected = [{"exp_labels": {**labels, "severity": rule.severity}, "exp_annotations": texts}]
    return {
        "name": f"{rule.name} {example.text}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in example.series],
        "alert_rule_test": [
            {"eval_time": go_duration(example.at_ns), "alertname": rule.name, "exp_alerts": expected},
        ],
    }


def _filled(text: str, labels: dict[str, str], value: float) -> str:
    """Return the text as Prometheus fills it in."""
    text = text.replace(_VALUE, f"{value:.4g}")
    for name in (MODEL, VERSION, "job", "instance"):
        text = text.replace(f"{{{{ $labels.{name} }}}}", labels.get(name, ""))
    return text.replace(_BRACES, "{{")
