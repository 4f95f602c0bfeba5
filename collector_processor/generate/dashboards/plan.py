"""What a dashboard is, before Grafana's own types: boards of rows of panels, each with its queries."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from collector_processor.generate.catalogue import MODEL, VERSION
from otel_ml import semconv

PanelKind = Literal["timeseries", "stat", "table", "heatmap", "bargauge"]
Traces = Literal["jaeger", "tempo"]
FLEET_UID: Final = "otel-ml-fleet"
MODEL_UID: Final = "otel-ml-model"
SERVICE_UID: Final = "otel-ml-service"
RATE: Final = "$__rate_interval"
"""The shortest time over which Grafana may take a rate."""
_UNITS: Final = {semconv.UNIT_RATIO: "percentunit", semconv.UNIT_SECOND: "s", "By": "bytes"}
_NO_SHARES: Final = (
    *(semconv.PERFORMANCE + name for name in ("log_loss", "brier", "r2", "roc_auc")),
    semconv.DRIFT_P_VALUE,
)
"""Numbers of unit 1 that nobody reads as a percentage."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; ``legend`` names its series, ``buckets`` says that they are a histogram's."""

    expr: str
    legend: str = ""
    instant: bool = False
    exemplars: bool = False
    buckets: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a panel; ``url`` may hold Grafana's variables."""

    title: str
    url: str


class Bounds(NamedTuple):
    """What a figure should not be above (``ceilings``) and not below (``floors``)."""

    ceilings: tuple[float, ...] = ()
    floors: tuple[float, ...] = ()


NO_BOUNDS: Final = Bounds()
NONE_IS_BEST: Final = Bounds(ceilings=(1,))
"""Of counts of what is wrong: red from the first on."""
Limits = Mapping[str, Bounds]
"""Bounds to draw, by OTLP name of the metric."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; ``bounds`` are drawn as limits, ``columns`` rename a table's fields (in their order; "" hides one)."""

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
    """A heading and its panels; ``collapsed`` ones are asked for only when opened."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a board: the values that ``query`` gives (``plugin``: the data sources of that type)."""

    name: str
    label: str
    description: str
    query: str = ""
    plugin: str = ""
    multiple: bool = False
    everything: str = ""
    """What the choice of all stands for in an expression; empty: there is no such choice."""
    first: str = ""
    """What is chosen at first."""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on all panels where ``expr`` has a series."""

    name: str
    expr: str
    title: str
    text: str
    tags: tuple[str, ...]
    colour: str = "red"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: a file of its own, ``{uid}.json``."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()
    span: str = "now-6h"
    step_s: int = 0
    """How far apart samples are, at least. 0: as the data source says."""

    def panels(self) -> Iterator[tuple[Row, Panel]]:
        """Every panel with the row that it stands in."""
        for row in self.rows:
            for panel in row.panels:
                yield row, panel


def panel_id(board: str, row: str, title: str) -> int:
    """A panel's number: the same as long as its board, row and title are, whatever comes before it.

    >>> panel_id("otel-ml-model", "Drift", "Drift share") == panel_id("otel-ml-model", "Drift", "Drift share")
    True
    """
    return zlib.crc32(f"{board}/{row}/{title}".encode()) & 0x7FFF_FFFF or 1


def grafana_unit(metric: str, unit: str) -> str:
    """Grafana's name of a unit.

    >>> grafana_unit("ml.drift.share", "1"), grafana_unit("ml.drift.score", "{score}")
    ('percentunit', 'short')
    """
    return "short" if metric in _NO_SHARES else _UNITS.get(unit, "short")


DATASOURCE = Variable("datasource", "Prometheus", "where the figures are", plugin="prometheus")


def traces_source(plugin: Traces) -> Variable:
    """The choice of where the traces are."""
    return Variable("traces", "Traces", "where the predictions' traces are", plugin=plugin)


def model_link(title: str = "Open this model") -> Link:
    """From a series of a model to the board of that model."""
    return Link(
        title,
        f"/d/{MODEL_UID}?var-model=${{__field.labels.{MODEL}}}&var-version=${{__field.labels.{VERSION}}}"
        "&var-datasource=${datasource}&${__url_time_range}",
    )
