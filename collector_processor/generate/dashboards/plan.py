"""The plan of a dashboard, independent of Grafana's types: boards with rows of panels, each with its queries."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from collector_processor.generate.catalog import MODEL, VERSION
from otel_ml import semconv

PanelKind = Literal["timeseries", "stat", "table", "heatmap", "bargauge", "bars"]
Traces = Literal["jaeger", "tempo"]
FLEET_UID: Final = "otel-ml-fleet"
MODEL_UID: Final = "otel-ml-model"
SERVICE_UID: Final = "otel-ml-service"
RATE: Final = "$__rate_interval"
"""The shortest interval over which Grafana can compute a rate."""
_UNITS: Final = {semconv.UNIT_RATIO: "percentunit", semconv.UNIT_SECOND: "s", "By": "bytes"}
_NO_SHARES: Final = (
    *(semconv.PERFORMANCE + name for name in ("log_loss", "brier", "r2", "roc_auc")),
    semconv.DRIFT_P_VALUE,
)
"""Numbers of unit 1 that are not shown as a percentage."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; ``legend`` names its series, ``buckets`` marks them as those of a histogram."""

    expr: str
    legend: str = ""
    instant: bool = False
    exemplars: bool = False
    buckets: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a panel; ``url`` may contain Grafana's variables."""

    title: str
    url: str


class Bounds(NamedTuple):
    """The values that a metric should stay below (``ceilings``) and above (``floors``)."""

    ceilings: tuple[float, ...] = ()
    floors: tuple[float, ...] = ()


NO_BOUNDS: Final = Bounds()
NONE_IS_BEST: Final = Bounds(ceilings=(1,))
"""For counts of problems: red from the first one."""
Limits = Mapping[str, Bounds]
"""Bounds to draw, by OTLP name of the metric."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; ``bounds`` are drawn as limits, ``columns`` rename the fields of a table in order ("" hides one)."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: PanelKind = "timeseries"
    width: int = 12
    height: int = 8
    no_data: str = "no data"
    minimum: float | None = None
    maximum: float | None = None
    bounds: Bounds = NO_BOUNDS
    links: tuple[Link, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    column_units: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and its panels; the panels of a ``collapsed`` row are loaded only when it is opened."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a board: the values that ``query`` returns (``plugin``: the data sources of that type)."""

    name: str
    label: str
    description: str
    query: str = ""
    plugin: str = ""
    multiple: bool = False
    everything: str = ""
    """The value of the choice *All* in an expression; empty: there is no such choice."""
    first: str = ""
    """The default choice."""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on all panels at the times when ``expr`` has a series."""

    name: str
    expr: str
    title: str
    text: str
    tags: tuple[str, ...]
    color: str = "red"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard, written to the file ``{uid}.json``."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()
    span: str = "now-6h"
    step_s: int = 0
    """The shortest step between samples. 0: the default of the data source."""

    def panels(self) -> Iterator[tuple[Row, Panel]]:
        """Yield every panel with its row."""
        for row in self.rows:
            for panel in row.panels:
                yield row, panel


def panel_id(board: str, row: str, title: str) -> int:
    """Return the number of a panel: it depends only on its board, row and title, not on its position.

    >>> panel_id("otel-ml-model", "Drift", "Drift share") == panel_id("otel-ml-model", "Drift", "Drift share")
    True
    """
    return zlib.crc32(f"{board}/{row}/{title}".encode()) & 0x7FFF_FFFF or 1


def grafana_unit(metric: str, unit: str) -> str:
    """Return Grafana's name of a unit.

    >>> grafana_unit("ml.drift.share", "1"), grafana_unit("ml.drift.score", "{score}")
    ('percentunit', 'short')
    """
    return "short" if metric in _NO_SHARES else _UNITS.get(unit, "short")


DATASOURCE = Variable("datasource", "Prometheus", "data source of the metrics", plugin="prometheus")


def traces_source(plugin: Traces) -> Variable:
    """Return the choice of the data source for traces."""
    return Variable("traces", "Traces", "data source of the prediction traces", plugin=plugin)


def model_link(title: str = "Open this model") -> Link:
    """Return a link from a series of a model to the board of that model."""
    return Link(
        title,
        f"/d/{MODEL_UID}?var-model=${{__field.labels.{MODEL}}}&var-version=${{__field.labels.{VERSION}}}"
        "&var-datasource=${datasource}&${__url_time_range}",
    )
