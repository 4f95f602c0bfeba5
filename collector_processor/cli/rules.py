"""``otel-ml rules``."""

from __future__ import annotations

import argparse
from pathlib import Path

from collector_processor.cli.main import Parser
from collector_processor.cli.options import config_of, config_option, report


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = "Write the alert rules of a configuration, and rules for the health of the service itself."
    config_option(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="file to write")
    parser.add_argument(
        "--format",
        choices=("prometheus", "grafana", "datadog"),
        default="prometheus",
        help="format of the file (default: prometheus)",
    )
    parser.add_argument(
        "--runbooks",
        default="",
        metavar="URL",
        help="URL that relative runbook paths start from, where the parent of docs/ is published",
    )
    parser.add_argument("--tests", type=Path, metavar="FILE", help="also write promtool unit tests (Prometheus only)")
    parser.set_defaults(run=_rules)


def _rules(options: argparse.Namespace) -> int:
    from collector_processor.generate.rules import rules_of, rules_text, unit_tests_text

    rules = rules_of(config_of(options), runbooks=options.runbooks)
    if options.tests is not None and options.format != "prometheus":
        raise ValueError("--tests: promtool can only test Prometheus rules; remove --format")
    options.out.write_text(rules_text(rules, options.format), encoding="utf-8")
    report(options.out, f"{len(rules)} rules")
    if options.tests is not None:
        options.tests.write_text(unit_tests_text(rules, options.out), encoding="utf-8")
        report(options.tests, "unit tests for each rule")
    return 0
