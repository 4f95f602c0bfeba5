"""``otel-ml alerts test``."""

from __future__ import annotations

import argparse
import time
import uuid

from rich.console import Console

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import AlertRule
from collector_processor.cli.main import Parser
from collector_processor.cli.options import config_option
from collector_processor.columns.batch import ModelKey
from collector_processor.config import load_config
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.build import Builder
from collector_processor.service.checks import check_setup
from otel_ml import semconv


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = "Check that alerts arrive."
    test = parser.add_command(
        "test",
        "send a test alert to every destination and show which ones accept it",
        "Send one alert, marked as a test, to every exporter in alerts.notify. Exit with 1 if any of them "
        "does not accept it.",
    )
    config_option(test, required=True)
    test.set_defaults(run=_test)


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
        able = ", ".join(kind for kind, component in EXPORTERS.components.items() if component.alerts is not None)
        raise ValueError(f"alerts.notify is empty: list the exporters to send alerts to; types that can: {able}")
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
