"""Windows may be further apart than the five minutes that Prometheus looks back: panels wait for the next one."""

from __future__ import annotations

import re

import pytest
import yaml

from collector_processor.config import parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate.catalogue import Catalogue
from collector_processor.generate.dashboards import boards

NAME = re.compile(r"\bml_[a-z0-9_]+")


@pytest.mark.parametrize(
    ("window", "held"),
    [
        ({}, "[780s]"),
        ({"size": "1h", "every": "1h"}, "[11400s]"),
        ({"size": "5000 rows"}, "[604800s]"),
        ({"size": "1h", "every": "1m", "allowed_lateness": "1m"}, ""),
    ],
)
def test_figures_hold_until_the_next_window_may_be_expected(window: dict[str, str], held: str) -> None:
    catalogue = Catalogue.of_registries()
    document = yaml.safe_load(DEFAULT)
    document["connectors"] = {"ml_monitor": {"window": window}}
    gauges = {item.name for item in catalogue.of("derived") if item.kind == "gauge"}
    for board in boards(parse_config(yaml.safe_dump(document))):
        asked = [query.expr for _, panel in board.panels() for query in panel.queries]
        for expr in [*asked, *(mark.expr for mark in board.annotations)]:
            bare = re.sub(r'"[^"]*"', '""', expr)
            for name in set(NAME.findall(bare)) & gauges:
                found = re.findall(rf"(last_over_time\()?\b{name}(?:{{[^{{}}]*}})?(\[\w+\])?", bare)
                assert all(before and time in (held, "[1d]") for before, time in found) or not held, expr
                assert not any(time and time != "[1d]" for _, time in found) or held, expr


@pytest.mark.parametrize(
    ("expr", "held"),
    [
        ("ml_window_rows", "last_over_time(ml_window_rows[9m])"),
        ('ml_window_rows{a="}"} > 0', 'last_over_time(ml_window_rows{a="}"}[9m]) > 0'),
        ('ml_window_rows{a="ml_drift_score"}[1h]', 'ml_window_rows{a="ml_drift_score"}[1h]'),
        ("ml_window_rows{} offset 5m", "ml_window_rows{} offset 5m"),
        ("rate(ml_predictions_total[5m])", "rate(ml_predictions_total[5m])"),
        ("max by (ml_model_name) (ml_drift_score)", "max by (ml_model_name) (last_over_time(ml_drift_score[9m]))"),
        ("my_ml_window_rows or ml_window_rows_2", "my_ml_window_rows or ml_window_rows_2"),
    ],
)
def test_only_gauges_of_windows_that_have_no_range_are_held(expr: str, held: str) -> None:
    catalogue = Catalogue.of_registries()
    assert catalogue.held(expr, "9m") == held
    assert catalogue.held(expr, "") == expr
