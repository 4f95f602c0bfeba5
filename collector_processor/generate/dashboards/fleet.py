"""The overview board: all models, their problems, and a link to the board of each."""

from __future__ import annotations

from collector_processor.generate.catalog import (
    FEATURE,
    METHOD,
    MODEL,
    ROLE,
    SEGMENT,
    SOURCE,
    VERSION,
    Catalog,
    stopped,
)
from collector_processor.generate.dashboards.generic import REALIZED, aggregated, sentence, title_of
from collector_processor.generate.dashboards.plan import (
    DATASOURCE,
    FLEET_UID,
    MODEL_UID,
    NO_BOUNDS,
    NONE_IS_BEST,
    RATE,
    Annotation,
    Board,
    Bounds,
    Limits,
    Link,
    Panel,
    Query,
    Row,
    Variable,
    grafana_unit,
    model_link,
)
from collector_processor.own.metrics import NEWEST
from otel_ml import semconv

_KEYS = (MODEL, VERSION)
_NAME = f"{{{{{MODEL}}}}} {{{{{VERSION}}}}}"
_CHOSEN = f'{MODEL}=~"$model"'
_OFFENDERS = 15
_SILENT_MINUTES = 15


def fleet_board(catalog: Catalog, limits: Limits, step_s: int = 60) -> Board:
    """Return a board of all models at a glance: their traffic, drift, performance, and which are silent."""
    board = _Fleet(catalog, limits)
    return Board(
        FLEET_UID,
        "Models: fleet",
        "All monitored models: traffic, alarms, drift, performance, and silent models.",
        (
            DATASOURCE,
            Variable(
                "model",
                "Model",
                "models to show",
                f"label_values({board.name(semconv.WINDOW_ROWS)}, {MODEL})",
                multiple=True,
                everything=".*",
            ),
        ),
        (
            Row("At a glance", board.glance()),
            Row("Models", (board.table(),)),
            Row("Traffic", board.traffic()),
            Row("Drift", board.drift()),
            Row("Performance", board.performance()),
        ),
        (board.changes(),),
        step_s=step_s,
    )


class _Fleet:
    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        self._limits = limits
        alarmed = self._catalog[semconv.DRIFT_ALARM].now(_CHOSEN)
        # A column that is both scraped and sent counts once.
        self._alarmed = aggregated("max", alarmed, (*_KEYS, ROLE, FEATURE))

    def name(self, metric: str) -> str:
        return self._catalog[metric].name

    def _of(self, metric: str) -> str:
        """Return the query of the newest value of each model and version, over all rows."""
        series = self._catalog[metric]
        whole = f',{SEGMENT}=""' if SEGMENT in series.labels else ""
        labeled = f",{REALIZED}" if SOURCE in series.labels else ""
        return aggregated("max", series.now(_CHOSEN + whole + labeled), _KEYS)

    def _rate(self) -> str:
        return aggregated("sum", f"rate({self.name(semconv.PREDICTIONS)}{{{_CHOSEN}}}[{RATE}])", _KEYS)

    def _silent(self) -> str:
        """Return the query of models seen in the last day but not recently, with the rows of their last window."""
        rows = f'{self.name(semconv.WINDOW_ROWS)}{{{_CHOSEN},{SEGMENT}=""}}'
        last = aggregated("max", f"last_over_time({rows}[1d])", _KEYS)
        counter = f"{self.name(semconv.PREDICTIONS)}{{{_CHOSEN}}}"
        return f"{last} and on ({', '.join(_KEYS)}) ({stopped(counter, _KEYS, f'{_SILENT_MINUTES}m', '1d')})"

    def glance(self) -> tuple[Panel, ...]:
        def stat(title: str, text: str, expr: str, unit: str = "short", bounds: Bounds = NO_BOUNDS) -> Panel:
            return Panel(
                title, text, (Query(expr, title, instant=True),), unit, "stat", 4, 4, "no model yet", bounds=bounds
            )

        return (
            stat("Models", "Model versions with a current window.", f"count({self._of(semconv.WINDOW_ROWS)})"),
            stat("Rows per second", "Predictions received per second, all models together.", f"sum({self._rate()})"),
            stat(
                "Models in alarm",
                "Model versions with a column that has changed, or a figure such as the share of failed predictions.",
                f"count({aggregated('max', self._alarmed, _KEYS)} > 0) or vector(0)",
                bounds=NONE_IS_BEST,
            ),
            stat(
                "Columns in alarm",
                "Columns and figures that have changed; a feature and its attributions count separately.",
                f"sum({self._alarmed}) or vector(0)",
                bounds=NONE_IS_BEST,
            ),
            stat(
                "Silent models",
                f"Model versions with predictions in the last day, but none in the last {_SILENT_MINUTES} minutes.",
                f"count({self._silent()}) or vector(0)",
                bounds=NONE_IS_BEST,
            ),
            stat(
                "Slowest p99",
                "The highest 99th percentile of call duration among all models.",
                f"max({self._of(semconv.LATENCY_P99)})",
                "s",
                self._limits.get(semconv.LATENCY_P99, NO_BOUNDS),
            ),
        )

    def table(self) -> Panel:
        wanted = (
            ("rows/s", self._rate(), "short"),
            ("rows in the window", self._of(semconv.WINDOW_ROWS), "short"),
            ("drift share", self._of(semconv.DRIFT_SHARE), "percentunit"),
            ("columns in alarm", aggregated("sum", self._alarmed, _KEYS), "short"),
            ("accuracy", self._of(semconv.PERFORMANCE + "accuracy"), "percentunit"),
            ("MAE", self._of(semconv.PERFORMANCE + "mae"), "short"),
            ("label coverage", self._of(semconv.LABELS_COVERAGE), "percentunit"),
            ("p99", self._of(semconv.LATENCY_P99), "s"),
        )
        columns = {MODEL: "model", VERSION: "version"}
        columns |= {f"Value #{chr(65 + place)}": title for place, (title, _, _) in enumerate(wanted)}
        url = (
            f"/d/{MODEL_UID}?var-model=${{__data.fields.model}}&var-version=${{__data.fields.version}}"
            "&var-datasource=${datasource}&${__url_time_range}"
        )
        return Panel(
            "Models",
            "The newest measurements of each model version. The link opens the board of the model.",
            tuple(Query(expr, instant=True) for _, expr, _ in wanted),
            kind="table",
            width=24,
            height=10,
            no_data="no models yet: does Prometheus scrape the service?",
            links=(Link("Open this model", url),),
            columns=columns,
            column_units={title: unit for title, _, unit in wanted},
        )

    def traffic(self) -> tuple[Panel, ...]:
        return (
            Panel(
                "Rows per second",
                "Predictions received per second, by model version.",
                (Query(self._rate(), _NAME),),
                "short",
                width=8,
                minimum=0,
                links=(model_link(),),
                no_data="no predictions",
            ),
            self._series(semconv.LATENCY_P99),
            Panel(
                "Silent models",
                f"Models with predictions in the last day, but none in the last {_SILENT_MINUTES} minutes. "
                "The bar shows the rows of the last window.",
                (Query(self._silent(), _NAME, instant=True),),
                "short",
                "bargauge",
                8,
                no_data="no silent models",
                links=(model_link(),),
            ),
            Panel(
                "Age of the newest figures",
                "How long ago the newest window with rows of each model version ended. It grows while nothing arrives, "
                "also after the figures themselves have vanished.",
                (Query(f"time() - {aggregated('max', self._newest(), _KEYS)}", _NAME),),
                "s",
                width=24,
                minimum=0,
                links=(model_link(),),
                no_data="no window has closed since the service started",
            ),
        )

    def _newest(self) -> str:
        """Return the times of the newest windows; the version is in the label of the model, after an @."""
        newest = f'{self.name(NEWEST)}{{model=~"$model(@.*)?"}}'
        named = f'label_replace({newest}, "{MODEL}", "$1", "model", "(.+?)(@[^@]*)?")'
        return f'label_replace({named}, "{VERSION}", "$1", "model", ".+@([^@]*)")'

    def drift(self) -> tuple[Panel, ...]:
        score, threshold = (
            self._catalog[metric].now(_CHOSEN) for metric in (semconv.DRIFT_SCORE, semconv.DRIFT_THRESHOLD)
        )
        keys = (*_KEYS, ROLE, FEATURE, METHOD)
        ratio = aggregated("max", f"{score} / ({threshold} > 0)", keys)
        return (
            self._series(semconv.DRIFT_SHARE),
            Panel(
                "Columns in alarm",
                "Number of columns and figures that have changed, by model version.",
                (Query(aggregated("sum", self._alarmed, _KEYS), _NAME),),
                "short",
                width=8,
                minimum=0,
                links=(model_link(),),
                no_data="no pane has closed yet",
            ),
            Panel(
                "Top offenders",
                f"The {_OFFENDERS} columns with the highest drift score, divided by its threshold. Above 1, the column "
                "is in breach.",
                (
                    Query(
                        f"topk({_OFFENDERS}, {ratio})",
                        f"{_NAME} {{{{{FEATURE}}}}} {{{{{ROLE}}}}} {{{{{METHOD}}}}}",
                        instant=True,
                    ),
                ),
                "short",
                "bargauge",
                8,
                bounds=NONE_IS_BEST,
                links=(model_link(),),
                no_data="no window with enough rows yet",
            ),
        )

    def performance(self) -> tuple[Panel, ...]:
        """Return one panel for each performance metric in the registry."""
        metrics = (item.metric for item in self._catalog.of("derived") if item.metric.startswith(semconv.PERFORMANCE))
        return tuple(self._series(metric) for metric in metrics)

    def _series(self, metric: str) -> Panel:
        series = self._catalog[metric]
        keys = tuple(label for label in series.labels if label not in (SEGMENT, METHOD, "ml_segment_value"))
        whole = f',{SEGMENT}=""' if SEGMENT in series.labels else ""
        rest = "".join(f" {{{{{label}}}}}" for label in keys if label not in _KEYS)
        return Panel(
            title_of(metric),
            sentence(series.description),
            (Query(aggregated("max", series.now(_CHOSEN + whole), keys), _NAME + rest),),
            grafana_unit(metric, series.unit),
            width=8,
            minimum=0 if series.unit == "s" else None,
            bounds=self._limits.get(metric, NO_BOUNDS),
            links=(model_link(),),
            no_data="not measured: too few rows or labels in the windows, or no model of this kind",
        )

    def changes(self) -> Annotation:
        """Return a mark for the times when features of a model have changed."""
        return Annotation(
            "Changes",
            f"{self._of(semconv.DRIFT_ALARM_SHARE)} > 0",
            f"{_NAME} changed",
            "at least one feature is in alarm",
            (MODEL, VERSION),
        )
