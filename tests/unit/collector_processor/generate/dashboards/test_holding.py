"""Windows may be further apart than the five minutes that Prometheus looks back: panels wait for the next one."""

from __future__ import annotations

import pytest
import yaml

from collector_processor.config import parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards import boards
from support.promql import selectors

DAY_S = 86_400


@pytest.mark.parametrize(
    ("window", "held"),
    [
        ({}, 780),
        ({"size": "1h", "every": "1h"}, 11_400),
        ({"size": "5000 rows"}, 604_800),
        ({"size": "1h", "every": "1m", "allowed_lateness": "1m"}, 0),
    ],
)
def test_figures_hold_until_the_next_window_may_be_expected(window: dict[str, str], held: int) -> None:
    catalog = Catalog.of_registries()
    document = yaml.safe_load(DEFAULT)
    document["connectors"] = {"ml_monitor": {"window": window}}
    gauges = {item.name for item in catalog.of("derived") if item.kind == "gauge"}
    for board in boards(parse_config(yaml.safe_dump(document))):
        asked = [query.expr for _, panel in board.panels() for query in panel.queries]
        for expr in [*asked, *(mark.expr for mark in board.annotations)]:
            for asked in selectors(expr):
                if asked.metric in gauges and held:
                    assert asked.function == "last_over_time", expr
                    assert asked.range_s in (held, DAY_S), expr
                elif asked.metric in gauges:
                    assert asked.range_s in (0, DAY_S), expr
