"""Debian's promtool: which of our rules fire on given series."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from collector_processor.generate.rules import Rule, rules_text

Labels = Mapping[str, str]


def promtool_binary() -> str:
    """The path of promtool; without it the test is skipped."""
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed: apt-get install --no-install-recommends prometheus")
    return binary


def assert_firing(
    folder: Path,
    rules: Sequence[Rule],
    series: Mapping[str, str],
    firing: Mapping[tuple[str, str], Sequence[Labels]],
) -> None:
    """Asserts that exactly these alerts fire, by rule and time; labels without severity.

    ``series`` are in promtool's notation, one sample a minute.
    """
    binary = promtool_binary()
    severity = {rule.name: rule.severity for rule in rules}
    document = yaml.safe_load(rules_text(rules))
    for group in document["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (folder / "rules.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": name,
                "exp_alerts": [{"exp_labels": {**labels, "severity": severity[name]}} for labels in alerts],
            }
            for (name, at), alerts in firing.items()
        ],
    }
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "tests.yml").write_text(yaml.safe_dump(tests, width=10_000), encoding="utf-8")
    done = subprocess.run(
        [binary, "test", "rules", "tests.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
