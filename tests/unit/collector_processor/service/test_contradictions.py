"""Valid settings with which a figure or an alert can never come are named, and none of those that work."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from collector_processor.config.load import DEFAULT, Config, parse_config
from collector_processor.service.contradictions import contradictions


def merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    both = {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
    return {key: value for key, value in both.items() if value is not None or key not in changes or key == "debug"}


def config(changes: dict[str, Any]) -> Config:
    return parse_config(yaml.safe_dump(merged(yaml.safe_load(DEFAULT), changes)))


def monitor(**settings: Any) -> dict[str, Any]:
    return {"connectors": {"ml_monitor": settings}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (monitor(window={"size": "200 rows"}), "connectors.ml_monitor.window: min_rows is 500, but a window has only"),
        (monitor(window={"size": "40 rows", "min_rows": 40}), "min_labels is 50, but a window has only 40 rows"),
        (
            monitor(models={"m": {"window": {"size": "99 rows"}}}),
            "connectors.ml_monitor.models.m.window: min_rows is 500, but a window has only 99 rows",
        ),
        (
            monitor(window={"size": "600 rows"}, missing_shift={"enabled": True, "min_cells": 601}),
            "missing_shift.min_cells is 601; a window has only 600 rows",
        ),
        (monitor(labels={"wait": "0"}), "labels.wait: 0 means that no label is joined"),
        (
            {"exporters": {"prometheus": {"metric_expiration": "5m"}}, **monitor(window={"size": "1h", "every": "1h"})},
            "exporters.prometheus: a figure expires after 300 s, but a window of connectors.ml_monitor.window closes",
        ),
        (
            {"alerts": {"rules": {"r": {"measurement": "ml.drift.share", "above": 1}}}},
            "alerts.rules.r.above: ml.drift.share is from 0 to 1, so it is never above 1",
        ),
        (
            {"alerts": {"rules": {"r": {"measurement": "ml.labels.coverage", "below": 0}}}},
            "alerts.rules.r.below: ml.labels.coverage is from 0 to 1, so it is never below 0",
        ),
        (
            {
                "alerts": {"rules": {"r": {"measurement": "ml.quality.missing", "above": 0.1, "min_rows": 2001}}},
                **monitor(window={"size": "2000 rows"}),
            },
            "alerts.rules.r.min_rows: 2001, but a window has at most 2000 rows",
        ),
        (
            {
                "service": {"pipelines": {"traces": {"exporters": ["otlp_http"]}, "logs": None}},
                "exporters": {"otlp_http": {"endpoint": "http://localhost:9"}},
            },
            "no traces, logs or metrics pipeline sends to ml_monitor",
        ),
        ({"service": {"pipelines": {"metrics": None}}}, "no metrics pipeline takes the measurements of ml_monitor"),
    ],
)
def test_what_can_never_come_is_said(changes: dict[str, Any], said: str) -> None:
    found = list(contradictions(config(changes), {}))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        monitor(window={"size": "500 rows"}),
        monitor(window={"size": "1h", "min_rows": 100_000}),  # how many rows an hour has is not known
        {"exporters": {"prometheus": {"metric_expiration": "5m"}}},
        {"alerts": {"rules": {"r": {"measurement": "ml.drift.share", "above": 0.99}}}},
        {"alerts": {"rules": {"r": {"measurement": "ml.performance.r2", "below": 0.0}}}},
    ],
)
def test_what_can_come_is_not(changes: dict[str, Any]) -> None:
    assert list(contradictions(config(changes), {})) == []
