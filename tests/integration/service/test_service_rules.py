"""The rules on the service fire on series that a real service exposes when things really go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from collector_processor.config import Config, parse_config
from collector_processor.generate.rules import Rule, rules_of
from collector_processor.own.memory import resident_bytes
from support.ports import free_port
from support.promtool import assert_firing
from support.servers import QuietHandler, serving

Make = Callable[..., Any]
pytestmark = pytest.mark.prometheus
INSTANCE = {"job": "otel-ml", "instance": "a:8888"}
QUIET_AT, FIRING_AT = "19m", "32m"
"""Before what the second scrape shows, which begins in minute 20, and after the longest hold time."""
ROWS = 200
DAY_NS = 86_400 * 10**9

Scrape = dict[str, float]
"""Value by series, as Prometheus stores it; ``up`` is what Prometheus adds."""


def scrape(running: Any, port: int) -> Scrape:
    """What Prometheus has after it asked the service for its own metrics."""
    try:
        samples = running.samples(port)
    except requests.ConnectionError:
        return {series("up", {}): 0.0}
    return {series("up", {}): 1.0} | {series(name, labels): value for name, labels, value in samples}


def series(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{value}"' for key, value in {**labels, **INSTANCE}.items())
    return f"{name}{{{pairs}}}"


def twice(before: Scrape, after: Scrape) -> dict[str, str]:
    """The first scrape for twenty minutes, then the second, in promtool's notation."""
    found: dict[str, str] = {}
    for name in {**before, **after}:
        first = f"{before[name]!r}x19" if name in before else "_x20"
        second = f"{after[name]!r}x40" if name in after else "_x41"
        found[name] = f"{first} {second}"
    return found


def config_of(changes: Mapping[str, Any], settings: Make, folder: Path) -> Config:
    return parse_config(yaml.safe_dump(settings(folder, changes)))


def service_rules(config: Config) -> list[Rule]:
    return [rule for rule in rules_of(config) if rule.group == "service"]


def check(folder: Path, rules: Sequence[Rule], series: Mapping[str, str], alerts: Mapping[str, Sequence[Any]]) -> None:
    """Expects these alerts of the service and no others once things went wrong, and none before."""
    expected: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for rule in rules:
        expected[rule.name, QUIET_AT] = []
        expected[rule.name, FIRING_AT] = [{**INSTANCE, **labels} for labels in alerts.get(rule.name, ())]
    assert alerts.keys() <= {rule.name for rule in rules}
    assert_firing(folder, rules, series, expected)


# --- everything goes wrong -----------------------------------------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that understands no request of ours."""

    with serving(QuietHandler) as server:
        yield server.server_port


def troubled(away: int, refusing: int) -> dict[str, Any]:
    """A service whose destinations are away or refuse, and whose journal, queue and label store are small."""
    unreachable = {"endpoint": f"http://127.0.0.1:{away}", "retry_on_failure": {"max_elapsed_time": "1h"}}
    return {
        "receivers": {"otlp": {"protocols": {"http": {"max_request_body_size": "64KiB"}}}},
        "connectors": {
            "ml_monitor": {
                "window": {"size": f"{ROWS} rows", "min_rows": 100},
                "reference": {"learn": 100},
                "labels": {"capacity": 100},
                "limits": {"journal": "1MiB"},
            }
        },
        "exporters": {
            "otlp_http/originals": unreachable,
            "otlp_http/away": {**unreachable, "sending_queue": {"queue_size": 1}},
            "otlp_http/refusing": {"endpoint": f"http://127.0.0.1:{refusing}"},
            "alertmanager": {"endpoint": f"http://127.0.0.1:{away}", "retry_on_failure": {"enabled": False}},
        },
        "extensions": {"file_storage": {"interval": "100ms"}},
        "alerts": {
            "defaults": False,
            "notify": ["alertmanager"],
            "rules": {"any_rows": {"measurement": "ml.window.rows", "above": 0}},
        },
        "service": {
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor", "otlp_http/originals"]},
                "metrics": {
                    "receivers": ["ml_monitor"],
                    "exporters": ["prometheus", "otlp_http/away", "otlp_http/refusing"],
                },
            }
        },
    }


def test_each_rule_fires_on_what_a_service_in_trouble_exposes(
    run: Make, otlp: Any, service_settings: Make, refusing: int, tmp_path: Path
) -> None:
    changes = troubled(free_port(), refusing)
    config = config_of(changes, service_settings, tmp_path)
    counted = 0

    def predictions(count: int) -> list[Any]:
        nonlocal counted
        counted += count
        return [
            otlp.prediction("m", {"ml.prediction.class": "yes", "ml.prediction.id": f"{number}"}, number)
            for number in range(counted - count, counted)
        ]

    with run(changes, size=f"{ROWS} rows") as running:
        assert running.send("http", "traces", otlp.request(predictions(1))).code == 0
        running.wait(lambda: running.counted("otel_ml_rows_total") == 1)
        before = scrape(running, running.own)

        # An error drops a cell: the feature is bytes.
        [wrong] = predictions(1)
        wrong.attributes.add(key="ml.feature.embedding", value=AnyValue(bytes_value=b"?"))
        assert running.send("http", "traces", otlp.request([wrong])).code == 0
        # A request is too large.
        assert running.send("http", "traces", b"\0" * 100_000).code != 0
        # No snapshot can be written any more.
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").write_text("in the way")
        # Windows close, one after another: measurements for destinations that do not take them, and an alert.
        for closed in range(1, 5):
            assert running.send("http", "traces", otlp.request(predictions(ROWS))).code == 0
            running.wait(lambda closed=closed: running.counted("otel_ml_windows_closed_total") >= closed)
        # More originals than the journal holds for the destination that is away.
        for _ in range(1600):
            assert running.send("http", "traces", otlp.request(predictions(1))).code == 0

        def all_counted() -> bool:
            return all(
                running.counted(name, **labels)
                for name, labels in (
                    ("otel_ml_dropped_total", {"reason": "unsupported_value"}),
                    ("otel_ml_dropped_total", {"reason": "destination_lagging"}),
                    ("otel_ml_evicted_total", {"reason": "capacity"}),
                    ("otel_ml_errors_total", {"stage": "snapshot"}),
                    ("otel_ml_notifications_total", {"outcome": "failed"}),
                    ("otelcol_exporter_send_failed_metric_points_total", {"exporter": "otlp_http/refusing"}),
                    ("otelcol_exporter_enqueue_failed_metric_points_total", {"exporter": "otlp_http/away"}),
                )
            )

        running.wait(all_counted)
        after = scrape(running, running.own)

    check(
        tmp_path,
        service_rules(config),
        twice(before, after),
        {
            "service_refuses": [{"receiver": "otlp", "transport": "http"}],
            "service_drops": [{"stage": "decode", "reason": "unsupported_value"}],
            "service_destination_lags": [{"stage": "journal", "reason": "destination_lagging"}],
            "service_send_failures": [
                {"exporter": name} for name in ("otlp_http/away", "otlp_http/originals", "otlp_http/refusing")
            ],
            "service_queue_full": [{"exporter": "otlp_http/away", "data_type": "measurements"}],
            "service_journal_lag": [{"consumer": "otlp_http/originals"}],
            "service_journal_full": [{}],
            "service_label_evictions": [{"store": "pending_predictions", "reason": "capacity"}],
            "service_errors": [{"stage": "snapshot"}],
            "service_snapshots_fail": [{"stage": "snapshot"}],
            "service_notifications_fail": [{"exporter": "alertmanager", "outcome": "failed"}],
        },
    )


# --- nothing goes wrong --------------------------------------------------------------------------------------


def test_what_policies_and_limits_drop_fires_nothing(
    run: Make, otlp: Any, service_settings: Make, tmp_path: Path
) -> None:
    changes = {
        "connectors": {"ml_monitor": {"limits": {"models": 1}, "window": {"size": "10m", "allowed_lateness": "1m"}}},
        "service": {"pipelines": {"logs": {"exporters": ["ml_monitor"]}}},
    }
    config = config_of(changes, service_settings, tmp_path)
    outputs = {"ml.prediction.class": "yes", "ml.feature.f": 1.0}
    with run(changes, size="10m") as running:
        first = [otlp.prediction("m", outputs, number) for number in range(100)]
        assert running.send("grpc", "traces", otlp.request(first)).code == 0
        running.wait(lambda: running.counted("otel_ml_rows_total") == 100)
        before = scrape(running, running.own)
        start_ns = first[0].start_time_unix_nano - DAY_NS
        late = [otlp.prediction("m", outputs, number, start_time_unix_nano=start_ns) for number in range(1000)]
        long = otlp.prediction("m", {**outputs, "ml.segment.s": "x" * 1000}, 1)
        other = otlp.prediction("beyond limits.models", outputs, 2)
        assert running.send("grpc", "traces", otlp.request([*late, long, other])).code == 0
        dropped = [("decode", "text_truncated"), ("models", "limit"), ("window", "late")]
        running.wait(
            lambda: all(
                running.counted("otel_ml_dropped_total", stage=stage, reason=reason) for stage, reason in dropped
            )
        )
        after = scrape(running, running.own)
    grown = {name for name in after if name.startswith("otel_ml_dropped_total") and after[name] > before.get(name, 0.0)}
    assert len(grown) == len(dropped), "nothing else was dropped"
    check(tmp_path, service_rules(config), twice(before, after), {})


def test_memory_near_its_limit_fires(run: Make, service_settings: Make, tmp_path: Path) -> None:
    resident = resident_bytes()
    assert resident is not None
    changes = {"connectors": {"ml_monitor": {"limits": {"memory": f"{int(resident / 0.99)}B"}}}}
    config = config_of(changes, service_settings, tmp_path)
    with run(changes) as running:
        now = scrape(running, running.own)
    memory = [rule for rule in service_rules(config) if rule.name == "service_memory"]
    series = {name: f"{value!r}x60" for name, value in now.items()}
    assert_firing(tmp_path, memory, series, {("service_memory", FIRING_AT): [INSTANCE]})


def test_a_service_that_is_gone_is_down(run: Make, service_settings: Make, tmp_path: Path) -> None:
    with run() as running:
        port = running.own
        before = scrape(running, port)
    after = scrape(running, port)
    assert after == {series("up", {}): 0.0}
    check(
        tmp_path, service_rules(config_of({}, service_settings, tmp_path)), twice(before, after), {"service_down": [{}]}
    )
