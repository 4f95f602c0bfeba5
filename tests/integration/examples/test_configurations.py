"""The configurations that are shipped: ours are accepted, the Collector's holds together and fits ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector_processor.cli import main as cli
from collector_processor.config import load_config

ROOT = Path(__file__).parents[3]
OURS = sorted((ROOT / "examples").glob("*.yaml"))
BETWEEN = ROOT / "examples" / "collector-in-front-and-behind.yaml"
KNOWN_TYPES = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "batch"},
    "exporters": {"otlp_grpc", "otlp_http"},
}
"""Component types that the file uses; every distribution of the Collector has them."""


@pytest.fixture(scope="module")
def collector() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "otel-collector.yaml").read_text(encoding="utf-8"))


def used(collector: dict[str, Any], section: str) -> Iterator[str]:
    for pipeline in collector["service"]["pipelines"].values():
        yield from pipeline.get(section, ())


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.stem)
def test_our_files_are_accepted_and_use_all_that_they_configure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", "--config", str(file)]) == 0
    told = capsys.readouterr().out
    assert f"{file}: valid" in told
    assert "not used" not in told


@pytest.mark.parametrize("section", KNOWN_TYPES)
def test_pipelines_of_the_collector_refer_to_what_is_configured_and_to_all_of_it(
    collector: dict[str, Any], section: str
) -> None:
    assert set(used(collector, section)) == set(collector[section])
    assert {name.partition("/")[0] for name in collector[section]} == KNOWN_TYPES[section]


def test_every_pipeline_of_the_collector_has_both_ends_and_limits_memory_first(collector: dict[str, Any]) -> None:
    for name, pipeline in collector["service"]["pipelines"].items():
        assert name.partition("/")[0] in ("traces", "logs", "metrics")
        assert pipeline["receivers"], name
        assert pipeline["exporters"], name
        assert pipeline["processors"][0] == "memory_limiter", name


def test_the_overlay_for_datadog_adds_it_wherever_something_leaves_and_takes_nothing_away(
    collector: dict[str, Any],
) -> None:
    overlay = yaml.safe_load((ROOT / "otel-collector-datadog.yaml").read_text(encoding="utf-8"))
    assert set(overlay["exporters"]) == {"datadog"}
    pipelines = collector["service"]["pipelines"]
    # Logs are labels: they go to otel-ml alone.
    assert set(overlay["service"]["pipelines"]) == set(pipelines) - {"logs"}
    for name, pipeline in overlay["service"]["pipelines"].items():
        assert pipeline == {"exporters": [*pipelines[name]["exporters"], "datadog"]}


def default(text: str) -> str:
    """The value that a ``${env:NAME:-default}`` has without the variable."""
    return text.rpartition(":-")[2].rstrip("}") if text.startswith("${env:") else text


def test_the_collector_s_file_and_ours_meet_at_the_same_addresses(collector: dict[str, Any]) -> None:
    ours = load_config(BETWEEN)
    grpc = ours.receivers["otlp"].protocols.grpc
    assert grpc is not None
    assert default(collector["exporters"]["otlp_grpc/ml"]["endpoint"]) == grpc.endpoint
    back = yaml.safe_load(BETWEEN.read_text(encoding="utf-8"))["exporters"]["otlp_grpc"]["endpoint"]
    assert collector["receivers"]["otlp/ml"]["protocols"]["grpc"]["endpoint"] == back


def test_predictions_and_labels_go_to_us_and_what_we_derive_does_not_come_back(collector: dict[str, Any]) -> None:
    pipelines = collector["service"]["pipelines"]
    assert {name for name, pipeline in pipelines.items() if "otlp_grpc/ml" in pipeline["exporters"]} == {
        "traces", "logs",
    }  # fmt: skip
    assert {name for name, pipeline in pipelines.items() if "otlp/ml" in pipeline["receivers"]} == {"metrics/ml"}


def test_they_listen_on_different_ports_of_one_machine(collector: dict[str, Any]) -> None:
    ours = load_config(BETWEEN)
    own = [protocol.endpoint for item in ours.receivers.values() if (protocol := item.protocols.grpc) is not None]
    own += [ours.extensions["health_check"].endpoint, ours.admin.endpoint]
    theirs = [
        settings["endpoint"] for item in collector["receivers"].values() for settings in item["protocols"].values()
    ]
    theirs += ["localhost:8888", "localhost:13133"]  # where a Collector has its own metrics and health
    assert not set(own) & set(theirs)
