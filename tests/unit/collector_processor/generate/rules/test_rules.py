"""One set of rules in three languages: names exist, thresholds are the configuration's, and promtool agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector_processor.cli import main as cli
from collector_processor.config import Config, default_config, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.rules import Rule, rules_of, rules_text, unit_tests_text
from collector_processor.generate.rules.prometheus import expression
from support.promql import assert_names_exist, metrics_named

ROOT = Path(__file__).parents[5]
BUILT = [str(path) for path in (ROOT / ".tools" / "bin").glob("promtool*")]
TOOLS = {path for path in (shutil.which("promtool"), *BUILT) if path}
MINE = """
alerts:
  links:
    board: "https://grafana.example/d/x?var-model={model}&var-version={version}&from={from}&to={to}"
    traces: "https://tempo.example/search?q={model}"
  rules:
    feature_drift: { above: 0.4, clear: 0.25, for: 30m, min_rows: 300 }
    latency: { enabled: false }
    premium_accuracy:
      measurement: ml.performance.accuracy
      where: { ml.model.name: flight-delay, ml.segment.name: tier, ml.segment.value: [gold, 'sil"ver\\\\|'] }
      below: 0.8
      clear: 0.82
      for: 10m
      min_rows: 500
      severity: critical
      summary: "premium customers' accuracy {{ 100 }}%"
      runbook: https://runbooks.example/premium
    named_silence:
      measurement: ml.drift.share
      where: { ml.model.name: [flight-delay, "na\\"me"] }
      absent_for: 90m
    a-name_that_is_longer-than_the_forty_characters_of_an_identifier:
      measurement: ml.drift.score
      where: { ml.drift.method: [psi, js], ml.model.version: "" }
      above: 1e-9
connectors:
  ml_monitor:
    limits: { memory: 1GiB, journal: 10MiB }
"""


@pytest.fixture(scope="module")
def mine() -> Config:
    return parse_config(yaml.safe_dump({**yaml.safe_load(DEFAULT), **yaml.safe_load(MINE)}))


@pytest.fixture(scope="module", params=["default", "mine"])
def rules(request: pytest.FixtureRequest, mine: Config) -> tuple[Rule, ...]:
    return rules_of(default_config() if request.param == "default" else mine, runbooks="https://docs.example/otel-ml")


def prometheus_rules(rules: tuple[Rule, ...]) -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(rules_text(rules))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def grafana_rules(rules: tuple[Rule, ...]) -> dict[str, dict[str, Any]]:
    pytest.importorskip("grafana_foundation_sdk")  # it needs Python 3.11
    groups = yaml.safe_load(rules_text(rules, "grafana"))["groups"]
    return {rule["title"]: rule for group in groups for rule in group["rules"]}


def datadog_rules(rules: tuple[Rule, ...]) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in json.loads(rules_text(rules, "datadog"))}


# --- what is in the set --------------------------------------------------------------------------------------


def test_every_enabled_rule_of_the_configuration_is_there_and_no_other(mine: Config) -> None:
    names = [rule.name for rule in rules_of(mine) if rule.group == "models"]
    assert names == [rule.name for rule in mine.alerts.resolved()]
    assert "latency" not in names
    assert "premium_accuracy" in names


def test_the_services_health_is_watched_whatever_the_alerts_are(mine: Config) -> None:
    health = {rule.name for rule in rules_of(default_config()) if rule.group == "service"}
    assert health == {
        "service_down", "service_refuses", "service_drops", "service_send_failures", "service_queue_full",
        "service_journal_lag", "service_journal_full", "service_label_evictions", "service_errors",
        "service_snapshots_fail", "service_destination_lags", "service_notifications_fail", "service_figures_stale",
    }  # fmt: skip
    assert {rule.name for rule in rules_of(mine) if rule.group == "service"} == health | {"service_memory"}


@pytest.mark.parametrize(
    ("monitor", "chosen"),
    [
        ({}, ""),
        ({"window": {"size": "100 rows"}}, None),
        ({"models": {"a.b": {"window": {"size": "100 rows"}}}}, r'{model!~"(a\\.b)(@.*)?"}'),
        ({"window": {"size": "100 rows"}, "models": {"a": {"window": {"size": "1h"}}}}, '{model=~"(a)(@.*)?"}'),
    ],
)
def test_figures_are_stale_only_where_the_time_of_a_window_is_known(monitor: Any, chosen: str | None) -> None:
    document = {**yaml.safe_load(DEFAULT), "connectors": {"ml_monitor": monitor}}
    stale = [rule for rule in rules_of(parse_config(yaml.safe_dump(document))) if rule.name == "service_figures_stale"]
    assert len(stale) == (chosen is not None)
    for rule in stale:
        assert f"otel_ml_newest_window_timestamp_seconds{chosen})" in rule.value


def test_limits_of_the_configuration_are_the_thresholds_of_memory_and_journal(mine: Config) -> None:
    found = {rule.name: rule.threshold for rule in rules_of(mine)}
    assert found["service_memory"] == pytest.approx(0.9 * 2**30)
    assert found["service_journal_full"] == pytest.approx(0.8 * 10 * 2**20)


def test_a_rule_may_not_name_a_metric_that_does_not_exist(mine: Config) -> None:
    with pytest.raises(KeyError):
        rules_of(mine, catalog=Catalog([]))


def test_every_name_in_every_expression_exists(rules: tuple[Rule, ...]) -> None:
    catalog = Catalog.of_registries()
    for rule in rules:
        assert_names_exist(catalog, expression(rule))
        assert metrics_named(catalog, rule.value), rule.name


def test_a_rule_of_the_users_may_not_have_the_name_of_one_on_the_service() -> None:
    document = yaml.safe_load(DEFAULT)
    document["alerts"] = {"rules": {"service_down": {"measurement": "ml.drift.share", "above": 0.1}}}
    with pytest.raises(ValueError, match=r"alerts\.rules\.service_down: a rule for the service has this name"):
        rules_of(parse_config(yaml.safe_dump(document)))


def test_a_model_is_remembered_for_longer_than_it_may_be_silent() -> None:
    document = yaml.safe_load(DEFAULT)
    document["alerts"] = {"defaults": False, "rules": {"silence": {"absent_for": "26h"}}}
    [rule, *_] = rules_of(parse_config(yaml.safe_dump(document)))
    assert "[52h]" in rule.value
    assert "[26h]" in rule.value
    assert "[1d]" in next(rule.value for rule in rules_of(default_config()) if rule.name == "silence")


def test_without_alerts_the_service_is_still_watched() -> None:
    document = {**yaml.safe_load(DEFAULT), "alerts": {"defaults": False}}
    rules = rules_of(parse_config(yaml.safe_dump(document)))
    assert {rule.group for rule in rules} == {"service"}
    assert [group["name"] for group in yaml.safe_load(rules_text(rules))["groups"]] == ["otel-ml service"]
    assert len(json.loads(rules_text(rules, "datadog"))) == len(rules)


# --- one set in three languages ------------------------------------------------------------------------------


def test_the_same_rules_are_written_in_all_three(rules: tuple[Rule, ...]) -> None:
    names = [rule.name for rule in rules]
    assert list(prometheus_rules(rules)) == list(grafana_rules(rules)) == list(datadog_rules(rules)) == names


def test_thresholds_and_severities_are_the_same_in_all_three(rules: tuple[Rule, ...]) -> None:
    prometheus, grafana, datadog = prometheus_rules(rules), grafana_rules(rules), datadog_rules(rules)
    for rule in rules:
        shown = re.escape(str(int(rule.threshold)) if rule.threshold.is_integer() else repr(rule.threshold))
        assert re.search(rf"\) {rule.comparison} {shown}( or |$)", prometheus[rule.name]["expr"])
        [condition] = grafana[rule.name]["data"][1]["model"]["conditions"]
        assert condition["evaluator"] == {"params": [rule.threshold], "type": "gt" if rule.comparison == ">" else "lt"}
        monitor = datadog[rule.name]
        assert monitor["options"]["thresholds"]["critical"] == rule.threshold
        comparison = "<=" if rule.absent_ns else rule.comparison
        assert re.search(rf" {comparison} {shown}$", monitor["query"])
        assert prometheus[rule.name]["labels"]["severity"] == grafana[rule.name]["labels"]["severity"] == rule.severity
        assert f"severity:{rule.severity}" in monitor["tags"]


def test_a_rule_ends_only_beyond_clear_in_all_three(mine: Config) -> None:
    rules = rules_of(mine)
    expr = prometheus_rules(rules)["premium_accuracy"]["expr"]
    assert 'ALERTS{alertname="premium_accuracy",alertstate="firing"}' in expr
    [condition] = grafana_rules(rules)["premium_accuracy"]["data"][1]["model"]["conditions"]
    assert condition["unloadEvaluator"] == {"params": [0.82], "type": "gt"}
    assert datadog_rules(rules)["premium_accuracy"]["options"]["thresholds"]["critical_recovery"] == 0.82
    assert "ALERTS" not in prometheus_rules(rules)["wrong_type"]["expr"]


def test_every_rule_says_what_it_means_and_where_to_read_on(rules: tuple[Rule, ...]) -> None:
    for rules_by_name in (prometheus_rules(rules), grafana_rules(rules)):
        for name, rule in rules_by_name.items():
            texts = rule["annotations"]
            assert texts["summary"], name
            assert texts["description"], name
            builtin = name in {known.name for known in rules_of(default_config())}
            assert (
                texts.get("runbook_url", "").startswith("https://docs.example/otel-ml/")
                or not builtin
                or name == "latency"
            )
    for name, monitor in datadog_rules(rules).items():
        assert monitor["type"] == "query alert"
        assert monitor["message"], name


def test_rules_have_the_links_of_the_configuration(mine: Config) -> None:
    """What Prometheus fills in is compared by promtool, below."""
    rules = rules_of(mine)
    prometheus, datadog = prometheus_rules(rules), datadog_rules(rules)
    drift, silence, down = (prometheus[name]["annotations"] for name in ("feature_drift", "silence", "service_down"))
    quoted = "{{ $labels.ml_model_%s | urlquery | reReplaceAll "
    assert drift["board_url"].startswith("https://grafana.example/d/x?var-model=" + quoted % "name")
    assert "&var-version=" + quoted % "version" in drift["board_url"]
    assert drift["traces_url"].startswith("https://tempo.example/search?q=" + quoted % "name")
    assert "&var-version=&" in silence["board_url"], "all versions of a model are silent together"
    assert "board_url" not in down
    grafana = grafana_rules(rules)["feature_drift"]["annotations"]
    assert grafana["board_url"].endswith("&from=now-1h&to=now")
    board = 'Board: https://grafana.example/d/x?var-model={{urlencode "ml.model.name.name"}}&var-version={{urlencode'
    assert board in datadog["feature_drift"]["message"]


def test_grafana_asks_the_data_source_that_the_provisioning_file_makes(rules: tuple[Rule, ...]) -> None:
    from collector_processor.generate.dashboards.write import SOURCES

    known = {source["uid"] for source in yaml.safe_load(SOURCES)["datasources"]}
    uids = set()
    for rule in grafana_rules(rules).values():
        first, second = rule["data"]
        assert first["datasourceUid"] in known
        assert second["datasourceUid"] == "__expr__"
        assert rule["condition"] == second["refId"] == "B"
        assert second["model"]["expression"] == first["refId"] == "A"
        assert re.fullmatch(r"[\w-]{1,40}", rule["uid"])
        uids.add(rule["uid"])
    assert len(uids) == len(rules)


def test_grafanas_rules_are_read_back_by_its_own_types(rules: tuple[Rule, ...]) -> None:
    alerting = pytest.importorskip("grafana_foundation_sdk.models.alerting")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder
    for rule in grafana_rules(rules).values():
        loaded = json.loads(
            json.dumps(alerting.Rule.from_json({**rule, "folderUID": "", "ruleGroup": ""}), cls=encoder)
        )
        for key in ("uid", "title", "condition", "for", "annotations", "labels", "noDataState", "execErrState"):
            assert loaded[key] == rule[key]
        assert [query["refId"] for query in loaded["data"]] == ["A", "B"]


DATADOG = re.compile(
    r"(?P<over>min|max|sum|avg)\(last_(?:1m|5m|10m|15m|30m|1h|2h|4h|1d)\):"
    r"(?P<value>.+) (?:>|<|<=) -?[\d.e-]+"
)
DATADOG_METRIC = re.compile(r"(?:min|max|sum|avg):([\w.]+)\{([^{}]*)\} by \{([\w.,]+)\}")


def test_datadog_queries_are_of_its_grammar_and_name_what_exists(rules: tuple[Rule, ...]) -> None:
    catalog = Catalog.of_registries()
    for name, monitor in datadog_rules(rules).items():
        found = DATADOG.fullmatch(monitor["query"])
        assert found, f"{name}: {monitor['query']}"
        metrics = DATADOG_METRIC.findall(found["value"])
        assert metrics, name
        for metric, scope, tags in metrics:
            assert metric in catalog, f"{name}: {metric}"
            assert scope == "*" or re.fullmatch(r"[\w.:!*()\-/ ]+", scope), scope
            assert tags
        rest = DATADOG_METRIC.sub("", found["value"])
        assert re.fullmatch(r"(?:default_zero|cutoff_min|\.as_count\(\)|[-+*/(), \d])*", rest), f"{name}: {rest}"


def test_silence_is_told_by_missing_data_in_datadog(rules: tuple[Rule, ...]) -> None:
    found = datadog_rules(rules)
    assert found["silence"]["options"]["on_missing_data"] == "show_and_notify_no_data"
    assert found["feature_change"]["options"]["on_missing_data"] == "default"


# --- promtool ------------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(TOOLS) or [""])
def promtool(request: pytest.FixtureRequest) -> str:
    if not request.param:
        pytest.skip("promtool is not installed: apt-get install --no-install-recommends prometheus")
    return str(request.param)


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.prometheus
def test_promtool_accepts_the_rules_and_each_fires_and_stays_quiet(
    promtool: str, rules: tuple[Rule, ...], tmp_path: Path
) -> None:
    (tmp_path / "rules.yml").write_text(rules_text(rules), encoding="utf-8")
    (tmp_path / "tests.yml").write_text(unit_tests_text(rules, tmp_path / "rules.yml"), encoding="utf-8")
    checked = run(promtool, "check", "rules", "rules.yml", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
    tested = run(promtool, "test", "rules", "tests.yml", folder=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.prometheus
def test_a_threshold_that_is_not_the_rules_own_is_found_by_its_tests(promtool: str, tmp_path: Path) -> None:
    rules = [rule for rule in rules_of(default_config()) if rule.name == "error_rate"]
    (tmp_path / "rules.yml").write_text(rules_text(rules).replace("> 0.1", "> 0.6"), encoding="utf-8")
    (tmp_path / "tests.yml").write_text(unit_tests_text(rules, tmp_path / "rules.yml"), encoding="utf-8")
    tested = run(promtool, "test", "rules", "tests.yml", folder=tmp_path)
    assert tested.returncode != 0
    assert "error_rate" in tested.stdout + tested.stderr


def test_every_rule_has_examples_that_fire_and_that_do_not(rules: tuple[Rule, ...]) -> None:
    for rule in rules:
        assert any(example.labels is not None for example in rule.examples), rule.name
        assert any(example.labels is None for example in rule.examples), rule.name


# --- the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["prometheus", "grafana", "datadog"])
def test_the_command_writes_each_format_the_same_twice(form: str, tmp_path: Path) -> None:
    if form == "grafana":
        pytest.importorskip("grafana_foundation_sdk")  # it needs Python 3.11
    config, out = tmp_path / "otel-ml.yaml", tmp_path / "rules"
    config.write_text(DEFAULT, encoding="utf-8")
    found: set[str] = set()
    for _ in range(2):
        assert cli.main(["rules", "--config", str(config), "--out", str(out), "--format", form]) == 0
        found.add(out.read_text(encoding="utf-8"))
    assert len(found) == 1


def test_the_command_refuses_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "rules.yml")
    assert cli.main(["rules", "--out", out, "--format", "datadog", "--tests", out]) == 2
    assert "promtool can only test Prometheus rules" in capsys.readouterr().err
    assert cli.main(["rules", "--out", str(tmp_path / "no" / "folder" / "rules.yml")]) == 1
    assert "No such file" in capsys.readouterr().err
