"""The commands that write files for other systems: ``otel-ml dashboards`` and ``otel-ml rules``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from collector_processor.config import Config, default_config, load_config

Run = Callable[[argparse.Namespace], int]


def add_commands(commands: Any) -> None:
    """Add both commands to the parser of ``otel-ml``; their dependencies are imported only when they run."""
    dashboards = commands.add_parser(
        "dashboards",
        help="write Grafana dashboards",
        description="Write a JSON file for each Grafana dashboard, and the files that provision them.",
    )
    dashboards.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder to write to")
    _config_option(dashboards)
    dashboards.add_argument(
        "--traces",
        choices=("jaeger", "tempo"),
        default="jaeger",
        help="kind of data source that trace links open (default: jaeger)",
    )
    dashboards.set_defaults(run=_dashboards)

    rules = commands.add_parser(
        "rules",
        help="write alert rules for Prometheus, Grafana or Datadog",
        description="Write the alert rules of a configuration, and rules for the health of the service itself.",
    )
    _config_option(rules)
    rules.add_argument("--out", type=Path, metavar="FILE", required=True, help="file to write")
    rules.add_argument(
        "--format",
        choices=("prometheus", "grafana", "datadog"),
        default="prometheus",
        help="format of the file (default: prometheus)",
    )
    rules.add_argument(
        "--runbooks",
        default="",
        metavar="URL",
        help="URL that relative runbook paths start from, where docs/ is published",
    )
    rules.add_argument("--tests", type=Path, metavar="FILE", help="also write promtool unit tests (Prometheus only)")
    rules.set_defaults(run=_rules)


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: built-in)")


def _config(options: argparse.Namespace) -> Config:
    return default_config() if options.config is None else load_config(options.config)


def _report(path: Path, text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"{path}: {text}", style="green", markup=False)


def _dashboards(options: argparse.Namespace) -> int:
    from collector_processor.generate.dashboards import write_dashboards

    for path in write_dashboards(options.out, _config(options), traces=options.traces):
        _report(path, "written")
    return 0


def _rules(options: argparse.Namespace) -> int:
    from collector_processor.generate.rules import rules_of, rules_text, unit_tests_text

    rules = rules_of(_config(options), runbooks=options.runbooks)
    if options.tests is not None and options.format != "prometheus":
        raise ValueError("--tests: promtool can only test Prometheus rules; remove --format")
    options.out.write_text(rules_text(rules, options.format), encoding="utf-8")
    _report(options.out, f"{len(rules)} rules")
    if options.tests is not None:
        options.tests.write_text(unit_tests_text(rules, options.out), encoding="utf-8")
        _report(options.tests, "unit tests for each rule")
    return 0
