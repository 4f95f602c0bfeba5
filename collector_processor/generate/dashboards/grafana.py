"""Converts a plan to Grafana's types and their JSON; the same plan always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as types
from grafana_foundation_sdk.models import heatmap as heatmap_types
from grafana_foundation_sdk.models import prometheus as prometheus_types

from collector_processor.generate.dashboards.plan import (
    FLEET_UID,
    MODEL_UID,
    RATE,
    SERVICE_UID,
    Annotation,
    Board,
    Bounds,
    Panel,
    PanelKind,
    Query,
    Row,
    Variable,
    panel_id,
)

TAGS: Final = ["machine learning", "otel-ml"]
_WIDTH: Final = 24
_COUNTS_APART: Final = "60s"
"""The longest step between samples of counters: how often SDKs send. Grafana takes rates over four times that."""
_GOOD: Final = "green"
_BAD: Final = "red"
_TITLES: Final = {FLEET_UID: "All models", MODEL_UID: "One model", SERVICE_UID: "The service"}
_SOURCE: Final = "${datasource}"


def dashboard(board: Board) -> types.Dashboard:
    """Return a board in Grafana's types."""
    result = (
        build.Dashboard(board.title).uid(board.uid).description(board.description).tags(TAGS).editable()
        .timezone("browser").time(board.span, "now").refresh("1m").tooltip(types.DashboardCursorSync.CROSSHAIR)
    )  # fmt: skip
    for variable in board.variables:
        result = result.with_variable(_variable(variable))
    for uid, title in _TITLES.items():
        if uid != board.uid:
            link = build.DashboardLink(title).type(types.DashboardLinkType("link")).url(f"/d/{uid}")
            result = result.link(link.keep_time(True).icon("dashboard").tooltip(f"Open the board: {title}"))
    built = result.build()
    built.annotations = types.AnnotationContainer([_Annotation(item) for item in board.annotations])
    built.panels = list(_placed(board))
    return built


def to_json(board: Board) -> str:
    """Return the file that Grafana reads, with sorted keys and one trailing line break."""
    text = json.dumps(dashboard(board), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n"


def _placed(board: Board) -> Iterator[types.Panel | types.RowPanel]:
    """Yield rows and their panels, left to right and top to bottom; a collapsed row contains its panels."""
    top = 0
    for row in board.rows:
        heading = build.Row(row.title).id(panel_id(board.uid, "row", row.title)).collapsed(row.collapsed).build()
        heading.grid_pos = types.GridPos(1, _WIDTH, 0, top)
        panels, top = _of_row(board, row, top + 1)
        heading.panels = panels if row.collapsed else []
        yield heading
        if not row.collapsed:
            yield from panels


def _of_row(board: Board, row: Row, top: int) -> tuple[list[types.Panel], int]:
    placed: list[types.Panel] = []
    left = tallest = 0
    for panel in row.panels:
        if left + panel.width > _WIDTH:
            left, top, tallest = 0, top + tallest, 0
        result = _KINDS[panel.kind](panel)
        result.id_val = panel_id(board.uid, row.title, panel.title)
        result.interval = f"{board.step_s}s" if board.step_s else None
        result.grid_pos = types.GridPos(panel.height, panel.width, left, top)
        placed.append(result)
        left, tallest = left + panel.width, max(tallest, panel.height)
    _fill([panel.grid_pos for panel in placed if panel.grid_pos is not None])
    return placed, top + tallest


def _fill(places: list[types.GridPos]) -> None:
    """Widen the panels of the last line if it is not full, so that the board has no gap."""
    last = [place for place in places if place.y == places[-1].y]
    if _WIDTH % len(last) or sum(place.w for place in last) == _WIDTH:
        return
    for number, place in enumerate(last):
        place.w = _WIDTH // len(last)
        place.x = number * place.w


# --- panels ----------------------------------------------------------------------------------------------------


def _common(builder: Any, panel: Panel) -> Any:
    """Set the properties that all panels have; the builders share these methods, but no type."""
    builder = (
        builder.title(panel.title).description(panel.description).datasource(_prometheus()).no_value(panel.no_data)
        .unit(panel.unit).thresholds(_thresholds(panel.bounds))
    )  # fmt: skip
    for place, query in enumerate(panel.queries):
        builder = builder.with_target(_target(query, chr(ord("A") + place), panel))
    if panel.minimum is not None:
        builder = builder.min(panel.minimum)
    if panel.maximum is not None:
        builder = builder.max(panel.maximum)
    links = [
        build.DashboardLink(link.title).url(link.url).type(types.DashboardLinkType("link")) for link in panel.links
    ]
    return builder.data_links(links) if links else builder


def _timeseries(panel: Panel) -> types.Panel:
    return _lines(panel).build()


def _lines(panel: Panel) -> timeseries.Panel:
    builder = _common(timeseries.Panel(), panel)
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode("list"))
    legend = legend.placement(options.LegendPlacement("bottom")).show_legend(True).calcs([])
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode("multi")).sort(options.SortOrder("desc"))
    builder = builder.legend(legend).tooltip(tooltip).line_width(1).fill_opacity(0).span_nulls(False)
    builder = builder.show_points(options.VisibilityMode("auto"))
    if any(panel.bounds):
        style = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode("dashed"))
        builder = builder.thresholds_style(style)
    dashes = types.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]})
    dots = types.DynamicConfigValue("custom.lineStyle", {"fill": "dot", "dash": [0, 8]})
    return builder.override_by_regexp("/^threshold /", [dashes]).override_by_regexp("/^(from|to) /", [dots])


def _stacked(panel: Panel) -> types.Panel:
    """Return bars that stand on each other, those below 0 downwards; a series that is the whole is a line."""
    together = common.StackingConfig().mode(options.StackingMode("normal")).group("parts")
    builder = _lines(panel).draw_style(options.GraphDrawStyle("bars")).stacking(together).fill_opacity(60)
    alone = {"mode": "none", "group": "whole"}
    line = {"custom.drawStyle": "line", "custom.fillOpacity": 0, "custom.lineWidth": 2, "custom.stacking": alone}
    return builder.override_by_regexp(
        "/^whole /", [types.DynamicConfigValue(key, value) for key, value in line.items()]
    ).build()


def _stat(panel: Panel) -> types.Panel:
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")
    graph = options.BigValueGraphMode("none" if panel.queries[0].instant else "area")
    builder = _common(stat.Panel(), panel).reduce_options(reduce).graph_mode(graph)
    color = options.BigValueColorMode("value" if any(panel.bounds) else "none")
    return builder.color_mode(color).build()


def _bars(panel: Panel) -> types.Panel:
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")
    builder = _common(bargauge.Panel(), panel).reduce_options(reduce).orientation(options.VizOrientation("horizontal"))
    return builder.display_mode(options.BarGaugeDisplayMode("basic")).build()


def _heatmap(panel: Panel) -> types.Panel:
    builder = _common(heatmap.Panel(), panel).calculate(False)
    buckets = any(query.buckets for query in panel.queries)
    color = heatmap.HeatmapColorOptions().mode(heatmap_types.HeatmapColorMode("scheme")).steps(64)
    color = color.scheme("Oranges" if buckets else "RdYlGn").reverse(False)
    if panel.minimum is not None and panel.maximum is not None:
        color = color.min(panel.minimum).max(panel.maximum)
    if buckets:
        builder = builder.y_axis(heatmap.YAxisConfig().unit(panel.unit)).exemplars_color("rgba(255,0,255,0.7)")
    return builder.color(color).cell_gap(1).show_legend().build()


def _table(panel: Panel) -> types.Panel:
    builder = _common(table.Panel(), panel)
    names = panel.columns
    organized: dict[str, Any] = {
        "renameByName": dict(names),
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate(names)},
    }
    builder = builder.with_transformation(types.DataTransformerConfig(id_val="merge", options={}))
    builder = builder.with_transformation(types.DataTransformerConfig(id_val="organize", options=organized))
    for title, unit in panel.column_units.items():
        builder = builder.override_by_name(title, [types.DynamicConfigValue("unit", unit)])
    return builder.build()


_KINDS: Final[Mapping[PanelKind, Callable[[Panel], types.Panel]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "table": _table,
    "heatmap": _heatmap,
    "bargauge": _bars,
    "bars": _stacked,
}


def _prometheus() -> options.DataSourceRef:
    return options.DataSourceRef("prometheus", _SOURCE)


def _target(query: Query, ref_id: str, panel: Panel) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref_id).datasource(_prometheus())
    target = target.editor_mode(prometheus_types.QueryEditorMode("code")).exemplar(query.exemplars)
    target = target.instant() if query.instant else target.range()
    if RATE in query.expr:
        target = target.interval(_COUNTS_APART)
    if query.legend:
        target = target.legend_format(query.legend)
    if panel.kind == "table":
        return target.format(prometheus_types.PromQueryFormat("table"))
    shape = prometheus_types.PromQueryFormat
    return target.format(shape("heatmap" if query.buckets else "time_series"))


def _thresholds(bounds: Bounds) -> build.ThresholdsConfig:
    """Return red up to the highest floor, green from there, and red from the lowest ceiling; every bound is a line."""
    steps = [types.Threshold(None, _BAD if bounds.floors else _GOOD)]
    highest = max(bounds.floors, default=0.0)
    steps += [types.Threshold(floor, _GOOD if floor == highest else _BAD) for floor in sorted(bounds.floors)]
    steps += [types.Threshold(ceiling, _BAD) for ceiling in sorted(bounds.ceilings)]
    return build.ThresholdsConfig().mode(types.ThresholdsMode("absolute")).steps(steps)


# --- variables and annotations ---------------------------------------------------------------------------------


def _variable(variable: Variable) -> build.DatasourceVariable | build.QueryVariable:
    if variable.plugin:
        source = build.DatasourceVariable(variable.name).label(variable.label).type(variable.plugin)
        return source.description(variable.description)
    query: dict[str, object] = {"query": variable.query, "refId": f"Variable-{variable.name}", "qryType": 1}
    result = (
        build.QueryVariable(variable.name).label(variable.label).description(variable.description).query(query)
        .datasource(_prometheus()).refresh(types.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(types.VariableSort.ALPHABETICAL_ASC).multi(variable.multiple)
    )  # fmt: skip
    if variable.everything:
        result = result.include_all(True).all_value(variable.everything)
    if variable.first:
        chosen: Any = [variable.first] if variable.multiple else variable.first
        result = result.current(types.VariableOption(True, chosen, chosen))
    elif variable.everything:
        every: Any = "$__all"
        result = result.current(types.VariableOption(True, "All", [every] if variable.multiple else every))
    return result.hide(types.VariableHide.HIDE_VARIABLE) if variable.hidden else result


class _Annotation(types.AnnotationQuery):
    """An annotation from Prometheus; the types have its expression, but not the formats of its texts."""

    def __init__(self, annotation: Annotation) -> None:
        super().__init__(
            name=annotation.name, datasource=_prometheus(), enable=True, icon_color=annotation.color,
            expr=annotation.expr,
        )  # fmt: skip
        self._texts: dict[str, object] = {
            "step": "60s",
            "titleFormat": annotation.title,
            "textFormat": annotation.text,
            "tagKeys": ",".join(annotation.tags),
        }

    def to_json(self) -> dict[str, object]:
        """Return the fields of the types and the formats of the texts."""
        return {**super().to_json(), **self._texts}
