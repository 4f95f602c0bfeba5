"""Cause bars: parts that stand on each other beside the whole change, and what of them is beyond chance."""

from __future__ import annotations

import json
from typing import Any

from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards import boards
from collector_processor.generate.dashboards.causes import cause_panels
from collector_processor.generate.dashboards.grafana import to_json
from otel_ml import semconv


def panel(title: str) -> dict[str, Any]:
    document = json.loads(to_json(boards()[1]))
    [found] = [item for item in document["panels"] if item["title"] == title]
    return found


def test_parts_are_stacked_and_the_whole_change_is_a_line_beside_them() -> None:
    drawn = panel("Why the mean error changed")
    custom = drawn["fieldConfig"]["defaults"]["custom"]
    assert (drawn["type"], custom["drawStyle"], custom["stacking"]["mode"]) == ("timeseries", "bars", "normal")
    [line] = [item for item in drawn["fieldConfig"]["overrides"] if "whole" in item["matcher"]["options"]]
    overridden = {item["id"]: item["value"] for item in line["properties"]}
    assert overridden["custom.drawStyle"] == "line"
    assert overridden["custom.stacking"]["mode"] == "none"
    legends = [target["legendFormat"] for target in drawn["targets"]]
    assert [legend.startswith("whole ") for legend in legends] == [False, False, False, True]


def test_what_is_certain_of_a_part_uses_the_error_of_that_part() -> None:
    for target in panel("What is certain of it")["targets"]:
        [term] = [term for term in ("population", "concept", "unseen") if f'ml_cause_term="{term}"' in target["expr"]]
        assert target["expr"].count(f"ml_cause_{term}{{") == 2
        assert target["instant"]


def test_a_monitor_that_is_gone_takes_its_panels_with_it() -> None:
    everything = Catalog.of_registries()
    without_errors = Catalog(item for item in everything if item.metric != semconv.CAUSE_ERROR)
    panels, drawn = cause_panels(without_errors, ())
    assert [item.title for item in panels] == ["Features that explain it"]
    assert drawn == {semconv.CAUSE_FEATURE}
    assert cause_panels(Catalog(()), ()) == ((), frozenset())
