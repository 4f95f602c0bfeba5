"""Several pipelines of one signal, as the Collector names them."""

from __future__ import annotations

import pytest

from collector_processor.config import ConfigError, parse_config
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.build import Builder, monitored

TEXT = """
receivers: {otlp: , otlp/2: {protocols: {grpc: {endpoint: "localhost:5317"}}}}
connectors: {ml_monitor: }
exporters:
  prometheus:
  otlp_http/a: {endpoint: "http://a:4318"}
  otlp_http/b: {endpoint: "http://b:4318"}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [ml_monitor, otlp_http/a]}
    traces/2: {receivers: [otlp], exporters: [otlp_http/a, otlp_http/b]}
    logs/only: {receivers: [otlp], exporters: [ml_monitor]}
    metrics/ml: {receivers: [ml_monitor], exporters: [prometheus, otlp_http/a]}
    metrics/ml2: {receivers: [ml_monitor], exporters: [prometheus]}
    metrics/originals: {receivers: [otlp], exporters: [otlp_http/b]}
"""


def test_the_pipelines_of_a_signal_add_up() -> None:
    config = parse_config(TEXT)
    assert list(config.pipelines) == [
        "traces",
        "traces/2",
        "logs/only",
        "metrics/ml",
        "metrics/ml2",
        "metrics/originals",
    ]
    assert monitored(config) == ["traces", "logs"]
    builder = Builder(config, Telemetry(), "id")
    assert [exporter.name for exporter in builder.exporters()] == ["prometheus", "otlp_http/a"]
    forwarders = builder.forwarders(MemoryJournal(Telemetry()))
    assert {name: vars(forwarder)["_signals"] for name, forwarder in forwarders.items()} == {
        "otlp_http/a": ("traces",),
        "otlp_http/b": ("traces", "metrics"),
    }


def test_the_connector_takes_metrics_too_in_a_pipeline_that_it_does_not_feed() -> None:
    text = TEXT.replace("exporters: [otlp_http/b]}\n", "exporters: [ml_monitor, otlp_http/b]}\n")
    config = parse_config(text)
    assert monitored(config) == ["traces", "logs", "metrics"]
    exporters = Builder(config, Telemetry(), "id").exporters()
    assert [exporter.name for exporter in exporters] == ["prometheus", "otlp_http/a"]
    with pytest.raises(ConfigError, match=r"service.pipelines.metrics/ml2: leads from 'ml_monitor' back into it"):
        parse_config(text.replace("exporters: [prometheus]}", "exporters: [ml_monitor, prometheus]}"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("traces/2: {receivers: [otlp]", "traces/2: {receivers: [otlp/2]",
         "service.pipelines.traces/2.receivers: must list the same receivers as service.pipelines.traces: otlp"),
        ("traces/2:", "traces/:", "service.pipelines.traces/: unknown key; allowed: traces, logs, metrics"),
        ("logs/only:", "spans/2:", "service.pipelines.spans/2: unknown key; allowed: traces, logs, metrics"),
        ("exporters: [otlp_http/b]", "exporters: [prometheus]",
         "service.pipelines.metrics/originals.exporters: 'prometheus' accepts only measurements"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(TEXT.replace(old, new))
    assert problem in str(raised.value)
