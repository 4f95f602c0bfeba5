"""Dashboards follow the registries: nothing is missing, nothing is named that does not exist."""

from __future__ import annotations

import builtins
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector_processor.cli import main as cli
from collector_processor.config import Config, default_config, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate import catalog as catalog_module
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards import boards, write_dashboards
from collector_processor.generate.dashboards.boards import alert_limits
from collector_processor.generate.dashboards.plan import (
    FLEET_UID,
    MODEL_UID,
    SERVICE_UID,
    Board,
    Bounds,
    Panel,
    panel_id,
)
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.monitors.attributes import MODEL_KEYS
from collector_processor.monitors.base import Measurement, Metric, OptIn
from collector_processor.own.install import install
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.profile import Reference
from collector_processor.window.closed import Window
from otel_ml import semconv
from support.promql import assert_names_exist, metrics_named

BOARDS = boards()
EACH_BOARD = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
BUILT_IN = {"__rate_interval", "__field", "__data", "__url_time_range", "__from", "__to", "__all"}


class NewMonitor:
    """Gives metrics of a family that no dashboard knows."""

    name = "fairness"
    metrics = (
        Metric("ml.fairness.parity", "1", "difference of selection rates", (*MODEL_KEYS, "ml.segment.name")),
        Metric("ml.performance.kappa", "1", "agreement beyond chance", (*MODEL_KEYS, "ml.performance.source")),
        Metric("ml.fairness.checked", "{check}", "checks made", MODEL_KEYS, "counter"),
    )

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        return []


def expressions(board: Board) -> Iterator[tuple[str, str]]:
    for row, panel in board.panels():
        for query in panel.queries:
            yield f"{row.title} / {panel.title}", query.expr
    for variable in board.variables:
        if variable.query:
            yield variable.name, variable.query
    for annotation in board.annotations:
        yield annotation.name, annotation.expr


def row_of(board: Board, metric: str, catalog: Catalog) -> list[tuple[str, Panel]]:
    return [
        (row.title, panel)
        for row, panel in board.panels()
        if any(metric in metrics_named(catalog, query.expr) for query in panel.queries)
    ]


# --- the registries ------------------------------------------------------------------------------------------


@EACH_BOARD
def test_no_expression_names_what_does_not_exist(board: Board) -> None:
    catalog = Catalog.of_registries()
    for _, expr in expressions(board):
        assert_names_exist(catalog, expr)


def with_every_monitor() -> Config:
    """The built-in configuration with each monitor that is off by default switched on."""
    document = yaml.safe_load(DEFAULT)
    document["connectors"]["ml_monitor"] = {
        name: {"enabled": True}
        for kind in MONITOR_TYPES
        for name, settings in kind.sections.items()
        if issubclass(settings, OptIn)
    }
    return parse_config(yaml.safe_dump(document))


def test_every_metric_of_every_registry_is_on_a_panel() -> None:
    catalog = Catalog.of_registries()
    _, model, service = boards(with_every_monitor())
    by_origin = {"derived": model, "emitted": model, "beside": model, "own": service}
    for series in catalog:
        assert row_of(by_origin[series.origin], series.metric, catalog), series.metric


def test_a_monitor_that_is_off_has_no_panel_that_would_stay_empty() -> None:
    catalog = Catalog.of_registries()
    off = {metric.metric for metric in catalog} - {metric.metric for metric in catalog.given_by(MlMonitor())}
    assert off == {semconv.QUALITY_MISSING_SHIFT}
    for board in boards():
        assert not any(row_of(board, metric, catalog) for metric in off)


def test_every_metric_that_is_measured_by_segment_has_a_panel_for_that() -> None:
    catalog = Catalog.of_registries()
    for series in catalog.of("derived"):
        if catalog_module.SEGMENT in series.labels:
            rows = {title for title, _ in row_of(BOARDS[1], series.metric, catalog)}
            assert rows & {"Segments", "Fairness"}, series.metric


def test_a_new_monitors_metrics_bring_their_own_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "MONITOR_TYPES", (*MONITOR_TYPES, NewMonitor))
    catalog = Catalog.of_registries()
    fleet, model, _ = boards()
    [(title, panel), (segments, _)] = row_of(model, "ml.fairness.parity", catalog)
    assert (title, segments) == ("Fairness", "Segments")
    assert (panel.title, panel.description, panel.unit) == (
        "Fairness parity", "Difference of selection rates.", "percentunit",
    )  # fmt: skip
    assert 'ml_fairness_parity_ratio{ml_model_name="$model"' in panel.queries[0].expr
    [(_, counter)] = row_of(model, "ml.fairness.checked", catalog)
    assert "rate(ml_fairness_checked_total{" in counter.queries[0].expr
    for board in (fleet, model):
        assert "Performance" in {title for title, _ in row_of(board, "ml.performance.kappa", catalog)}


def test_a_monitor_that_is_gone_takes_its_panels_with_it() -> None:
    metrics = [metric for metric in catalog_module.registered_metrics() if metric.name != "ml.performance.r2"]
    catalog = Catalog.of_registries(metrics)
    for board in boards(catalog=catalog):
        assert not any("ml_performance_r2" in expr for _, expr in expressions(board))


def test_two_monitors_that_give_one_metric_share_a_series() -> None:
    first = Metric("ml.x", "1", "x", MODEL_KEYS)
    second = Metric("ml.x", "1", "x", (*MODEL_KEYS, "ml.performance.source"))
    assert Catalog.of_registries([first, second])["ml.x"].labels[-1] == "ml_performance_source"
    with pytest.raises(KeyError):
        Catalog.of_registries([first])["ml.y"]


def test_realised_and_estimated_performance_are_lines_of_one_panel() -> None:
    [panel] = [panel for row, panel in BOARDS[1].panels() if (row.title, panel.title) == ("Performance", "Accuracy")]
    assert "ml_performance_source" in panel.queries[0].expr
    assert "{{ml_performance_source}}" in panel.queries[0].legend


# --- what a panel must have ----------------------------------------------------------------------------------


@EACH_BOARD
def test_every_panel_has_a_description_a_text_for_no_data_a_legend_and_a_link(board: Board) -> None:
    for row, panel in board.panels():
        where = f"{row.title} / {panel.title}"
        assert panel.description.endswith("."), where
        assert len(panel.no_data) > 3, where
        assert panel.queries, where
        assert panel.kind == "table" or all(query.legend for query in panel.queries), where
        assert panel.kind == "stat" or panel.links or board.uid == SERVICE_UID, where


@EACH_BOARD
def test_variables_that_are_used_exist_and_all_are_used(board: Board) -> None:
    known = {variable.name for variable in board.variables}
    used = {"datasource"}
    texts = [expr for _, expr in expressions(board)]
    texts += [link.url for _, panel in board.panels() for link in panel.links]
    for text in texts:
        used |= set(VARIABLE.findall(text)) - BUILT_IN
    assert used == known


def test_the_fleet_leads_to_the_board_of_each_model() -> None:
    links = [link.url for _, panel in BOARDS[0].panels() for link in panel.links]
    assert links
    assert all(url.startswith(f"/d/{MODEL_UID}?var-model=") for url in links)


@pytest.mark.parametrize("plugin", ["jaeger", "tempo"])
def test_panels_of_a_model_lead_to_its_traces(plugin: Any) -> None:
    _, board, _ = boards(traces=plugin)
    [source] = [variable for variable in board.variables if variable.name == "traces"]
    assert source.plugin == plugin
    [url] = {link.url for _, panel in board.panels() for link in panel.links}
    assert url.startswith("/explore?")
    assert f"%22type%22:%22{plugin}%22" in url
    assert "${traces}" in url
    assert "${model}" in url


def test_histograms_of_the_application_show_exemplars() -> None:
    shown = [query for _, panel in BOARDS[1].panels() for query in panel.queries if query.exemplars]
    assert any("ml_prediction_duration_seconds_bucket" in query.expr for query in shown)


def test_changes_are_annotated() -> None:
    changes, alerts = BOARDS[1].annotations
    assert alerts.expr.startswith("ALERTS{")
    assert "ml_drift_alarm{" in changes.expr
    assert changes.expr.endswith("== 1")
    [of_fleet] = BOARDS[0].annotations
    assert "ml_drift_alarm_share_ratio{" in of_fleet.expr


def test_without_a_rule_on_scores_no_limit_is_drawn_on_them() -> None:
    shares = [panel for board in BOARDS[:2] for _, panel in board.panels() if panel.title == "Drift share"]
    assert shares
    assert not any(any(panel.bounds) for panel in shares)
    assert alert_limits(default_config())["ml.drift.alarm_share"].ceilings == (0.0,)


def test_thresholds_of_the_configuration_are_drawn() -> None:
    document = yaml.safe_load(DEFAULT)
    document["alerts"] = {"rules": {"feature_drift": {"above": 0.45}, "latency": {"enabled": False}}}
    document["connectors"] = {"ml_monitor": {"drift": {"numeric": ["ks", "js"]}}}
    fleet, model, _ = boards(parse_config(yaml.safe_dump(document)))
    for board in (fleet, model):
        drawn = {panel.bounds for row, panel in board.panels() if panel.title == "Drift share"}
        assert drawn == {Bounds(ceilings=(0.45,))}
        assert not any(any(panel.bounds) for _, panel in board.panels() if panel.title in ("Latency", "Latency p99"))
    assert next(variable.first for variable in model.variables if variable.name == "method") == "ks"


def test_what_should_not_be_below_is_red_below(documents: dict[str, dict[str, Any]]) -> None:
    panels = [panel for panel in panels_in(documents[f"{MODEL_UID}.json"]) if panel["title"] == "Labels coverage"]
    assert len(panels) == 2
    for panel in panels:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [(step["value"], step["color"]) for step in steps] == [(None, "red"), (0.5, "green")]


@pytest.mark.parametrize(
    ("every", "step", "silent"), [("1m", "60s", "15m"), ("20m", "1200s", "15m"), ("5s", "5s", "15m")]
)
def test_panels_step_as_windows_close(every: str, step: str, silent: str) -> None:
    grafana = pytest.importorskip("collector_processor.generate.dashboards.grafana")
    document = yaml.safe_load(DEFAULT)
    document["connectors"] = {"ml_monitor": {"window": {"size": "1h", "every": every, "allowed_lateness": "1m"}}}
    fleet, model, service = boards(parse_config(yaml.safe_dump(document)))
    for board, expected in ((fleet, step), (model, step), (service, None)):
        panels = [panel for panel in grafana.dashboard(board).panels if panel.type_val != "row"]
        assert {panel.interval for panel in panels if hasattr(panel, "interval")} == {expected}
        for target in (target for panel in panels for target in panel.targets):
            assert target.interval == ("60s" if "$__rate_interval" in target.expr else None), target.expr
    [silent_models] = [
        panel for _, panel in fleet.panels() if panel.title == "Silent models" and panel.kind == "bargauge"
    ]
    assert f"[{silent}]) > 0" in silent_models.queries[0].expr


def test_a_rule_on_some_models_draws_no_line_for_all() -> None:
    document = yaml.safe_load(DEFAULT)
    rule = {"measurement": "ml.performance.accuracy", "below": 0.8, "where": {"ml.model.name": "flight-delay"}}
    document["alerts"] = {"rules": {"mine": rule}}
    for board in boards(parse_config(yaml.safe_dump(document))):
        assert not any(any(panel.bounds) for _, panel in board.panels() if panel.title == "Accuracy")


# --- Grafana's own types -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    pytest.importorskip("grafana_foundation_sdk")
    folder = tmp_path_factory.mktemp("dashboards")
    written = list(write_dashboards(folder))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in written if path.suffix == ".json"}


def panels_in(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["panels"]:
        yield item
        yield from item.get("panels", ())


def test_there_is_a_file_for_each_dashboard(documents: dict[str, dict[str, Any]]) -> None:
    assert set(documents) == {f"{uid}.json" for uid in (FLEET_UID, MODEL_UID, SERVICE_UID)}
    assert {document["uid"] for document in documents.values()} == {FLEET_UID, MODEL_UID, SERVICE_UID}


def test_grafanas_types_read_back_what_was_written(documents: dict[str, dict[str, Any]]) -> None:
    types = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder
    pytest.importorskip("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    for name, document in documents.items():
        again = json.loads(json.dumps(types.Dashboard.from_json(document), cls=encoder))
        # What the types do not know; what they add is an empty default.
        lost = {place.rpartition("/")[2] for place in differences(document, again)}
        assert lost == (
            {"step", "titleFormat", "textFormat", "tagKeys"} if document["annotations"]["list"] else set()
        ), name
        assert {place.rpartition("/")[2] for place in differences(again, document)} <= {"custom"}, name


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where a document has something that another has not, or otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            yield from differences(value, other[key], f"{place}/{key}") if key in other else [f"{place}/{key}"]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{place}/{number}")
    elif one != other:
        yield place


def test_units_are_grafanas(documents: dict[str, dict[str, Any]]) -> None:
    units = pytest.importorskip("grafana_foundation_sdk.models.units")
    known = {value for value in vars(units).values() if isinstance(value, str)} | {"short", "bytes"}
    shown = {
        panel["fieldConfig"]["defaults"]["unit"]
        for item in documents.values()
        for panel in panels_in(item)
        if panel["type"] != "row"
    }
    assert shown <= known
    assert {"percentunit", "s", "short", "bytes"} <= shown


def test_panels_have_numbers_of_their_own_and_do_not_overlap(documents: dict[str, dict[str, Any]]) -> None:
    for name, document in documents.items():
        numbers = [panel["id"] for panel in panels_in(document)]
        assert len(set(numbers)) == len(numbers), name
        for group in (document["panels"], *(item["panels"] for item in document["panels"] if item.get("panels"))):
            cells: set[tuple[int, int]] = set()
            for panel in group:
                place = panel["gridPos"]
                taken = set(
                    itertools.product(
                        range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
                    )
                )
                assert place["x"] + place["w"] <= 24
                assert not taken & cells, f"{name}: {panel['title']}"
                cells |= taken


def test_a_panels_number_does_not_hang_on_what_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    grafana = pytest.importorskip("collector_processor.generate.dashboards.grafana")
    before = {panel.title: panel.id_val for panel in grafana.dashboard(BOARDS[1]).panels}
    monkeypatch.setattr(catalog_module, "MONITOR_TYPES", (NewMonitor, *MONITOR_TYPES))
    after = {panel.title: panel.id_val for panel in grafana.dashboard(boards()[1]).panels}
    assert before.items() <= after.items()
    assert before["Drift score and threshold"] == panel_id(MODEL_UID, "Drift", "Drift score and threshold")


def test_every_panel_asks_the_chosen_data_source(documents: dict[str, dict[str, Any]]) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for document in documents.values():
        for panel in panels_in(document):
            if panel["type"] != "row":
                assert panel["datasource"] == source
                assert all(target["datasource"] == source for target in panel["targets"])
                assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_what_is_written_is_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    once = [path.read_bytes() for path in write_dashboards(tmp_path / "a")]
    code = (
        "import sys, pathlib, collector_processor.generate.dashboards as d; "
        "[*d.write_dashboards(pathlib.Path(sys.argv[1]))]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True, env={"PYTHONHASHSEED": "7"})
    again = [path.read_bytes() for path in sorted((tmp_path / "b").rglob("*")) if path.is_file()]
    assert sorted(once) == sorted(again)


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_writes_dashboards_and_provisioning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    assert cli.main(["dashboards", "--out", str(tmp_path / "new" / "folder"), "--traces", "tempo"]) == 0
    files = sorted(path.relative_to(tmp_path / "new" / "folder").as_posix() for path in (tmp_path / "new").rglob("*.*"))
    assert files == [
        "otel-ml-fleet.json", "otel-ml-model.json", "otel-ml-service.json",
        "provisioning/dashboards/otel-ml.yaml", "provisioning/datasources/otel-ml.yaml",
    ]  # fmt: skip
    sources = yaml.safe_load((tmp_path / "new" / "folder" / files[-1]).read_text())["datasources"]
    assert [source["type"] for source in sources] == ["prometheus", "tempo"]
    [link] = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    assert link["datasourceUid"] == sources[1]["uid"]
    assert capsys.readouterr().err.count("written") == 5


def test_a_missing_install_is_told_with_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("grafana_foundation_sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    for room in ("dashboards", "rules"):
        monkeypatch.delitem(sys.modules, f"collector_processor.generate.{room}.grafana", raising=False)
        monkeypatch.delattr(sys.modules[f"collector_processor.generate.{room}"], "grafana", raising=False) if (
            f"collector_processor.generate.{room}" in sys.modules
        ) else None
    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["dashboards", "--out", str(tmp_path)]) == 1
    assert install("dashboards") in capsys.readouterr().err
    assert cli.main(["rules", "--out", str(tmp_path / "rules.yml"), "--format", "grafana"]) == 1
    assert install("dashboards") in capsys.readouterr().err
    assert cli.main(["rules", "--out", str(tmp_path / "rules.yml")]) == 0
    assert not list(tmp_path.glob("*.json"))


def test_the_service_does_not_need_the_extra() -> None:
    code = (
        "import sys, collector_processor.cli.main as cli; cli.parser_of(None);"
        "late = ('grafana', 'collector_processor.generate.dashboards');"
        "print([name for name in sys.modules if name.startswith(late)])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_metrics_of_the_contract_are_in_the_catalog() -> None:
    catalog = Catalog.of_registries()
    for metric in (semconv.DRIFT_SHARE, semconv.PREDICTIONS, semconv.METRIC_PREDICTION_DURATION):
        assert metric in catalog
