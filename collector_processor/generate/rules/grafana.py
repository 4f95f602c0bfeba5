"""Writes the rules for Grafana's own alerting: a provisioning file, in Grafana's types."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any, Final, cast

import yaml
from grafana_foundation_sdk.builders import alerting as build
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import alerting, expr
from grafana_foundation_sdk.models import common as options

from collector_processor.generate.rules.prometheus import FROM, HEADER, TO, texts_of
from collector_processor.generate.rules.rule import GROUPS, Rule, go_duration

SOURCE: Final = "otel-ml-prometheus"
"""Identifier of the Prometheus data source that the provisioning file of the dashboards creates."""
_EXPRESSION: Final = "__expr__"
_TIMES: Final = {">": "gt", "<": "lt"}
_LOOK_BACK_S: Final = 600
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


def alert_rule(rule: Rule) -> dict[str, Any]:
    """Return one rule of the provisioning file."""
    value = prometheus.Dataquery().expr(rule.value).instant().ref_id("A")
    value = value.datasource(options.DataSourceRef("prometheus", SOURCE))
    times = alerting.RelativeTimeRange(_LOOK_BACK_S, 0)
    query = build.Query("A").datasource_uid(SOURCE).relative_time_range(times).model(value)
    condition = build.Query("B").datasource_uid(_EXPRESSION).relative_time_range(times).model(_Given(rule))
    built = (
        build.Rule(rule.name)
        .uid(_uid(rule.name))
        .condition("B")
        .queries([query, condition])
        .no_data_state("OK")
        .exec_err_state("Error")
        .for_val(go_duration(rule.hold_ns))
        .annotations({key: _templates(text) for key, text in texts_of(rule).items()})
        .labels({"severity": rule.severity})
        .build()
    )
    fields: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    if rule.keep_ns:
        fields["keepFiringFor"] = go_duration(rule.keep_ns)
    return {key: item for key, item in fields.items() if key not in ("folderUID", "ruleGroup", "orgID")}


def _uid(name: str) -> str:
    """Return an identifier that Grafana accepts: at most 40 letters, digits, ``-`` and ``_``."""
    plain = f"otel-ml-{name}"
    return plain if _UID.fullmatch(plain) else f"otel-ml-{zlib.crc32(name.encode()):08x}"


def _templates(text: str) -> str:
    """Return a text with Prometheus's templates in Grafana's form, where the value is that of the first query."""
    # Grafana's templates cannot ask for the time; its boards take these words for it.
    text = text.replace(FROM, "now-1h").replace(TO, "now")
    return text.replace("$value", "$values.A.Value")


class _Given:
    """Builds the condition: the value of the first query is beyond the threshold, with hysteresis if there is any."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def build(self) -> expr.TypeThreshold:
        """Return the expression in Grafana's type."""
        rule = self._rule
        beyond = expr.ExprTypeThresholdConditionsEvaluator([rule.threshold], cast("Any", _TIMES[rule.comparison]))
        given = expr.ExprTypeThresholdConditions(evaluator=beyond)
        if rule.clear != rule.threshold:
            back = {">": "lt", "<": "gt"}[rule.comparison]
            given.unload_evaluator = expr.ExprTypeThresholdConditionsUnloadEvaluator([rule.clear], cast("Any", back))
        return expr.TypeThreshold(
            expression="A", ref_id="B", conditions=[given],
            datasource=options.DataSourceRef(_EXPRESSION, _EXPRESSION),
        )  # fmt: skip


def rules_text(rules: Sequence[Rule]) -> str:
    """Return the provisioning file: one group for the models, one for the service."""
    groups = [
        {
            "orgId": 1,
            "name": title,
            "folder": "Machine learning",
            "interval": "1m",
            "rules": [alert_rule(rule) for rule in rules if rule.group == group],
        }
        for group, title in GROUPS.items()
        if any(rule.group == group for rule in rules)
    ]
    document = {"apiVersion": 1, "groups": groups}
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
