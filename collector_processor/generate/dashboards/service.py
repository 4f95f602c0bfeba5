"""The board of the service itself: traffic, drops, queues, and the resources that it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from collector_processor.generate.catalog import Catalog, Series
from collector_processor.generate.dashboards.generic import ONE_SERVICE, own_panel, title_of
from collector_processor.generate.dashboards.plan import (
    DATASOURCE,
    NO_BOUNDS,
    NONE_IS_BEST,
    SERVICE_UID,
    Board,
    Bounds,
    Panel,
    Query,
    Row,
    Variable,
)

_BY_SIGNAL: Final = re.compile(r"otelcol_(receiver|exporter)_(\w+)_(?:spans|log_records|metric_points)_total")
_ROWS: Final = (
    ("Receiving", re.compile(r"otelcol_receiver_|otel_ml_(rows|unauthenticated|unread)_")),
    ("Left out", re.compile(r"otel_ml_(dropped|evicted|clamped|errors)_")),
    ("Labels", re.compile(r"otel_ml_(labels|pending|early)_")),
    ("Windows and models", re.compile(r"otel_ml_(models|windows|newest|evaluate)")),
    ("Journal", re.compile(r"otel_ml_journal_")),
    ("Exporting", re.compile(r"otelcol_exporter_")),
    ("Alerts", re.compile(r"otel_ml_(alert|notification)")),
    ("Process", re.compile(r"otelcol_process_")),
)
_REST: Final = "Other"


def service_board(catalog: Catalog) -> Board:
    """Return a board with every metric that the service reports about itself, whatever is registered."""
    own = catalog.of("own")
    uptime, errors, models = (catalog[name] for name in (_UPTIME, _ERRORS, _MODELS))
    rows = [Row("At a glance", _glance(uptime, errors, models))]
    grouped: dict[str, dict[str, list[Series]]] = {}
    for item in own:
        match = _BY_SIGNAL.fullmatch(item.name)
        title = f"{match[1].title()}: {match[2].replace('_', ' ')}" if match else title_of(item.name)
        grouped.setdefault(_row_of(item), {}).setdefault(title, []).append(item)
    for title in (*(title for title, _ in _ROWS), _REST):
        panels = [panel for name, series in grouped.get(title, {}).items() for panel in _panels(name, series)]
        if panels:
            rows.append(Row(title, tuple(panels)))
    return Board(
        SERVICE_UID,
        "Models: the monitoring service",
        "The service that computes the measurements: traffic, drops, queues, journal, memory.",
        (
            DATASOURCE,
            Variable("job", "Job", "scrape job", f"label_values({models.name}, job)", multiple=True, everything=".*"),
            Variable(
                "instance",
                "Instance",
                "instances of the service",
                f'label_values({models.name}{{job=~"$job"}}, instance)',
                multiple=True,
                everything=".*",
            ),
        ),
        tuple(rows),
    )


_UPTIME: Final = "otelcol_process_uptime_seconds"
_ERRORS: Final = "otel_ml_errors_total"
_MODELS: Final = "otel_ml_models"
_DROPPED: Final = "otel_ml_dropped_total"


def _panels(title: str, series: list[Series]) -> Iterator[Panel]:
    """Yield the panel of a metric; drops have two, because what a policy or a limit leaves out is not a loss."""
    if series[0].metric != _DROPPED:
        yield own_panel(title, series)
        return
    yield own_panel("Dropped by errors", series, 'intentional="false"')
    yield own_panel("Left out by policies and limits", series, 'intentional="true"')


def _row_of(series: Series) -> str:
    return next((title for title, names in _ROWS if names.match(series.name)), _REST)


def _glance(uptime: Series, errors: Series, models: Series) -> tuple[Panel, ...]:
    def stat(title: str, text: str, expr: str, unit: str, bounds: Bounds = NO_BOUNDS) -> Panel:
        return Panel(title, text, (Query(expr, title, instant=True),), unit, "stat", 6, 4, "not scraped", bounds=bounds)

    return (
        stat("Instances", "Instances of the service that are up.", f"count({models.name}{{{ONE_SERVICE}}})", "short"),
        stat(
            "Uptime",
            "Uptime of the instance that started last.",
            f"min({uptime.name}{{{ONE_SERVICE}}} and on (job, instance) {models.name})",
            "s",
        ),
        stat(
            "Model versions",
            "Model versions that all instances together track.",
            f"sum({models.name}{{{ONE_SERVICE}}})",
            "short",
        ),
        stat(
            "Errors survived",
            "Unexpected errors since the service started. Each one is a bug: please report it.",
            f"sum({errors.name}{{{ONE_SERVICE}}}) or vector(0)",
            "short",
            NONE_IS_BEST,
        ),
    )
