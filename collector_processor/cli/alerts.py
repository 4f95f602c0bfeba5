"""``otel-ml alerts test``, and the lines about alerts that ``otel-ml validate`` prints."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import AlertRule
from collector_processor.alerts.text import condition
from collector_processor.columns.batch import ModelKey
from collector_processor.config import Config, load_config
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.build import Builder
from collector_processor.service.checks import check_setup
from otel_ml import semconv


def add_alert_commands(commands: Any) -> None:
    """Add ``alerts`` to the command line."""
    parser = commands.add_parser("alerts", help="send a test alert")
    own = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    test = own.add_parser(
        "test",
        help="send a test alert to every destination and show which ones accept it",
        description="Send one alert, marked as a test, to every exporter in alerts.notify. Exit with 1 if any of them "
        "does not accept it.",
    )
    test.add_argument("--config", type=Path, metavar="FILE", required=True, help="configuration file")
    test.set_defaults(run=_test)


def describe_alerts(config: Config) -> Iterator[str]:
    """Return a line for each enabled rule and each silence, headed by where alerts go."""
    rules = config.alerts.resolved()
    destinations = ", ".join(config.alerts.notify)
    if not rules:
        yield "alerts: no rules"
        return
    yield f"alerts: {len(rules)} rules → {destinations or 'no destination; list exporters in alerts.notify'}"
    for rule in rules:
        yield f"  {rule.name} ({rule.severity}): {condition(rule)}{_guards(rule)}"
    for silence in config.alerts.silences:
        until = "indefinitely" if silence.until is None else f"until {silence.until.isoformat()}"
        where = ", ".join(f"{key}={'|'.join(values)}" for key, values in silence.where.items()) or "everything"
        yield f"  silence {until}: {where}{f' ({silence.comment})' if silence.comment else ''}"


def _guards(rule: AlertRule) -> str:
    where = [f"{key}={'|'.join(values) or '(none)'}" for key, values in rule.where if values != ("",)]
    parts = [*where, *([f"at least {rule.min_rows} rows"] if rule.min_rows else [])]
    return f"; {', '.join(parts)}" if parts else ""


def trial_notice(now_ns: int) -> Notice:
    """Return an alert that says it is a test; where alerts are kept, it ends after a minute."""
    rule = AlertRule(
        "otel_ml_test",
        semconv.WINDOW_ROWS,
        "above",
        severity="info",
        summary="test alert from otel-ml; nothing is wrong",
        description="Someone ran otel-ml alerts test.",
    )
    ends_ns = now_ns + 60 * 10**9
    return Notice(rule, ModelKey("test"), "firing", "test", now_ns, now_ns, now_ns, 0, (), ends_ns)


def _test(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    check_setup(config)
    out = Console(soft_wrap=True, highlight=False)
    names = list(dict.fromkeys(config.alerts.notify))
    if not names:
        raise ValueError("alerts.notify is empty: list at least one exporter to send the alert to")
    builder = Builder(config, Telemetry(), str(uuid.uuid4()))
    failed = 0
    for name in names:
        destination = builder.destination(name)
        try:
            problems = destination.probe(trial_notice(time.time_ns()))
        except OSError as error:
            problems = [str(error)]
        finally:
            destination.shutdown(1.0)
        failed += bool(problems)
        kind = EXPORTERS.type_of(name)
        shown_name = name if name == kind else f"{name} ({kind})"
        if not problems:
            out.print(f"{shown_name}: sent", style="green", markup=False)
        for problem in problems:
            out.print(f"{shown_name}: failed: {problem}", style="red", markup=False)
    return 1 if failed else 0
