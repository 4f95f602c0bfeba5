"""``otel-ml validate``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from collector_processor.alerts.rules import AlertRule
from collector_processor.alerts.text import condition
from collector_processor.cli.main import Parser
from collector_processor.config import Config, load_config
from collector_processor.reference.profile import Reference
from collector_processor.service.checks import check_setup, exposures, load_references
from collector_processor.service.contradictions import contradictions
from collector_processor.service.unable import DROPS, unable


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = "Check a configuration and the files it refers to. Print its pipelines, references and alerts."
    parser.add_argument("file", type=Path, metavar="FILE", nargs="?", help="configuration file")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the same, as serve has it")
    parser.set_defaults(run=_validate, usage=parser.error)


def _validate(options: argparse.Namespace) -> int:
    if (options.file is None) == (options.config is None):
        options.usage("name one configuration file: otel-ml validate FILE")
    config = load_config(options.file or options.config)
    check_setup(config)
    references = load_references(config)
    out = Console(soft_wrap=True, highlight=False)
    out.print(f"{config.origin.name}: valid", style="green", markup=False)
    for signal, pipeline in config.pipelines.items():
        out.print(f"  {signal}: {', '.join(pipeline.receivers)} → {', '.join(pipeline.exporters)}", markup=False)
    for name, reference in references.items():
        rows = reference.pane.rows[1]
        out.print(f"  model '{name}': reference of {rows:,.0f} rows from {reference.source}", markup=False)
    for line in _alerts(config):
        out.print(f"  {line}", markup=False)
    for line in _unable(config, references):
        out.print(f"  {line}", style="yellow", markup=False)
    for path in config.unused:
        out.print(f"  {path}: configured but not used", style="yellow", markup=False)
    for notice in (*contradictions(config, references), *exposures(config)):
        out.print(f"  {notice}", style="yellow", markup=False)
    return 0


def _alerts(config: Config) -> Iterator[str]:
    """Return a line for each enabled rule and each silence, headed by where alerts go."""
    rules = config.alerts.resolved()
    if not rules:
        yield "alerts: no rules"
        return
    destinations = ", ".join(config.alerts.notify)
    yield f"alerts: {len(rules)} rules, " + (f"sent to {destinations}" if destinations else _NOWHERE)
    for rule in rules:
        yield f"  {rule.name} ({rule.severity}): {condition(rule)}{_guards(rule)}"
    for silence in config.alerts.silences:
        until = "indefinitely" if silence.until is None else f"until {silence.until.isoformat()}"
        where = ", ".join(f"{key}={'|'.join(values)}" for key, values in silence.where.items()) or "everything"
        yield f"  silence {until}: {where}{f' ({silence.comment})' if silence.comment else ''}"


def _unable(config: Config, references: Mapping[str, Reference]) -> Iterator[str]:
    """Return a line for each rule that cannot fire for a model, or only after something has happened."""
    for name in dict.fromkeys((*config.monitor.models, *references)):
        for rule in config.alerts.resolved():
            reason = unable(rule, name, config.monitor, references.get(name))
            if reason:
                yield f"rule {rule.name} cannot fire for model '{name}': {reason}"
    learned = [rule.name for rule in config.alerts.resolved() if rule.measurement in DROPS]
    if learned and not (references and references.keys() >= config.monitor.models.keys()):
        labels = config.monitor.reference.labels
        when = f"for a model without a reference file, fires only after its first {labels} labels"
        yield f"rule {', '.join(learned)}: {when}"


_NOWHERE = "only logged; to send them, list exporters in alerts.notify"


def _guards(rule: AlertRule) -> str:
    where = [f"{key}={'|'.join(values) or '(none)'}" for key, values in rule.where if values != ("",)]
    parts = [*where, *([f"at least {rule.min_rows} rows"] if rule.min_rows else [])]
    return f"; {', '.join(parts)}" if parts else ""
