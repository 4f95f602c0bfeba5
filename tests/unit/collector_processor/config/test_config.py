"""Rules of the configuration: what is accepted, and in which words the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from collector_processor.config import ConfigError, default_config, load_config, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.exporters.otlp.settings import OtlpSettings
from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.pipeline.settings import ModelConfig
from collector_processor.settings.values import Extent, duration_ns, endpoint, size_bytes

CONTRACT = """
receivers:
  otlp:
    protocols:
      grpc: { endpoint: localhost:4317 }
      http: { endpoint: localhost:4318 }
connectors:
  ml_monitor:
    window: { size: 1h, every: 1m, allowed_lateness: 10m, min_rows: 500 }
    labels: { wait: 7d, capacity: 10000000 }
    models:
      flight-delay:
        reference: references/flight-delay.json
        task: binary_classification
        positive_class: delayed
        segments: [carrier]
exporters:
  otlp_grpc: { endpoint: localhost:4417, tls: { insecure: true }, headers: { api-key: s3cret } }
  prometheus: { endpoint: localhost:9464 }
extensions:
  health_check: { endpoint: localhost:13133 }
  file_storage: { directory: ./state }
service:
  extensions: [health_check, file_storage]
  pipelines:
    traces:  { receivers: [otlp], exporters: [ml_monitor, otlp_grpc] }
    logs:    { receivers: [otlp], exporters: [ml_monitor] }
    metrics: { receivers: [ml_monitor], exporters: [prometheus, otlp_grpc] }
"""
MINIMAL = """
receivers: {{ otlp: }}
connectors: {{ ml_monitor: {monitor} }}
exporters: {{ debug: }}
service:
  pipelines:
    traces:  {{ receivers: [otlp], exporters: [ml_monitor] }}
    metrics: {{ receivers: [ml_monitor], exporters: [debug] }}
"""


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(text)
    return str(refused.value)


def test_the_contract_example_is_accepted_as_it_stands() -> None:
    config = parse_config(CONTRACT)
    window = config.monitor.window
    assert (window.size, window.step, window.allowed_lateness) == (
        Extent(ns=3600 * 10**9), Extent(ns=60 * 10**9), 600 * 10**9,
    )  # fmt: skip
    assert config.monitor.labels.wait == 7 * 86400 * 10**9
    assert config.monitor.models["flight-delay"].segments == ("carrier",)
    assert config.pipelines["traces"].exporters == ("ml_monitor", "otlp_grpc")
    assert config.extensions["health_check"].endpoint == "localhost:13133"


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    file = tmp_path / "otel-ml.yaml"
    file.write_text(CONTRACT)
    config = load_config(file)
    assert config.monitor.models["flight-delay"].reference == tmp_path / "references/flight-delay.json"
    assert config.extensions["file_storage"].directory == tmp_path / "state"


def test_secrets_are_never_printed() -> None:
    assert "s3cret" not in repr(parse_config(CONTRACT))


def test_without_a_file_only_localhost_is_listened_on_and_nothing_is_sent() -> None:
    config = default_config()
    otlp = config.receivers["otlp"].protocols
    assert otlp.grpc is not None
    assert otlp.http is not None
    assert {otlp.grpc.endpoint, otlp.http.endpoint} == {"localhost:4317", "localhost:4318"}
    assert not any(isinstance(exporter, OtlpSettings) for exporter in config.exporters.values())


def test_former_exporter_types_and_named_ids_are_accepted() -> None:
    text = CONTRACT.replace("otlp_grpc", "otlp/backup")
    exporter = parse_config(text).exporters["otlp/backup"]
    assert isinstance(exporter, OtlpSettings)


def test_an_unused_component_is_not_started_but_told() -> None:
    config = parse_config(CONTRACT.replace("[prometheus, otlp_grpc]", "[otlp_grpc]"))
    assert "prometheus" not in config.exporters
    assert config.unused == ("exporters.prometheus",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min_rows: 500", "min_row: 500", "connectors.ml_monitor.window.min_row: unknown key; allowed: size, every"),
        ("size: 1h", "size: 1 hour", "connectors.ml_monitor.window.size: '1 hour' is neither a duration (1h) nor"),
        ("size: 1h", "size: 61s", "size must be a multiple of every"),
        ("size: 1h", "size: 5000 rows", "must both be durations or both be rows"),
        ("size: 1h", "size: 0s", "must be greater than 0"),
        ("lateness: 10m", "lateness: 10000d", "allowed_lateness may be at most 10000 times every"),
        ("wait: 7d", "wait: 7", "7 is not a duration; write a number with a unit"),
        ("wait: 7d", "wait: 99999w", "labels.wait: '99999w' is longer than a hundred years, 36500d"),
        ("wait: 7d", f"wait: {'9' * 400}s", "9' is longer than a hundred years"),
        ("capacity: 10000000", "capacity: -1", "connectors.ml_monitor.labels.capacity: must be greater"),
        ("task: binary_classification", "task: ranking", "models.flight-delay.task: must be 'binary_class"),
        ("endpoint: localhost:9464", "endpoint: 9464", "9464 is not an address; write host:port"),
        ("exporters:\n  otlp_grpc", "exporters:\n  kafka: {}\n  otlp_grpc", "exporters.kafka: unknown type 'kafka'"),
        ("exporters: [ml_monitor, otlp_grpc]", "exporters: [ml_monitor, jaeger]", "'jaeger' is not configured; "),
        ("exporters: [ml_monitor, otlp_grpc]", "exporters: [prometheus]", "accepts only measurements from ml_monitor"),
        ("receivers: [ml_monitor]", "receivers: []", "service.pipelines.metrics.receivers: must list at least one"),
        ("traces: ", "spans: ", "service.pipelines.spans: unknown key; allowed: traces, logs, metrics"),
        ("extensions: [health_check", "extensions: [pprof", "service.extensions: 'pprof' is not configured"),
        ("receivers:\n  otlp:", "recievers:\n  otlp:", "recievers: unknown key; allowed: receivers, connectors"),
        ("min_rows: 500 }", "min_rows: 500 }\n    window: {}", "duplicate key 'window'"),
        ("localhost:4417", "${env:OTEL_ML_NOT_SET_HERE}", "environment variable OTEL_ML_NOT_SET_HERE is not set"),
        ("tls: { insecure: true }", "tls: { insecure: true", "line"),
        ("endpoint: localhost:4417, ", "", "exporters.otlp_grpc.endpoint: required"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_path_and_the_choices(old: str, new: str, said: str) -> None:
    assert old in CONTRACT
    assert said in problems(CONTRACT.replace(old, new))


def test_all_mistakes_are_told_at_once() -> None:
    said = problems(CONTRACT.replace("min_rows", "min_row").replace("localhost:9464", "nowhere"))
    assert "window.min_row" in said
    assert "exporters.prometheus.endpoint" in said


@pytest.mark.parametrize("text", ["", "null", "[]", "42", "a: b: c", "\x00", "{" * 5000, "service: [1, 2]"])
def test_what_is_no_configuration_at_all_is_refused(text: str) -> None:
    assert "cannot be used" in problems(text)


def test_an_unknown_drift_method_lists_those_of_its_kind() -> None:
    said = problems(MINIMAL.format(monitor="{ drift: { numeric: [psi, kss], categorical: [ks] } }"))
    assert "drift.numeric: unknown method 'kss'; allowed: " in said
    assert "drift.categorical: unknown method 'ks'; allowed: " in said


def test_windows_by_rows_close_once_a_window_unless_told() -> None:
    window = parse_config(MINIMAL.format(monitor="{ window: { size: 5000 rows } }")).monitor.window
    assert window.step == Extent(rows=5000)


def test_missing_and_binary_files_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be used"):
        load_config(tmp_path / "nowhere.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid UTF-8"):
        load_config(binary)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("performance: { intervals: sometimes }", "performance.intervals: must be true, false or 'anytime'"),
        ("performance: { intervals: }", "performance.intervals: must be true, false or 'anytime'"),
        ("drift: { latency_objective: 0s }", "drift.latency_objective: must be at least 1us and less than 1000s"),
        ("drift: { latency_objective: 1h }", "drift.latency_objective: must be at least 1us and less than 1000s"),
    ],
)
def test_a_wrong_setting_of_a_monitor_has_one_line_in_our_words(section: str, said: str) -> None:
    found = problems(MINIMAL.format(monitor=f"{{ {section} }}"))
    assert said in found
    assert found.count("connectors.ml_monitor") == 1


@pytest.mark.parametrize("value", ["anytime", True, "false"])
def test_intervals_are_a_choice(value: object) -> None:
    monitor = f"{{ performance: {{ intervals: {value} }} }}"
    section = parse_config(MINIMAL.format(monitor=monitor)).monitor.section("performance", ModelConfig())
    assert isinstance(section, FurtherPerformanceSettings)
    assert section.intervals == {"false": False}.get(str(value), value)


@pytest.mark.parametrize("value", ["", "10", "m", "-5m", "1h 5m", None, True, 5.0])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_ns(value)


def test_sizes_and_addresses_are_checked() -> None:
    assert size_bytes("1.5KiB") == 1536
    for wrong in ("1 parsec", "-1", True, None):
        with pytest.raises(ValueError, match="is not a size"):
            size_bytes(wrong)
    assert endpoint("[::1]:4317") == "[::1]:4317"
    for address in ("localhost", "localhost:http", ":", "localhost:99999"):
        with pytest.raises(ValueError, match="is not an address"):
            endpoint(address)


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("alerts", {"notify": "alertmanager"}, "alerts.notify: expected a list, such as [a, b]"),
        ("alerts", ["latency"], "alerts: expected a mapping, such as {key: value}"),
        ("alerts", {"rules": {"latency": 0.2}}, "alerts.rules.latency: expected a mapping, such as {key: value}"),
        ("alerts", {"rules": {"latency": {"above": "1s"}}}, "alerts.rules.latency.above: expected a number"),
        ("alerts", {"rules": {"silence": {"absent_for": "1ms"}}}, "silence.absent_for: must be at least 1s"),
        ("alerts", {"silences": [{"until": "tomorrow"}]}, "expected a time such as 2026-12-01T00:00:00Z"),
        ("alerts", {"silences": [{"until": "2026-12-01T00:00:00"}]}, "a time needs a time zone: end it with Z"),
        ("connectors", {"ml_monitor": {"window": {"min_rows": "many"}}}, "min_rows: expected a whole number"),
        ("connectors", {"ml_monitor": {"models": ["fraud"]}}, "models: expected a mapping"),
        ("connectors", {"ml_monitor": {"drift": {"thresholds": {"psi": -1}}}}, "psi: must be a number above 0, not -1"),
        ("extensions", {"file_storage": {"directory": "x", "interval": "0"}}, "interval: must be at least 100ms"),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_file_and_not_of_python(
    section: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(yaml.safe_dump({**yaml.safe_load(DEFAULT), section: value}))
    assert said in str(error.value)
    assert "Input" not in str(error.value)


def test_a_name_that_holds_the_end_of_a_line_is_one_problem_on_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('alerts: {rules: {"x\\ny": {measurement: ml.drift.share, above: 1}}}', source="f", base=Path())
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + len(caught.value.problems)
    assert any("alerts.rules.x\\ny: " in line for line in lines)


@pytest.mark.parametrize(
    ("level", "read"),
    [("INFO", "info"), ("Debug", "debug"), ("WARN", "warning"), ("warn", "warning"), ("ERROR", "error")],
)
def test_names_of_log_levels_are_read_in_any_case(level: str, read: str) -> None:
    text = DEFAULT.replace("service:\n", f"service:\n  telemetry: {{logs: {{level: {level}}}}}\n")
    assert parse_config(text).log_level == read
