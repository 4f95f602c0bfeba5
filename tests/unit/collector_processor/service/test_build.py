"""Rules of what the settings become."""

from __future__ import annotations

import pytest

from collector_processor.config import parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.build import Builder


@pytest.mark.parametrize(
    ("window", "exporter", "seconds"),
    [
        ("", "", 780.0),
        ("window: { allowed_lateness: 1m }", "", 300.0),
        ("window: { size: 1h, every: 1h }", "", 3 * 3600.0 + 600.0),
        ("window: { size: 5000 rows }", "", 7 * 86_400.0),
        ("models: { slow: { window: { size: 1h, every: 30m } } }", "", 3 * 1800.0 + 600.0),
        ("window: { size: 1h, every: 1h }", "metric_expiration: 1m", 60.0),
    ],
)
def test_a_series_outlives_the_distance_of_windows_unless_told(window: str, exporter: str, seconds: float) -> None:
    text = DEFAULT.replace("ml_monitor:\n", f"ml_monitor: {{ {window} }}\n")
    config = parse_config(text.replace("prometheus:\n", f"prometheus: {{ {exporter} }}\n"))
    [found] = Builder(config, Telemetry(), "instance").exporters()
    assert isinstance(found, PrometheusExporter)
    assert found._expiration_s == seconds
