"""Writes one set of alert rules for Prometheus, Grafana and Datadog: ``otel-ml rules --config FILE --out FILE``.

The set has the rules of the service's own notifier (:mod:`collector_processor.alerts`), and rules for the health of the
service itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

from collector_processor.config import Config
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.rules import datadog, prometheus
from collector_processor.generate.rules.models import model_rule
from collector_processor.generate.rules.prometheus import unit_tests_text
from collector_processor.generate.rules.rule import Rule
from collector_processor.generate.rules.service import service_rules
from collector_processor.generate.rules.stale import stale_rules
from collector_processor.own.install import install
from collector_processor.pipeline.pace import look_back

Format = Literal["prometheus", "grafana", "datadog"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def rules_of(config: Config, *, runbooks: str = "", catalog: Catalog | None = None) -> tuple[Rule, ...]:
    """Return every rule of a configuration: those of its ``alerts`` section, then those for the service itself.

    ``runbooks`` is a URL that relative runbook paths start from, so that links in alerts work. Raises ``ValueError``
    if a rule of the user has the name of a rule for the service.

    >>> from collector_processor.config import default_config
    >>> [rule.name for rule in rules_of(default_config())][:3]
    ['feature_change', 'prediction_change', 'performance_drop']
    """
    known = (catalog or Catalog.of_registries()).holding(look_back(config.monitor))
    published = runbooks or config.alerts.links.runbooks
    base = published.rstrip("/") + "/" if published else ""
    models = (
        model_rule(rule, known, rule.runbook if "://" in rule.runbook or not rule.runbook else base + rule.runbook)
        for rule in config.alerts.resolved()
        if rule.enabled
    )
    own = (*service_rules(config, known, base), *stale_rules(config, known, base))
    taken = {rule.name for rule in own}.intersection(rule.name for rule in config.alerts.resolved())
    if taken:
        raise ValueError(f"alerts.rules.{min(taken)}: a rule for the service has this name; choose another one")
    return (*models, *own)


def rules_text(rules: Sequence[Rule], form: Format = "prometheus") -> str:
    """Return the text of the file; ``OSError`` says how to install what ``grafana`` needs if it is missing."""
    if form == "datadog":
        return datadog.rules_text(rules)
    if form == "prometheus":
        return prometheus.rules_text(rules)
    try:
        from collector_processor.generate.rules import grafana
    except (ImportError, AttributeError) as error:
        what = f"rules for Grafana need grafana-foundation-sdk and Python 3.11 ({error})"
        raise OSError(f"{what}; install it with: {install('dashboards')}") from None
    return grafana.rules_text(rules)


__all__ = ["FORMATS", "Format", "Rule", "rules_of", "rules_text", "unit_tests_text"]
