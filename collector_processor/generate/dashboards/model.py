"""The board of one model: traffic, latency, drift, performance, quality, labels, segments, and links to traces."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote

from collector_processor.generate.catalog import FEATURE, METHOD, MODEL, ROLE, SEGMENT, SOURCE, VERSION, Catalog, Series
from collector_processor.generate.dashboards.alarms import ALARMS, alarm_panels
from collector_processor.generate.dashboards.causes import cause_panels
from collector_processor.generate.dashboards.fairness import fairness_panels
from collector_processor.generate.dashboards.generic import (
    ONE_MODEL,
    REALIZED,
    WHOLE,
    aggregated,
    emitted_panel,
    model_panel,
    sentence,
    title_of,
)
from collector_processor.generate.dashboards.performance import performance_panels
from collector_processor.generate.dashboards.plan import (
    DATASOURCE,
    MODEL_UID,
    NO_BOUNDS,
    RATE,
    Annotation,
    Board,
    Bounds,
    Limits,
    Link,
    Panel,
    Query,
    Row,
    Traces,
    Variable,
    traces_source,
)
from collector_processor.generate.dashboards.process import process_panels
from otel_ml import semconv

_ROWS: Final = {
    "window": "Traffic",
    "predictions": "Traffic",
    "latency": "Latency",
    "drift": "Drift",
    "performance": "Performance",
    "quality": "Quality",
    "labels": "Labels",
}
"""The row of each family of metrics; any other family gets a row with its name."""
_LATENCIES: Final = (semconv.LATENCY_P50, semconv.LATENCY_P95, semconv.LATENCY_P99)
_DRIFTS: Final = (semconv.DRIFT_SCORE, semconv.DRIFT_THRESHOLD)
"""Metrics with a panel that is drawn by hand; every other metric gets its default panel."""
_DRIFT: Final = f'{ONE_MODEL},{METHOD}=~"$method"'


def model_board(
    catalog: Catalog, limits: Limits, traces: Traces = "jaeger", method: str = "", step_s: int = 60
) -> Board:
    """Return the board of one model; every derived metric has a panel on it, drawn by hand or by default."""
    board = _Model(catalog, limits, traces)
    return Board(
        MODEL_UID,
        "Models: one model",
        "One model, by version: traffic, latency, drift, performance, quality, labels, segments.",
        board.variables(method),
        board.rows(),
        (board.changes(), board.alerts()),
        step_s=step_s,
    )


class _Model:
    def __init__(self, catalog: Catalog, limits: Limits, traces: Traces) -> None:
        self._catalog = catalog
        self._limits = limits
        self._traces: Traces = traces
        self._links = (_traces_link(traces),)

    def _name(self, metric: str) -> str:
        return self._catalog[metric].name

    def variables(self, method: str) -> tuple[Variable, ...]:
        """Return the choices: data sources, model, version, segment, method, and the service name in the traces."""
        rows, duration = self._name(semconv.WINDOW_ROWS), self._name(semconv.METRIC_PREDICTION_DURATION)
        chosen = f'{{{MODEL}="$model"}}'
        return (
            DATASOURCE,
            traces_source(self._traces),
            Variable("model", "Model", "model to show", f"label_values({rows}, {MODEL})"),
            Variable(
                "version",
                "Version",
                "versions of the model",
                f"label_values({rows}{chosen}, {VERSION})",
                multiple=True,
                everything=".*",
            ),
            Variable(
                "segment",
                "Segment",
                "segment to split by",
                f"label_values({rows}{chosen}, {SEGMENT})",
                everything=".+",
            ),
            Variable(
                "method",
                "Drift method",
                "drift methods to show",
                f"label_values({self._name(semconv.DRIFT_SCORE)}{chosen}, {METHOD})",
                multiple=True,
                everything=".*",
                first=method,
            ),
            Variable(
                "service",
                "Service",
                "service name of the application in the traces",
                f"label_values({duration}_count{chosen}, job)",
                everything=".*",
                hidden=True,
            ),
        )

    def rows(self) -> tuple[Row, ...]:
        """Return the rows in the order of the registry, with hand-drawn panels first in each."""
        fairness, of_fairness = fairness_panels(self._catalog, self._limits, self._links)
        performance, of_performance = performance_panels(self._catalog, self._limits, self._links)
        causes, of_causes = cause_panels(self._catalog, self._links)
        drawn = {
            "At a glance": self._glance(), "Latency": (self._latency(),), "Drift": self._drift(),
            "Performance": performance, "Fairness": fairness, "Cause": causes,
        }  # fmt: skip
        derived = self._catalog.of("derived")
        shown = {*_LATENCIES, *_DRIFTS, *ALARMS, *of_fairness, *of_performance, *of_causes}
        rest = [item for item in derived if item.metric not in shown]
        order = ["At a glance", *dict.fromkeys([*_ROWS.values(), *(row_of(item) for item in derived)])]
        rows: list[Row] = []
        for title in order:
            others = tuple(self._panel(item) for item in derived if item in rest and row_of(item) == title)
            panels = (*drawn.get(title, ()), *others)
            if panels:
                rows.append(Row(title, panels))
        emitted = tuple(emitted_panel(item, self._links) for item in self._catalog.of("emitted"))
        return (
            *rows,
            Row("Process and machine", process_panels(self._catalog, self._links), collapsed=True),
            Row("Segments", tuple(self._segments(of_fairness)), collapsed=True),
            Row("From the application itself", (self._calls(), *emitted), collapsed=True),
        )

    def _panel(self, series: Series) -> Panel:
        return model_panel(series, self._limits.get(series.metric, NO_BOUNDS), self._links)

    def _segments(self, drawn: Collection[str]) -> Iterator[Panel]:
        """Yield the panel of every metric that is measured by segment and is not drawn by hand elsewhere."""
        for series in self._catalog.of("derived"):
            if SEGMENT in series.labels and series.metric not in drawn:
                yield model_panel(series, self._limits.get(series.metric, NO_BOUNDS), self._links, by_segment=True)

    def _glance(self) -> tuple[Panel, ...]:
        wanted = (
            (semconv.WINDOW_ROWS, "short"),
            (semconv.DRIFT_ALARM_SHARE, "percentunit"),
            (semconv.LATENCY_P95, "s"),
            (semconv.LABELS_COVERAGE, "percentunit"),
            (semconv.PERFORMANCE + "accuracy", "percentunit"),
        )
        panels: list[Panel] = []
        for metric, unit in wanted:
            series = self._catalog[metric]
            whole = f",{WHOLE}" if SEGMENT in series.labels else ""
            labeled = f",{REALIZED}" if SOURCE in series.labels else ""
            expr = aggregated("max", series.now(ONE_MODEL + whole + labeled), [VERSION])
            query = Query(expr, f"{{{{{VERSION}}}}}", instant=True)
            panels.append(
                Panel(
                    title_of(metric),
                    f"{sentence(series.description)} Newest window.",
                    (query,),
                    unit,
                    "stat",
                    4,
                    4,
                    "not measured",
                    bounds=self._limits.get(metric, NO_BOUNDS),
                )
            )
        rate = aggregated("sum", f"rate({self._name(semconv.PREDICTIONS)}{{{ONE_MODEL}}}[{RATE}])", [VERSION])
        speed = Panel(
            "Rows per second",
            "Predictions received per second.",
            (Query(rate, f"{{{{{VERSION}}}}}"),),
            "short",
            "stat",
            4,
            4,
            "none",
        )
        return (speed, *panels)

    def _latency(self) -> Panel:
        series = [self._catalog[name] for name in _LATENCIES]
        queries = tuple(
            Query(
                aggregated("max", item.now(f"{ONE_MODEL},{WHOLE}"), [VERSION]),
                f"{item.metric.rpartition('.')[2]} {{{{{VERSION}}}}}",
            )
            for item in series
        )
        text = "Duration of calls, from their spans: 50%, 95% and 99% of the calls took at most this long."
        drawn = [self._limits.get(item.metric, NO_BOUNDS) for item in series]
        bounds = Bounds(*(tuple(sorted({*(value for each in drawn for value in each[side])})) for side in (0, 1)))
        return Panel(
            "Latency",
            text,
            queries,
            "s",
            width=24,
            minimum=0,
            bounds=bounds,
            links=self._links,
            no_data="no calls with a duration",
        )

    def _calls(self) -> Panel:
        """Return a heatmap of the durations of calls, with exemplars that link to traces."""
        name = self._name(semconv.METRIC_PREDICTION_DURATION)
        rate = f"sum by (le) (rate({name}_bucket{{{ONE_MODEL}}}[{RATE}]))"
        return Panel(
            "Durations of calls",
            "Number of calls by duration. Diamonds are exemplars: each one links to the trace of a prediction, if the "
            "Prometheus data source has a link for trace_id (see provisioning/datasources).",
            (Query(rate, "{{le}}", exemplars=True, buckets=True),),
            "s",
            "heatmap",
            24,
            9,
            links=self._links,
            no_data="no data: the application's own OpenTelemetry metrics are not in this Prometheus",
        )

    def _drift(self) -> tuple[Panel, ...]:
        score, threshold = (self._catalog[metric].now(_DRIFT) for metric in _DRIFTS)
        column = (ROLE, FEATURE, METHOD)
        both = [aggregated("max", value, (*column, VERSION)) for value in (score, threshold)]
        names = f"{{{{{ROLE}}}}} {{{{{FEATURE}}}}} {{{{{METHOD}}}}}"
        ratio = f"{score} / ({threshold} > 0)"
        return (
            *alarm_panels(self._catalog, self._links),
            Panel(
                "Drift by column over time",
                "Drift score of each column, divided by its threshold; the highest of the chosen methods and versions. "
                "Above 1, the column is in breach.",
                (Query(aggregated("max", ratio, (ROLE, FEATURE)), f"{{{{{ROLE}}}}} {{{{{FEATURE}}}}}"),),
                "short",
                "heatmap",
                24,
                10,
                "no window with enough rows yet",
                minimum=0,
                maximum=2,
                links=self._links,
            ),
            Panel(
                "Drift score and threshold",
                "Solid lines are scores, dashed lines are their thresholds. Small windows have higher thresholds, so "
                "that chance alone does not raise an alarm.",
                (Query(both[0], names), Query(both[1], f"threshold {names}")),
                "short",
                width=24,
                height=10,
                minimum=0,
                links=self._links,
                no_data="no window with enough rows yet",
            ),
        )

    def changes(self) -> Annotation:
        """Return a mark for the times when a column is in alarm."""
        expr = self._catalog[semconv.DRIFT_ALARM].now(ONE_MODEL)
        return Annotation(
            "Changes",
            f"{aggregated('max', expr, (MODEL, VERSION, ROLE, FEATURE))} == 1",
            f"{{{{{ROLE}}}}} {{{{{FEATURE}}}}} changed",
            f"{{{{{MODEL}}}}} {{{{{VERSION}}}}}",
            (ROLE, FEATURE),
        )

    def alerts(self) -> Annotation:
        """Return a mark for the times when a rule of ``otel-ml rules`` fires in Prometheus."""
        expr = f'ALERTS{{alertstate="firing",{ONE_MODEL}}}'
        return Annotation(
            "Alerts", expr, "{{alertname}}", f"{{{{severity}}}} {{{{{VERSION}}}}}", ("severity",), color="orange"
        )


def row_of(series: Series) -> str:
    """Return the default row of a derived metric: that of its family."""
    family = series.metric.split(".")[1] if series.metric.count(".") else series.metric
    return _ROWS.get(family, family[:1].upper() + family[1:].replace("_", " "))


def _traces_link(traces: Traces) -> Link:
    """Return a link from a panel to the prediction traces of the model in Grafana Explore, over the same time."""
    if traces == "tempo":
        query: dict[str, object] = {
            "queryType": "traceql",
            "query": f'{{ span.{semconv.MODEL_NAME} = "${{model}}" }}',
            "limit": 20,
        }
    else:
        query = {"queryType": "search", "service": "${service}", "operation": f"{semconv.SPAN_PREDICT} ${{model}}"}
    query = {"refId": "A", "datasource": {"type": traces, "uid": "${traces}"}, **query}
    pane = {"datasource": "${traces}", "queries": [query], "range": {"from": "${__from}", "to": "${__to}"}}
    panes = quote(json.dumps({"traces": pane}, separators=(",", ":")), safe="${}:,")
    return Link("Traces of this model", f"/explore?schemaVersion=1&panes={panes}")
