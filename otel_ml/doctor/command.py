"""The command: runs every check, prints what was found, and returns 1 if there is a problem."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Final, TextIO

from otel_ml.doctor.findings import Findings
from otel_ml.doctor.installed import check_instrumentors, check_packages
from otel_ml.doctor.reach import check_answer
from otel_ml.doctor.route import check_routes, check_variables
from otel_ml.doctor.trial import FEATURES, try_prediction

HELP: Final = "check the instrumentation of an application"
_RED, _YELLOW, _GREEN, _BOLD = "31", "33", "32", "1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Shows what is installed, which instrumentors load, where predictions go and whether that address answers, and"
        " what a prediction looks like when it leaves. Run it with the Python, the packages and the environment"
        " variables of the application. Exit code 1 if there is a problem."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--send", action="store_true", help="also send the test prediction, as model otel-ml-doctor")
    parser.add_argument("--features", metavar="JSON", help='features of the test prediction, such as {"age": 37}')
    parser.set_defaults(run=run)


def run(options: Any) -> int:
    """Check everything and print it. Raises ``ValueError`` for features that are not a JSON object."""
    features: Any = FEATURES
    if options.features is not None:
        features = json.loads(options.features)
        if not isinstance(features, dict):
            raise ValueError("--features is not a JSON object")
    findings = examine(features, send=options.send)
    if options.json:
        sys.stdout.write(json.dumps(findings.as_json(), indent=2) + "\n")
    else:
        _print(findings, sys.stdout)
    return 0 if findings.healthy else 1


def examine(features: Any, *, send: bool) -> Findings:
    """Return everything that can be known here."""
    findings = Findings()
    check_packages(findings)
    check_instrumentors(findings)
    on = check_variables(findings)
    for route in check_routes(findings):
        check_answer(findings, route)
    if on:
        try_prediction(findings, features, send=send)
    return findings


def _print(findings: Findings, out: TextIO) -> None:
    color = out.isatty() and "NO_COLOR" not in os.environ

    def styled(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if color else text

    for section, facts in findings.facts.items():
        out.write(styled(section, _BOLD) + "\n")
        width = max(map(len, facts))
        out.writelines(f"  {name:<{width}}  {value}\n" for name, value in facts.items())
    if findings.prediction:
        out.write(styled("what a prediction looks like when it leaves", _BOLD) + "\n")
        out.writelines(f"  {line}\n" for line in findings.prediction.splitlines())
    if not findings.problems:
        out.write(styled("no problem found", _GREEN) + "\n")
    for each in findings.problems:
        mark = styled("warning", _YELLOW) if each.warning else styled("problem", _RED)
        out.write(f"{mark}: {each.what}\n  → {each.remedy}\n")
